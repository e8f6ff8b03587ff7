"""What the processes of the media plane ask of the system when they start."""

from __future__ import annotations

import contextlib
import os
import resource
import sys


def raise_file_limit() -> int:
    """Raise the soft limit on open files to the hard one; returns what it is now."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else sys.maxsize


def raise_priority() -> int:
    """Ask for a little more than others get; returns the niceness that was granted."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    return os.getpriority(os.PRIO_PROCESS, 0)

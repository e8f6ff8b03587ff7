"""What the processes of the media plane ask of the system when they start."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path

REALTIME_PRIORITY = 10
"""Of 1 to 99: before everything ordinary, behind what the kernel and sound systems run with."""

NICENESS = -10
SERVING_NICENESS = -5
"""Of the control process and of who writes recordings: ticks come first, but not all ordinary work. They need little of
the processor, and what they wait for it is heard: keys act late, recordings lose sound.
"""


def raise_file_limit() -> int:
    """Raise the soft limit on open files to the hard one; returns what it is now."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else sys.maxsize


def raise_priority(*, realtime: bool = False) -> str:
    """Ask for more of the processor than others get; returns in words what was granted.

    ``realtime``: SCHED_FIFO, which children do not inherit; where it is not allowed, and without it, niceness.
    """
    refused = ""
    if realtime:
        try:
            policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(0, policy, os.sched_param(REALTIME_PRIORITY))
        except OSError as error:
            refused = f" (SCHED_FIFO: {error.strerror})"
        else:
            return f"SCHED_FIFO priority {REALTIME_PRIORITY}"
    set_niceness(os.getpid(), NICENESS)
    return f"niceness {os.getpriority(os.PRIO_PROCESS, 0)}{refused}"


def set_niceness(pid: int, niceness: int) -> None:
    """Of the process ``pid``; where it is not allowed it stays what it is."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, niceness)
    with contextlib.suppress(OSError):
        # Where the scheduler makes a group of every session, niceness counts within the group alone. A session that
        # somebody else leads, as from a shell, is not ours to raise.
        if os.getsid(pid) == pid:
            Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


def lower_priority() -> None:
    """What a child does that has inherited more than ordinary priority, and no need of it."""
    if os.getpriority(os.PRIO_PROCESS, 0) < 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)

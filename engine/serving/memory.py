"""One heap for all threads of the process."""

from __future__ import annotations

import contextlib
import ctypes

_M_ARENA_MAX = -8


def share_heap() -> None:
    """To be called before there are threads: what one has given back, the next one uses.

    glibc gives each thread a heap of its own, up to eight for each processor, and keeps them when the thread has ended:
    those that wait for a database come and go with its connections, and left 3 to 4 MB each behind. They allocate under
    the interpreter's lock nearly always, so one heap holds nobody up. Does nothing where the C library is another.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)

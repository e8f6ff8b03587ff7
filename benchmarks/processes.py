"""What processes use, from the kernel's own accounts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

_CLOCK_SCHED = 2


def cpu(pid: int) -> float:
    """Seconds of CPU, user and system, of all threads of a process. Raises OSError when it is gone."""
    return time.clock_gettime(~pid << 3 | _CLOCK_SCHED)  # the process's CPU clock, in nanoseconds (clock_getcpuclockid)


def memory(pid: int) -> int:
    """KiB of memory of a process, its share of what it shares (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise OSError(f"the kernel does not tell the memory of process {pid}")


def below(pid: int) -> list[int]:
    """All descendants of a process."""
    found: list[int] = []
    queue = [pid]
    while queue:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{queue.pop()}/task").iterdir():
                children = [int(child) for child in (task / "children").read_text().split()]
                found += children
                queue += children
    return found


def module(pid: int) -> str:
    """What ``python -m`` runs in a process; empty if it is something else."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return words[words.index(b"-m") + 1].decode() if b"-m" in words else ""


def wait_until_gone(pids: Iterable[int], patience: float) -> None:
    """Wait until none of ``pids`` is at work, for ``patience`` seconds at most."""
    until = time.monotonic() + patience
    while any(_works(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)


def _works(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

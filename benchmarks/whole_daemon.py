"""The whole daemon with a flow, started as the tests of interoperation start it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import processes
from benchmarks.media_processes import scratch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "interop"))

if TYPE_CHECKING:
    from kit.daemon import Daemon
    from kit.sound import Samples

RTP_PORTS = "32768-49151"
_LOOK = 0.3
_IDLE = 0.05
"""Share of a core under which a process counts as idle."""

NAMES = {"engine.cli": "control process"}


@contextlib.contextmanager
def daemon_with(
    tree: object, sounds: Mapping[str, Samples], *, settings: Mapping[str, Mapping[str, object]] | None = None
) -> Iterator[Daemon]:
    """A daemon that answers 1000 with the call tree ``tree``, whose files are ``sounds``; one media worker.

    ``settings`` are others of the configuration, by section.
    """
    from kit.daemon import Daemon

    wanted = {"rtp": {"ports": RTP_PORTS, "workers": 1}, **(settings or {})}
    with scratch() as folder, Daemon(folder / "daemon", {"1000": tree}, sounds=sounds, settings=wanted) as daemon:
        yield daemon


def settle(daemon: Daemon, patience: float = 20.0) -> None:
    """Wait until the control process has little to do: what calls left behind is written."""
    until = time.monotonic() + patience
    used = processes.cpu(daemon.pid)
    while time.monotonic() < until:
        time.sleep(_LOOK)
        before, used = used, processes.cpu(daemon.pid)
        if used - before < _IDLE * _LOOK:
            return


def cpu(daemon: Daemon) -> Counter[str]:
    """Seconds of CPU of every process of the daemon, by what it does."""
    used: Counter[str] = Counter()
    for pid in (daemon.pid, *processes.below(daemon.pid)):
        with contextlib.suppress(OSError):
            module = processes.module(pid)
            used[NAMES.get(module, module or "another process")] += processes.cpu(pid)  # type: ignore[assignment]
    return used

"""A media worker: the process that runs a plane. ``python -m media.worker --fd N --ports LO-HI``.

Between ticks it waits for the control process alone; commands act at once and are heard or sent with the next frame
of their stream. Also when every tick is late it goes on to obey, a few commands per tick. It leaves when its link ends.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import select
import sys
import time
from collections import deque
from random import SystemRandom

import numpy as np

from media import commands, ipc
from media.arena import Arena
from media.cadence import Cadence
from media.plane import Plane
from media.ports import PortPool, parse_range
from media.process import raise_file_limit, raise_priority
from media.rates import WIDE_RATE
from media.recorder import Recorder
from media.ringsockets import RingSockets
from media.sockets import Sockets

FILES_PER_STREAM = 2
SPARE_FILES = 64
LOAD_EVERY = 1.0
OBEYED_WHEN_LATE = 16
"""Commands that are done before a tick though it is due: an overloaded worker must still be told to stop."""

MAX_PENDING = 64 * 1024 * 1024
"""Octets of reports that the control process may lie behind."""


class Worker:
    """The loop around a plane."""

    def __init__(self, link: ipc.Link[commands.Command], plane: Plane, now: float) -> None:
        self._link = link
        self._plane = plane
        self._cadence = Cadence(now)
        self._commands: deque[commands.Command] = deque()
        self._late: list[float] = []
        self._load_due = now + LOAD_EVERY
        self._loaded_at, self._spent = now, time.process_time()
        # select() waits with microseconds, epoll_wait() only with milliseconds; the epoll set keeps its own
        # descriptor low, whatever the numbers of those in it.
        self._wakers = select.epoll()
        self._wakers.register(link.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Work until the link ends (:class:`ipc.LinkClosed`)."""
        while True:
            self._wait()
            now = time.monotonic()
            if now >= self._cadence.due:
                tick = self._cadence.begin(now)
                self._late.append(tick.late)
                self._plane.tick(now, tick.number, tick.skipped, tick.behind)
            self._report(now)

    def _wait(self) -> None:
        """Do what is asked until the next tick is due, and something if it is; without streams nothing is due."""
        if time.monotonic() >= self._cadence.due:
            self._hear(0.0)
            for _ in range(min(OBEYED_WHEN_LATE, len(self._commands))):
                self._obey(time.monotonic())
        while (left := self._cadence.due - (now := time.monotonic())) > 0:
            if self._commands:
                self._obey(now)
                continue
            idle = self._plane.idle
            self._hear(LOAD_EVERY if idle else left)
            if idle:
                self._cadence.resume(time.monotonic())

    def _hear(self, patience: float) -> None:
        """Take what the control process says, waiting ``patience`` seconds for it."""
        self._flush()
        if select.select([self._wakers], [], [], patience)[0]:
            self._commands.extend(self._link.receive())

    def _obey(self, now: float) -> None:
        self._plane.command(self._commands.popleft(), now)

    def _report(self, now: float) -> None:
        if now >= self._load_due:
            self._load_due = now + LOAD_EVERY
            late = np.array(self._late or [0.0]) * 1000
            self._late.clear()
            spent = time.process_time()
            busy = (spent - self._spent) / (now - self._loaded_at)
            self._spent, self._loaded_at = spent, now
            self._plane.reports.append(self._plane.load(late, busy))
        self._flush()

    def _flush(self) -> None:
        for report in self._plane.reports:
            self._link.send(report)
        self._plane.reports.clear()
        self._link.flush()
        if self._link.pending > MAX_PENDING:
            raise ipc.LinkClosed("the control process does not listen")


def _sockets(io: str, capacity: int, pool: PortPool) -> Sockets:
    """``io`` as asked for; "auto" is io_uring where it is allowed. Raises :class:`OSError` when it was asked for and
    is not.
    """
    if io == "portable":
        return Sockets(capacity, pool)
    try:
        return RingSockets(capacity, pool)
    except OSError as error:
        if io == "uring":
            raise
        return Sockets(capacity, pool, why=f"io_uring: {error.strerror}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m media.worker", description="A media worker of Ivrea.")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the link to the control process")
    parser.add_argument("--ports", required=True, help="UDP ports for RTP and RTCP, LO-HI")
    parser.add_argument("--io", choices=("auto", "uring", "portable"), default="auto", help="how packets move")
    parser.add_argument("--realtime", action="store_true", help="run with SCHED_FIFO where allowed")
    arguments = parser.parse_args()
    ipc.detach_from_terminal()
    link: ipc.Link[commands.Command] = ipc.Link.from_fd(arguments.fd, commands.Command)
    try:
        pool = PortPool(*parse_range(arguments.ports), SystemRandom())
    except ValueError as error:
        link.send(ipc.Failed(str(error)))
        link.flush()
        sys.exit(1)
    files = raise_file_limit()
    capacity = max(1, min(commands.MAX_STREAMS, pool.size, (files - SPARE_FILES) // FILES_PER_STREAM))
    wall = time.time() - time.monotonic()
    try:
        sockets = _sockets(arguments.io, capacity, pool)
    except OSError as error:
        link.send(ipc.Failed(f"no io_uring: {error.strerror}"))
        link.flush()
        sys.exit(1)
    plane = Plane(sockets, Recorder(capacity), Arena(), SystemRandom(), wall, Arena(rate=WIDE_RATE))
    priority = raise_priority(realtime=arguments.realtime)
    about = f"{sockets.about}, {capacity} streams at most, {priority}"
    link.send(ipc.Ready(os.getpid(), about))
    # What was made until now lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    with contextlib.suppress(ipc.LinkClosed):
        Worker(link, plane, time.monotonic()).run()
    plane.close()
    os._exit(0)


if __name__ == "__main__":
    main()

"""The writer process as its worker sees it: started, told, listened to, replaced. Nothing here waits for it."""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from media import ipc, writer
from media.process import SERVING_NICENESS, set_niceness
from media.ring import Ring

TELL_EVERY = 1.0
"""Seconds of sound that a kill of everything may cost. The fewer writes, the less a recording costs."""

TELL_AT = 1 / 4
"""Of the ring, or as much as the writer takes at a time: so much is told at once, so that there is room for what comes
while it is written.
"""

RESTART_AFTER = 1.0
"""Seconds from the start of a writer to the next one's, at least. One that has lived longer is replaced at once: until
then sound lies in the ring alone.
"""

STUCK_AFTER = 10.0
"""Seconds in which a writer shows no sign of life (a disk that blocks) before it is killed."""

GIVE_UP_AFTER = 10.0
"""Seconds from the loss of a writer in which no other one gets anything done, after which recordings are over."""

LEAVE_WITHIN = 1.0
"""Seconds in which the last writer has to be gone, and those in which another one has to take what it is told, when the
worker leaves.
"""

Connect = Callable[[int], "tuple[socket.socket, subprocess.Popen[bytes] | None]"]


def spawn(ring_fd: int) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a writer on the ring behind ``ring_fd``; returns the link to it. Raises :class:`OSError`."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "media.writer", "--fd", str(theirs.fileno()), "--ring", str(ring_fd)],
            pass_fds=(theirs.fileno(), ring_fd),
            stdin=subprocess.DEVNULL,
            # Under sched_autogroup a session has its niceness as a whole, and the worker's is raised.
            start_new_session=True,
            env={**os.environ, **ipc.ONE_THREAD},
        )
    set_niceness(process.pid, SERVING_NICENESS)  # now, as all it has yet to load takes long beside other work
    return ours, process


class Scribe:
    """The link to the writer of ``ring``. Times are monotonic seconds.

    ``renewed`` is true after the :meth:`poll` that started another writer, ``given_up`` while there is none, and none
    has taken anything out of the ring or completed a file for long.
    """

    def __init__(self, ring: Ring, ring_fd: int, connect: Connect) -> None:
        self.renewed = False
        self.given_up = False
        self._ring = ring
        self._ring_fd = ring_fd
        self._connect = connect
        self._told = 0
        self._tell_at = min(writer.SPAN, TELL_AT * ring.cells)
        self._told_at = 0.0
        self._beats = 0
        self._alive_at = math.inf
        self._tail = ring.tail
        self._failing_since = math.inf  # when a writer was missed first, after which nothing got done
        self._tried_at = -math.inf
        self._link: ipc.Link[writer.FromWriter] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    @property
    def pending(self) -> int:
        """Octets that the writer has not taken."""
        return self._link.pending if self._link is not None else 0

    def send(self, message: writer.ToWriter) -> bool:
        """Queue a message. False while there is no writer: the message is lost."""
        if self._link is None:
            return False
        self._link.send(message)
        return True

    def poll(self, head: int, now: float, *, busy: bool) -> list[writer.FromWriter]:
        """Exchange messages; ``busy``: there are recordings, the last of their cells before ``head``."""
        self.renewed = False
        if self._link is None:
            self._restart(now)
            return []
        try:
            if busy and (now - self._told_at >= TELL_EVERY or head - self._told >= self._tell_at):
                self._told, self._told_at = head, now
                self._link.send(writer.Written(head))
            self._link.flush()
            finished = self._link.receive()
        except ipc.LinkClosed:
            self._lose()
            return []
        tail = self._ring.tail
        if tail != self._tail or finished or not busy:
            self._tail, self._failing_since = tail, math.inf
        beats = self._ring.beats
        if beats != self._beats or not busy:
            self._beats, self._alive_at = beats, now
        elif now - self._alive_at >= STUCK_AFTER:
            self._lose()
        return finished

    def renew(self) -> bool:
        """Start a writer in the place of one that is gone, without waiting for its time. Whether there is a new one."""
        if self._link is not None:
            try:
                self._link.flush()
                self._link.receive()
            except ipc.LinkClosed:
                self._lose()
            else:
                return False
        if self._process is not None:
            try:
                self._process.wait(LEAVE_WITHIN)
            except subprocess.TimeoutExpired:  # a disk holds it
                return False
        self._start()
        return self._link is not None

    def flush(self) -> None:
        """See that the writer has all that it was told."""
        until = time.monotonic() + LEAVE_WITHIN
        room = select.poll()
        if self._link is not None:
            room.register(self._link, select.POLLOUT)
        with contextlib.suppress(ipc.LinkClosed):
            while self._link is not None and self._link.pending and time.monotonic() < until:
                self._link.flush()
                room.poll(LEAVE_WITHIN * 1000)

    def close(self) -> None:
        """End the link and wait until the writer has left."""
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._process is not None:
            self._process.wait()

    def _lose(self) -> None:
        assert self._link is not None
        self._link.close()
        self._link = None
        if self._process is not None:
            self._process.kill()  # it may take its time to die, say in the middle of a write

    def _restart(self, now: float) -> None:
        is_gone = self._process is None or self._process.poll() is not None
        if is_gone and now - self._tried_at >= RESTART_AFTER:
            self._tried_at = now
            self._start()
            self.renewed = self._link is not None
            self._alive_at = now
        self._failing_since = min(self._failing_since, now)
        self.given_up = self._link is None and now - self._failing_since >= GIVE_UP_AFTER

    def _start(self) -> None:
        try:
            sock, self._process = self._connect(self._ring_fd)
        except OSError:
            return
        self._link = ipc.Link(sock, writer.FromWriter)

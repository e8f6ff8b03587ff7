"""The way from a worker's ears to a recogniser and back: its utterances, and the link that they travel by."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

import msgspec

from media import ipc
from media.reports import Report
from media.speech.messages import FromRecogniser
from media.utterances import Utterances

MAX_PENDING = 4 * 1024 * 1024
"""Octets that the recogniser may lie behind; then nothing new begins."""

RETRY_AFTER = 1.0
"""Seconds between attempts to reach a recogniser that is gone."""


class RecogniserLink(Protocol):
    """What leads to a recogniser: :class:`media.ipc.Link` on a call, :class:`media.hearing.Bench` without one."""

    @property
    def pending(self) -> int:
        """Octets that are not on their way yet."""

    def send(self, message: msgspec.Struct) -> None:
        """Queue a message (:data:`media.speech.messages.ToRecogniser`)."""

    def flush(self) -> None:
        """Let go what can leave now. Raises :class:`~media.ipc.LinkClosed`."""

    def receive(self) -> Sequence[FromRecogniser]:
        """The answers that are there. Raises :class:`~media.ipc.LinkClosed`."""

    def close(self) -> None: ...


class Recognising:
    """Utterances on their way to one recogniser, which may be gone and come back."""

    def __init__(self, reports: list[Report]) -> None:
        self.utterances = Utterances(reports)
        self._link: RecogniserLink | None = None
        self._path = ""
        self._retry_at = 0.0

    def connect(self, path: str, now: float) -> None:
        """Use the recogniser on the Unix socket ``path``; while it cannot be reached, nothing is recognised."""
        self._lose(now)
        self._path = path
        self._try_to_connect(now)

    def attach(self, link: RecogniserLink) -> None:
        """Use what is at the other end of ``link``."""
        self._link = link
        self.utterances.ready = True

    def _try_to_connect(self, now: float) -> None:
        self._retry_at = now + RETRY_AFTER
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.connect(self._path)
        except OSError:
            sock.close()
            return
        self.attach(ipc.Link(sock, FromRecogniser))

    def poll(self, now: float) -> None:
        """Exchange messages with the recogniser; to be called with every tick."""
        utterances, link = self.utterances, self._link
        if link is None:
            utterances.outgoing.clear()
            if self._path and now >= self._retry_at:
                self._try_to_connect(now)
            return
        try:
            for message in utterances.outgoing:
                link.send(message)
            utterances.outgoing.clear()
            link.flush()
            for answer in link.receive():
                utterances.answer(answer, now)
        except (ipc.LinkClosed, msgspec.MsgspecError):
            self._lose(now)
            return
        utterances.ready = link.pending < MAX_PENDING
        utterances.check(now)

    def _lose(self, now: float) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        self.utterances.lose(now)
        self._retry_at = now + RETRY_AFTER

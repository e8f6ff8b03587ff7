"""The child's side of a link for processes that answer one request at a time.

A thread reads, so that the end of the link (our parent is gone) ends the process at once even while
a foreign library is at work or hangs.
"""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from media.ipc import Link, LinkClosed, detach_from_terminal
from media.process import lower_priority

Request = TypeVar("Request")


class Servant(Generic[Request]):
    """Requests in, one at a time; answers out."""

    def __init__(self, fd: int, request_type: Any) -> None:
        """Take over the socket ``fd``; standard output is silenced, as foreign libraries print."""
        detach_from_terminal()
        lower_priority()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        self._link: Link[Request] = Link.from_fd(fd, request_type)
        self._room = select.poll()
        self._room.register(self._link.fileno(), select.POLLOUT)
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def requests(self) -> Iterator[Request]:
        """Requests as they come, without end: the process ends with the link."""
        while True:
            yield self._requests.get()

    def send(self, message: msgspec.Struct) -> None:
        """Send an answer; waits until the parent takes it. Ends the process when it is gone."""
        try:
            self._link.send(message)
            self._link.flush()
            while self._link.pending:
                self._room.poll()
                self._link.flush()
        except LinkClosed:
            os._exit(0)

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._link.fileno(), select.POLLIN)
        try:
            while True:
                poll.poll()
                for request in self._link.receive():
                    self._requests.put(request)
        except (LinkClosed, msgspec.MsgspecError):
            os._exit(0)

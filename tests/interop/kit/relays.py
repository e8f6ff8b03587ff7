"""What a network may do between SIPp and the daemon: streams that come byte by byte, datagrams that come at once."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self


class Splitter:
    """Takes one connection at :attr:`address`; what is sent there goes on to ``to`` in pieces of one byte."""

    def __init__(self, to: tuple[str, int]) -> None:
        self._to = to
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._socket]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            inner, _ = self._socket.accept()
            outer = socket.create_connection(self._to)
            outer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open += [inner, outer]
            threading.Thread(target=self._pass, args=(inner, outer, 1), daemon=True).start()
            self._pass(outer, inner, 65536)

    @staticmethod
    def _pass(one: socket.socket, other: socket.socket, size: int) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(size):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


class Relay:
    """Passes datagrams on, both ways. Of those that are sent to :attr:`address`, the one with number ``held`` (from 0)
    waits for the next one, so that both reach ``to`` at the same moment; from number ``moves`` on they come from
    another port, as behind a NAT that has forgotten the one before.
    """

    def __init__(self, to: tuple[str, int], *, held: int = -1, moves: int = -1) -> None:
        self._held, self._moves, self._to = held, moves, to
        self._inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._inner.bind(("127.0.0.1", 0))
        self._outer = self._new_port()
        self._from: tuple[str, int] | None = None
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=job, daemon=True) for job in (self._out, self._in)]
        for thread in self._threads:
            thread.start()

    def _new_port(self) -> socket.socket:
        outer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        outer.connect(self._to)
        return outer

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._inner.getsockname()
        return str(host), int(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._inner.close()
        self._outer.close()

    def _out(self) -> None:
        waiting = b""
        for number, (data, sender) in enumerate(self._received(lambda: self._inner)):
            self._from = sender
            if number == self._moves:
                self._outer, before = self._new_port(), self._outer
                before.close()
            if number == self._held:
                waiting = data
                continue
            for each in filter(None, (waiting, data)):
                with contextlib.suppress(OSError):
                    self._outer.send(each)
            waiting = b""

    def _in(self) -> None:
        for data, _ in self._received(lambda: self._outer):
            if self._from is not None:
                self._inner.sendto(data, self._from)

    def _received(self, which: Callable[[], socket.socket]) -> Iterator[tuple[bytes, tuple[str, int]]]:
        while not self._closing.is_set():
            one = which()
            with contextlib.suppress(OSError, ValueError):  # closed, or an earlier datagram found nobody
                if select.select([one], [], [], 0.1)[0]:
                    yield one.recvfrom(65535)

"""What a network may do between SIPp and the daemon: streams that come byte by byte, datagrams that come at once."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
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


class Holder:
    """Passes datagrams on, both ways; the one with number ``held`` (from 0) of those that are sent to :attr:`address`
    waits for the next one, so that both reach ``to`` at the same moment.
    """

    def __init__(self, to: tuple[str, int], held: int) -> None:
        self._held = held
        self._inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._inner.bind(("127.0.0.1", 0))
        self._outer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._outer.connect(to)
        self._from: tuple[str, int] | None = None
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=job, daemon=True) for job in (self._out, self._in)]
        for thread in self._threads:
            thread.start()

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
        for number, (data, sender) in enumerate(self._received(self._inner)):
            self._from = sender
            if number == self._held:
                waiting = data
                continue
            for each in filter(None, (waiting, data)):
                with contextlib.suppress(OSError):
                    self._outer.send(each)
            waiting = b""

    def _in(self) -> None:
        for data, _ in self._received(self._outer):
            if self._from is not None:
                self._inner.sendto(data, self._from)

    def _received(self, one: socket.socket) -> Iterator[tuple[bytes, tuple[str, int]]]:
        one.settimeout(0.2)
        while not self._closing.is_set():
            with contextlib.suppress(OSError):  # nothing came, or an earlier datagram found nobody
                yield one.recvfrom(65535)

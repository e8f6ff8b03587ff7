"""TLS around TCP, for peers that cannot speak it themselves: one thread for each direction of each connection."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from types import TracebackType
from typing import Any, Self


class Tunnel:
    """Takes connections on :attr:`port` and passes what they say on to ``to``, host and port.

    With ``server`` it takes TLS and passes on TCP; with ``client`` the other way round. ``peers`` are the certificates
    that clients showed.
    """

    def __init__(
        self,
        to: tuple[str, int],
        *,
        port: int = 0,
        server: ssl.SSLContext | None = None,
        client: ssl.SSLContext | None = None,
    ) -> None:
        self._to, self._server, self._client = to, server, client
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = int(self._socket.getsockname()[1])
        self.peers: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._socket, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._socket.accept()
            except OSError:
                return
            try:
                if self._server is not None:
                    inner = self._server.wrap_socket(inner, server_side=True)
                    self.peers.append(inner.getpeercert() or {})
                outer = socket.create_connection(self._to, timeout=5)
                outer.settimeout(None)
                if self._client is not None:
                    outer = self._client.wrap_socket(outer, server_hostname="localhost")
            except OSError as error:
                self.errors.append(str(error))
                inner.close()
                continue
            self._open += [inner, outer]
            for one, other in ((inner, outer), (outer, inner)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)

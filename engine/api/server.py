"""The web server, in the daemon's own loop: uvicorn, behind an entrance of our own (:mod:`engine.api.connections`)."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections import Counter
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.addresses import bracketed
from engine.api.connections import Connection, Entrance, Patience
from engine.config import HttpConfig


class WebServerError(Exception):
    """The web server cannot start; the text names the address and the reason."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers and without its listeners: the daemon has its own."""

    def __init__(self, config: uvicorn.Config, enter: Callable[[uvicorn.Server, socket.socket], Entrance]) -> None:
        super().__init__(config)
        self._enter = enter

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        self.servers = [self._enter(self, each) for each in sockets or ()]  # type: ignore[misc]  # it closes them
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _without_clients_that_left(app: ASGIApp) -> ASGIApp:
    """A client that goes away in the middle of its request is no error of ours, and nothing for the log."""

    async def quiet(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(ClientDisconnect):
            await app(scope, receive, send)

    return quiet


class WebServer:
    """Serves ``app`` on the configured address."""

    def __init__(self, app: FastAPI, config: HttpConfig) -> None:
        self._config = config
        self._entrance: Entrance | None = None
        self.refused: Counter[str] = Counter()
        """Connections that were not taken, and clients that were too slow, by what."""
        self._server = _Server(
            uvicorn.Config(
                _without_clients_that_left(app),
                http=Connection,
                ws="none",
                log_config=None,
                access_log=False,
                lifespan="off",
                ssl_certfile=config.tls_cert or None,
                ssl_keyfile=config.tls_key or None,
                forwarded_allow_ips=list(config.trusted_proxies),
                timeout_graceful_shutdown=3,
            ),
            self._enter,
        )
        self._task: asyncio.Task[None] | None = None
        self.url = ""

    @property
    def connections(self) -> int:
        """How many there are now."""
        return self._entrance.open if self._entrance is not None else 0

    def _enter(self, server: uvicorn.Server, listener: socket.socket) -> Entrance:
        config = self._config
        patience = Patience(config.head_timeout, config.body_timeout, config.send_timeout)

        def slow(what: str) -> None:
            self.refused[f"slow_{what}"] += 1

        def make(left: Callable[[], None]) -> Connection:
            return Connection(
                config=server.config,
                server_state=server.server_state,
                app_state=server.lifespan.state,
                patience=patience,
                slow=slow,
                left=left,
            )

        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = min(config.connections, max(files // 4, 1))
        self._entrance = Entrance(listener, make, config, most, server.config.ssl, self.refused)
        return self._entrance

    async def start(self) -> None:
        """Bind and serve. Raises :class:`WebServerError`."""
        host, port = self._config.address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.setblocking(False)
            listener.listen(2048)  # who asks before the server runs waits; nobody is refused
        except OSError as error:
            listener.close()
            raise WebServerError(f"http.listen {self._config.listen}: {error.strerror}") from error
        try:
            self._server.config.load()  # certificates are read here, not in a task that nobody watches
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            listener.close()
            raise WebServerError(f"http.tls_cert {self._config.tls_cert}: {error}") from error
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        bound = listener.getsockname()
        scheme = "https" if self._config.tls_cert else "http"
        self.url = self._config.public_url or f"{scheme}://{bracketed(bound[0])}:{bound[1]}"

    async def close(self) -> None:
        if self._task is not None:
            self._server.should_exit = True
            await asyncio.gather(self._task, return_exceptions=True)

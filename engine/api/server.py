"""The web server, in the daemon's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from engine.addresses import bracketed
from engine.config import HttpConfig


class WebServerError(Exception):
    """The web server cannot start; the text names the address and the reason."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class WebServer:
    """Serves ``app`` on the configured address."""

    def __init__(self, app: FastAPI, config: HttpConfig) -> None:
        self._config = config
        self._server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ssl_certfile=config.tls_cert or None,
                ssl_keyfile=config.tls_key or None,
                forwarded_allow_ips=list(config.trusted_proxies),
                timeout_graceful_shutdown=3,
            )
        )
        self._task: asyncio.Task[None] | None = None
        self.url = ""

    async def start(self) -> None:
        """Bind and serve. Raises :class:`WebServerError`."""
        host, port = self._config.address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
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

"""SIP over TLS: connections of :mod:`engine.transport.tcp` whose other end shows a certificate, and how they begin.

Handshakes are the expensive part, and strangers can ask for them: there are so many at once, each has its time, and
a source that has its share of connections gets no more.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from engine.sip.guard import subscriber
from engine.transport import certificates
from engine.transport.certificates import Client
from engine.transport.tcp import TcpConnection, TcpCounters, TcpLimits

log = structlog.get_logger(__name__)

_PAUSE = 0.2
"""Seconds without accepting when the system has no more descriptors."""


@dataclass(slots=True)
class TlsCounters(TcpCounters):
    """Also what never became a connection."""

    handshake_failures: int = 0


class TlsConnection(TcpConnection):
    """One connection. ``names`` are those that the other end's certificate speaks for; empty: it showed none."""

    kind = "tls"

    def __init__(self, number: int, *, server: str = "", client: Client | None = None, **more: Any) -> None:
        """``server`` is the host that has to be at the other end of a connection of ours, made by ``client``."""
        super().__init__(number, **more)
        self.names: tuple[str, ...] = ()
        self.failure = ""
        """Why the other end is not who it should be."""
        self._server = server
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        certificate = transport.get_extra_info("peercert") or {}
        self.names = certificates.identities(certificate)
        client = self._client
        if client is not None and client.verification != "none":
            wildcards = client.verification == "wildcard"
            if not certificates.speaks_for(self.names, self._server, wildcards=wildcards):
                shown = ", ".join(self.names[:4]) or "nobody"
                self.failure = f"certificate refused: it is for {shown}, not for {self._server}"
                transport.abort()  # type: ignore[attr-defined]  # uvloop's transports are no subclasses of asyncio's
                return
        super().connection_made(transport)


class TlsListener:
    """A listening socket; connections that come out of it have a handshake behind them."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        limits: TcpLimits,
        counters: TlsCounters,
        open_from: Callable[[str], int],
        connection: Callable[[], TlsConnection],
        context: Callable[[], Any],
    ) -> None:
        """Bind. ``open_from`` tells how many connections a source has, ``context`` has the certificate of the moment.

        Raises ``OSError``.
        """
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._counters = counters
        self._open_from = open_from
        self._connection = connection
        self._context = context
        self._shaking: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=512)
        self._socket.setblocking(False)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._start(self._serve())

    def _start(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self) -> None:
        while True:
            try:
                accepted, address = await self._loop.sock_accept(self._socket)
            except OSError as error:  # no descriptors, or the peer left while it waited
                log.warning("tls_accept_failed", error=error.strerror or str(error))
                await asyncio.sleep(_PAUSE)
                continue
            self._take(accepted, subscriber(address[0]))

    def _take(self, accepted: socket.socket, source: str) -> None:
        limits = self._limits
        busy = self._shaking.total() >= limits.handshakes
        if busy or self._shaking[source] + self._open_from(source) >= limits.per_source:
            self._counters.refused += 1
            accepted.close()
            return
        self._shaking[source] += 1
        self._start(self._shake_hands(accepted, source))

    async def _shake_hands(self, accepted: socket.socket, source: str) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._connection, accepted, ssl=self._context(), ssl_handshake_timeout=self._limits.handshake
            )
        except OSError as error:  # TimeoutError, SSLError and ConnectionError are such
            self._counters.handshake_failures += 1
            log.debug("tls_handshake_failed", host=source, reason=certificates.why(error))
            accepted.close()
        except asyncio.CancelledError:
            accepted.close()
            raise
        finally:
            self._shaking[source] -= 1
            if not self._shaking[source]:
                del self._shaking[source]

    async def close(self) -> None:
        """Accept nothing more, break off handshakes; connections stay."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._socket.close()

"""Connections to the web server: how many there may be, and how long a client may take.

A client that sends its request, or takes an answer, as slowly as it can holds a connection for nothing. What a request
needs here to be answered, long polls too, is not limited: only what its client is to do next.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ssl import SSLContext
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from engine.addresses import network_name, within
from engine.config import HttpConfig
from engine.log import get_logger

log = get_logger(__name__)

SLOWEST = 500
"""Octets a second that a body has to come with."""

LINGER = 1.0
"""Seconds in which a client that was too slow may read what it was told."""

ACCEPT_PAUSE = 0.2
"""Seconds until the next connection is taken when this process has no file descriptors left."""

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for the head of a request, for a piece of its body, and for a client to take what was sent."""

    head: float
    body: float
    send: float


class Connection(H11Protocol):
    """uvicorn's connection with timers for what the client has to do.

    The head of a request has to be there within its time from the connection or its first octet. Of the body a piece
    has to come in each stretch of time in which we want it: :data:`SLOWEST` octets a second. What is sent has to be
    taken, so that there is room for more.
    """

    def __init__(
        self, *args: Any, patience: Patience, slow: Callable[[str], None], left: Callable[[], None], **more: Any
    ) -> None:
        """``slow`` is told of what a client was too slow with, ``left`` that the connection is gone."""
        super().__init__(*args, **more)
        self.made = False
        """Whether there has been a connection, whose end is told then."""
        self._patience = patience
        self._slow = slow
        self._left = left
        self._leaving = False
        self._waits_for = ""
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._came = 0
        self._was_held = False
        """Whether we did not want to read all of the time."""

    # --- what the transport says ---------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.made = True
        super().connection_made(transport)
        self._wait_for("head")

    def data_received(self, data: bytes) -> None:
        if self._leaving:
            return
        self._came += len(data)
        super().data_received(data)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_for("")
        self._stop_sending()
        self._left()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._sending is None and self._patience.send:
            self._sending = self.loop.call_later(self._patience.send, self._does_not_take)

    def resume_writing(self) -> None:
        self._stop_sending()
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    # --- the timers ----------------------------------------------------------------------

    def _look(self) -> None:
        """See what is to come from the client now."""
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            self._was_held |= self._held
            self._wait_for("body")
        elif state is h11.IDLE and self.conn.trailing_data[0]:
            self._wait_for("head")
        else:
            self._wait_for("")

    @property
    def _held(self) -> bool:
        """Whether it is we who do not go on: what came waits to be read, or we have not said that it may come."""
        return self.flow.read_paused or self.conn.they_are_waiting_for_100_continue

    def _wait_for(self, what: str) -> None:
        """Have the timer of ``what`` run; it goes on when it does already."""
        if what == self._waits_for:
            return
        self._waits_for = what
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        seconds = {"head": self._patience.head, "body": self._patience.body}.get(what, 0.0)
        if seconds:
            self._came, self._was_held = 0, self._held
            self._timer = self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        waited_for, self._waits_for, self._timer = self._waits_for, "", None
        answered = self.cycle is not None and self.cycle.response_complete
        wanted = waited_for == "body" and not answered
        if wanted and (self._was_held or self._held or self._came >= self._patience.body * SLOWEST):
            self._look()
            return
        self._slow(waited_for)
        if (wanted and not self.cycle.response_started) or (waited_for == "head" and self.conn.trailing_data[0]):
            self._say_too_slow()
            self._leave()
        else:
            self.transport.abort()

    def _say_too_slow(self) -> None:
        """408 (RFC 9110 section 15.5.9), if the connection is in a state for it."""
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        with contextlib.suppress(h11.LocalProtocolError):
            answer = h11.Response(status_code=408, headers=headers, reason=b"Request Timeout")
            self.transport.write(self.conn.send(answer) or b"")
            self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")

    def _leave(self) -> None:
        """Say that no more comes, and close a moment later: closed at once, with octets that nobody has read, TCP would
        take back the answer too.
        """
        self._leaving = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # who reads the body is told so
            self.cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
        self.loop.call_later(LINGER, self.transport.abort)

    def _does_not_take(self) -> None:
        self._sending = None
        self._slow("answer")
        self.transport.abort()

    def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None


class Entrance:
    """Takes connections on a listening socket, no more than there may be: in all, and of each client's network.

    Those whose TLS handshake is under way count too. Proxies that are trusted count in all only.
    """

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[Callable[[], None]], Connection],
        config: HttpConfig,
        most: int,
        tls: SSLContext | None,
        refused: Counter[str],
    ) -> None:
        self._listener = listener
        self._make = make
        self._of_network = config.connections_per_address
        self._proxies = tuple(ipaddress.ip_network(each, strict=False) for each in config.trusted_proxies)
        self._handshake = config.head_timeout or None
        self._most = most
        self._tls = tls
        self._refused = refused
        self._open = 0
        self._by_network: Counter[str] = Counter()
        self._greeting: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._accept())

    @property
    def open(self) -> int:
        """How many there are."""
        return self._open

    def close(self) -> None:
        """Take no more."""
        self._task.cancel()
        for task in self._greeting:
            task.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._listener)
            except OSError as error:  # as asyncio's own server does: others have to close something first
                log.error("no_connection_taken", error=str(error))
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            host = str(address[0])
            network = "" if within(host, self._proxies) else network_name(host)
            if why := self._full(network):
                self._refused[why] += 1
                self._send_away(connection)
                continue
            self._open += 1
            if network:
                self._by_network[network] += 1
            task = loop.create_task(self._greet(connection, network))
            self._greeting.add(task)
            task.add_done_callback(self._greeting.discard)

    def _full(self, network: str) -> str:
        if self._open >= self._most:
            return "connections"
        if network and self._of_network and self._by_network[network] >= self._of_network:
            return "connections_of_address"
        return ""

    def _send_away(self, connection: socket.socket) -> None:
        """Without a word to those who would have to be greeted by TLS first."""
        with contextlib.suppress(OSError):
            if self._tls is None:
                connection.send(_BUSY)
        connection.close()

    async def _greet(self, connection: socket.socket, network: str) -> None:
        protocol = self._make(partial(self._left, network))
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake if self._tls else None,
            )
        except (OSError, asyncio.CancelledError):  # a handshake that fails, also by its time
            connection.close()
            if not protocol.made:
                self._left(network)

    def _left(self, network: str) -> None:
        self._open -= 1
        if network:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]

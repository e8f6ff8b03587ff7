"""SIP over TCP: framing, keep-alives, and the limits that keep strangers from holding connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from engine.sip.flow import Flow
from engine.sip.message import Malformed, Request, Response
from engine.sip.parser import KeepAlive, StreamParser

_KEEP_IDLE, _KEEP_INTERVAL, _KEEP_COUNT = 60, 15, 4
"""TCP's own keep-alive finds peers that are gone: seconds of quiet, seconds between probes, probes."""


@dataclass(frozen=True, slots=True)
class TcpLimits:
    """Times in seconds, sizes in bytes."""

    first_message: float = 10.0
    """From connecting to the end of the first message: who does not speak, goes."""
    partial: float = 30.0
    """From the first byte of a message to its last."""
    idle: float = 3600.0
    """Without a byte. Long: the connection is the way back to a phone behind NAT."""
    connect: float = 10.0
    """To establish a connection of ours."""
    handshake: float = 10.0
    """From connecting to the end of the TLS handshake."""
    linger: float = 5.0
    """For the peer to take the last bytes of a connection that we close."""
    sweep: float = 1.0
    """Between two looks for connections whose time is up."""
    connections: int = 4096
    handshakes: int = 256
    """TLS handshakes under way at once."""
    per_source: int = 128
    """Connections from one address; a proxy needs few, an office behind one NAT some."""
    write_buffer: int = 1024 * 1024
    """What may wait for a peer that does not read."""


@dataclass(slots=True)
class TcpCounters:
    """What happened since the start."""

    accepted: int = 0
    connected: int = 0
    refused: int = 0
    """Connections beyond a limit."""
    evicted: int = 0
    """Idle connections that nothing needed, closed to make room for new ones."""
    connect_failures: int = 0
    timed_out: int = 0
    broken: int = 0
    """Closed because the framing was lost."""
    choked: int = 0
    """Closed because the peer did not read."""
    keep_alives: int = 0


Item = Request | Response | Malformed

_SLICE = 8192
"""Bytes of one connection, some dozens of messages, that are handled before the others have their turn."""


class TcpConnection(asyncio.Protocol):
    """One connection, either way round. The owner is told of messages and of the end."""

    kind = "tcp"

    def __init__(
        self,
        number: int,
        *,
        limits: TcpLimits,
        counters: TcpCounters,
        on_open: Callable[[TcpConnection], bool],
        on_items: Callable[[TcpConnection, list[Item]], None],
        on_lost: Callable[[TcpConnection], None],
        inbound: bool,
    ) -> None:
        self.number = number
        self.inbound = inbound
        self.flow = Flow(self.kind, ("", 0), ("", 0), number)
        self.aliases: set[Flow] = set()
        """Flows without a connection number that were sent over this connection."""
        self.places: set[tuple[str, tuple[str, int]]] = set()
        """Transport, host and port that this connection leads to."""
        self._limits = limits
        self._counters = counters
        self._on_open = on_open
        self._on_items = on_items
        self._on_lost = on_lost
        self._parser = StreamParser()
        self._loop = asyncio.get_running_loop()
        self._opened = self._last_byte = self._loop.time()
        self._partial_since: float | None = None
        self._spoke = not inbound
        self._admitted = False
        self._closed_at: float | None = None
        self._waiting = b""
        """What was read but has to wait for its turn; nothing more is read meanwhile."""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        sock: socket.socket = transport.get_extra_info("socket")
        try:
            self.flow = Flow(self.kind, sock.getsockname()[:2], sock.getpeername()[:2], self.number)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_IDLE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_INTERVAL)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEP_COUNT)
        except OSError:  # gone already
            self._transport.abort()
            return
        self._admitted = self._on_open(self)
        if not self._admitted:
            self._counters.refused += 1
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._waiting = b""
        if self._admitted:
            self._admitted = False
            self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        """Handle a slice of ``data`` now and the rest in turns: one read may hold hundreds of messages."""
        if len(data) > _SLICE:
            self._waiting = data[_SLICE:]
            if self._transport is not None:
                self._transport.pause_reading()
            self._loop.call_soon(self._next_slice)
        self._take(data[:_SLICE])

    def _next_slice(self) -> None:
        waiting = self._waiting
        self._waiting = waiting[_SLICE:]
        try:
            self._take(waiting[:_SLICE])
        finally:
            if self._waiting:
                self._loop.call_soon(self._next_slice)
            elif self._transport is not None:
                self._transport.resume_reading()

    def _take(self, data: bytes) -> None:
        if not self._admitted or self._parser.broken or not data:
            return
        self._last_byte = now = self._loop.time()
        found = self._parser.feed(data)
        items = [item for item in found if not isinstance(item, KeepAlive)]
        if len(items) < len(found):
            self._counters.keep_alives += 1
            self.send(b"\r\n")  # RFC 5626 section 4.4.1; one answer to a burst is enough
        if items:
            self._spoke = True
        if not self._parser.partial:
            self._partial_since = None
        elif self._partial_since is None or items:
            self._partial_since = now
        if items:
            self._on_items(self, items)
        if self._parser.broken:
            self._counters.broken += 1
            self.close()

    def send(self, data: bytes) -> bool:
        """Queue ``data``. False when the connection is gone or the peer has stopped reading."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > self._limits.write_buffer:
            self._counters.choked += 1
            transport.abort()
            return False
        transport.write(data)
        return True

    def close(self) -> None:
        """Close once what was sent has left."""
        if self._transport is not None:
            self._closed_at = self._loop.time()
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def evict(self) -> None:
        """Abort, and be gone at once: its place is needed now."""
        self.abort()
        self.connection_lost(None)

    def overdue(self, now: float) -> bool:
        """Whether a limit of time has passed."""
        limits = self._limits
        if self._closed_at is not None and now - self._closed_at > limits.linger:
            return True
        if not self._spoke and now - self._opened > limits.first_message:
            return True
        if self._partial_since is not None and now - self._partial_since > limits.partial:
            return True
        return now - self._last_byte > limits.idle

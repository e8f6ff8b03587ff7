"""Connections of TCP and TLS, both ways round: found again, made, admitted, and ended when their time is up."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Any

from engine.addresses import is_wildcard
from engine.sip.flow import Flow
from engine.sip.guard import subscriber
from engine.sip.message import Request
from engine.sip.routing import default_port
from engine.transport.certificates import CertificateBook, speaks_for, why
from engine.transport.tcp import Item, TcpConnection, TcpCounters, TcpLimits
from engine.transport.tls import TlsConnection, TlsCounters, TlsListener

_PENDING = 64
"""Messages that wait for a name or a connection; more than that is a peer that is not there."""
_ALIASES = 16
"""Places that one connection may lead to."""
_LAST_WORDS = 1.0
"""Seconds for peers to take what was written before the sockets are closed."""

_VOUCHED = 4096

_Place = tuple[str, tuple[str, int]]
"""Transport, host and port."""
Targets = list[tuple[str, int]]
"""Addresses with their ports, in the order in which to try them."""


class Streams:
    """All connections of one transport. Lives on the running loop."""

    def __init__(
        self,
        limits: TcpLimits,
        certificates: CertificateBook,
        *,
        on_items: Callable[[TcpConnection, list[Item]], None],
        on_lost: Callable[[Flow], None],
        fail: Callable[[Flow, str], None],
        needs: Callable[[Flow], bool],
    ) -> None:
        """``on_items`` gets what a connection brought; ``on_lost`` the flows of one that is gone, ``fail`` those that
        cannot be sent on, with the reason; ``needs`` tells whether somebody would miss the connection of a flow.
        """
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._take = on_items
        self._lost = on_lost
        self._fail = fail
        self._needs = needs
        self._servers: list[asyncio.Server] = []
        self._tls_listeners: list[TlsListener] = []
        self.connections: OrderedDict[int, TcpConnection] = OrderedDict()
        """By number; who was silent longest comes first."""
        self.by_place: dict[_Place, TcpConnection] = {}
        self._vouched: OrderedDict[tuple[str, int], tuple[str, int]] = OrderedDict()
        """By address and port the name and port that a certificate there has to be for."""
        self.connecting: dict[_Place, list[tuple[Flow, bytes]]] = {}
        self.per_source: Counter[str] = Counter()
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._closed = False
        self.tcp = TcpCounters()
        self.tls = TlsCounters()
        self.certificates = certificates
        """May be replaced: connections made from then on use the new ones."""

    # --- listening ----------------------------------------------------------------------

    async def listen_tcp(self, host: str, port: int) -> int:
        """Bind; the port. Raises ``OSError``."""
        server = await self._loop.create_server(lambda: self._connection(inbound=True), host, port, backlog=512)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def listen_tls(self, host: str, port: int) -> int:
        """The same for TLS."""
        if self.certificates.server is None:
            raise OSError("sip.tls_cert is not set")
        listener = TlsListener(
            host,
            port,
            limits=self._limits,
            counters=self.tls,
            open_from=self.per_source.__getitem__,
            connection=lambda: TlsConnection(next(self._numbers), **self._owner(self.tls, inbound=True)),
            context=lambda: self.certificates.server,
        )
        self._tls_listeners.append(listener)
        return listener.address[1]

    def _connection(self, *, inbound: bool) -> TcpConnection:
        return TcpConnection(next(self._numbers), **self._owner(self.tcp, inbound=inbound))

    def _owner(self, counters: TcpCounters, *, inbound: bool) -> Any:
        """What every connection is told of its owner."""
        return {
            "limits": self._limits,
            "counters": counters,
            "on_open": self._on_open,
            "on_items": self._on_items,
            "on_lost": self._on_lost,
            "inbound": inbound,
        }

    # --- out ----------------------------------------------------------------------------

    def send_on(self, flow: Flow, data: bytes) -> None:
        """Send on the connection that ``flow`` names."""
        connection = self.connections.get(flow.connection)
        if connection is None or not connection.send(data):
            self._fail(flow, "connection is gone")

    def send(self, flow: Flow, data: bytes, targets: Targets) -> None:
        """Send to the host of ``flow``, which is at ``targets``, by a connection that there is or a new one."""
        if not targets:
            self._fail(flow, "unknown host")
            return
        # Over TLS it matters who is at the other end, so a connection serves the name that it was made for.
        places = [(flow.remote[0].lower(), flow.remote[1])] if flow.transport == "tls" else targets
        for place in places:
            connection = self.by_place.get((flow.transport, place))
            if connection is not None:
                connection.aliases.add(flow)
                if connection.send(data):
                    return
        pending = self.connecting.get(flow.source)
        if pending is not None:
            if len(pending) < _PENDING:
                pending.append((flow, data))
            return
        self.connecting[flow.source] = [(flow, data)]
        self._background(self._connect(flow, targets))

    async def _connect(self, flow: Flow, targets: Targets) -> None:
        """Open a connection for what waits for ``flow.remote``, trying its addresses in turn."""
        reason = "no route"
        for address, port in targets:
            local = flow.local[0]
            source = (local, 0) if local and not is_wildcard(local) and (":" in local) == (":" in address) else None
            try:
                async with asyncio.timeout(self._limits.connect):
                    connection = await self._connect_to(flow, (address, port), source)
            except (OSError, TimeoutError) as error:
                reason = why(error)
                continue
            if isinstance(connection, TlsConnection):
                if connection.failure:
                    reason = connection.failure
                    continue
                self._lead_to(connection, flow.source)
                # In a dialog the peer is known by its address: its certificate is then for the name it was called by.
                self.vouch(connection.flow.remote, self._vouched.get(flow.remote, flow.remote))
            self._counters(flow).connected += 1
            self._connected(flow, connection)
            return
        self._counters(flow).connect_failures += 1
        for waiting in {waiting: None for waiting, _ in self.connecting.pop(flow.source, [])}:
            self._fail(waiting, reason)

    async def _connect_to(self, flow: Flow, target: tuple[str, int], source: tuple[str, int] | None) -> TcpConnection:
        address, port = target
        if flow.transport == "tcp":
            _, plain = await self._loop.create_connection(
                lambda: self._connection(inbound=False), address, port, local_addr=source
            )
            return plain
        name, named_port = self._vouched.get(flow.remote, flow.remote)
        client = self.certificates.client(name, named_port or default_port("tls"))
        _, secured = await self._loop.create_connection(
            lambda: TlsConnection(
                next(self._numbers), server=name, client=client, **self._owner(self.tls, inbound=False)
            ),
            address,
            port,
            local_addr=source,
            ssl=client.context,
            server_hostname=name,  # RFC 6066 section 3: for a server with several certificates
            ssl_handshake_timeout=self._limits.handshake,
        )
        return secured

    def _counters(self, flow: Flow) -> TcpCounters:
        return self.tls if flow.transport == "tls" else self.tcp

    def _connected(self, flow: Flow, connection: TcpConnection) -> None:
        for waiting, data in self.connecting.pop(flow.source, []):
            connection.aliases.add(waiting)
            if not connection.send(data):
                self._fail(waiting, "connection is gone")

    # --- connections --------------------------------------------------------------------

    def _on_open(self, connection: TcpConnection) -> bool:
        source = subscriber(connection.flow.remote[0])
        if self._closed:
            return False
        if connection.inbound and self.per_source[source] >= self._limits.per_source:
            return False
        if len(self.connections) >= self._limits.connections and not self._make_room():
            return False
        if connection.inbound:
            self.per_source[source] += 1
            self._counters(connection.flow).accepted += 1
        self.connections[connection.number] = connection
        self._lead_to(connection, connection.flow.source)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._limits.sweep, self._sweep)
        return True

    def vouch(self, address: tuple[str, int], name: tuple[str, int]) -> None:
        """Whoever is at ``address`` has to prove this name, by what is configured for it and its port (0: any)."""
        self._vouched[address] = name
        self._vouched.move_to_end(address)
        if len(self._vouched) > _VOUCHED:
            self._vouched.popitem(last=False)

    def _lead_to(self, connection: TcpConnection, place: _Place) -> None:
        """What is sent to ``place`` goes over ``connection``."""
        transport, (host, port) = place
        place = transport, (host.lower(), port)
        connection.places.add(place)
        self.by_place[place] = connection

    def _note_alias(self, connection: TlsConnection, request: Request) -> None:
        """RFC 5923 section 8: a peer whose certificate proves the name in its Via may ask us to come back this way."""
        if not connection.names or not connection.inbound or len(connection.places) >= _ALIASES:
            return
        via = request.via
        if via.param("alias") is not None and speaks_for(connection.names, via.host):
            self._lead_to(connection, ("tls", (via.host.strip("[]"), via.port or 5061)))

    def _make_room(self) -> bool:
        """Close the connection of a peer that was silent longest, of those that nothing needs; false without one."""
        for connection in self.connections.values():
            if connection.inbound and not any(map(self._needs, (connection.flow, *connection.aliases))):
                self._counters(connection.flow).evicted += 1
                connection.evict()
                return True
        return False

    def _on_lost(self, connection: TcpConnection) -> None:
        flow = connection.flow
        del self.connections[connection.number]
        for place in connection.places:
            if self.by_place.get(place) is connection:
                del self.by_place[place]
        if connection.inbound:
            source = subscriber(flow.remote[0])
            self.per_source[source] -= 1
            if not self.per_source[source]:
                del self.per_source[source]
        if self._emptied is not None and not self._emptied.done() and not self.connections:
            self._emptied.set_result(None)
        for lost in (flow, *connection.aliases):
            self._lost(lost)

    def _sweep(self) -> None:
        """From time to time while there are connections: end those whose time is up."""
        now = self._loop.time()
        for connection in list(self.connections.values()):
            if connection.overdue(now):
                self._counters(connection.flow).timed_out += 1
                connection.abort()
        self._sweeper = None
        if self.connections:
            self._sweeper = self._loop.call_later(self._limits.sweep, self._sweep)

    def _on_items(self, connection: TcpConnection, items: list[Item]) -> None:
        self.connections.move_to_end(connection.number)
        if isinstance(connection, TlsConnection):
            for item in items:
                if isinstance(item, Request):
                    self._note_alias(connection, item)
        self._take(connection, items)

    async def close(self) -> None:
        """Take no more connections and close those there are, once what was written has left, if it does so soon."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for server in self._servers:
            server.close()
        for secured in self._tls_listeners:
            await secured.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close_connections()

    async def _close_connections(self) -> None:
        for connection in list(self.connections.values()):
            connection.close()
        if self.connections:
            self._emptied = self._loop.create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await self._emptied
        for connection in list(self.connections.values()):
            connection.abort()
        await asyncio.sleep(0)  # for the connections to hear of it

    def _background(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

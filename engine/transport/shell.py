"""The thin layer between an :class:`~engine.sip.endpoint.Endpoint` and the network.

Feed what arrives, send what comes out, hand over the events, and keep one timer at the endpoint's
deadline. The loop's clock is the endpoint's time.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from engine.addresses import Address, is_wildcard, parse_address
from engine.net import address_towards
from engine.sip.dialog import SavedDialog
from engine.sip.flow import Flow
from engine.sip.guard import subscriber
from engine.sip.message import Request
from engine.transport.certificates import CertificateBook, speaks_for, why
from engine.transport.names import Names
from engine.transport.tcp import Item, TcpConnection, TcpCounters, TcpLimits
from engine.transport.tls import TlsConnection, TlsCounters, TlsListener
from engine.transport.udp import UdpListener

if TYPE_CHECKING:
    from engine.sip.endpoint import Endpoint
    from engine.sip.events import Event

log = structlog.get_logger(__name__)

ContactHost = Callable[[Flow], tuple[str, int]]
_Place = tuple[str, tuple[str, int]]
"""Transport, host and port."""

_ELSEWHERE = "192.0.2.1"  # RFC 5737: nobody; the route to it is the route to the rest of the world
_PENDING = 64
"""Messages that wait for a name or a connection; more than that is a peer that is not there."""
_ROUTES = 4096
_STREAMS = frozenset({"tcp", "tls"})
_ALIASES = 16
"""Places that one connection may lead to."""
_SETTLE = 5.0
_LAST_WORDS = 1.0
"""Seconds for peers to take what was written before the sockets are closed."""


class TransportError(Exception):
    """An address cannot be listened on."""


class SipTransport:
    """Owns an endpoint, its sockets and its one timer. Lives on the running loop."""

    def __init__(
        self,
        make_endpoint: Callable[[ContactHost], Endpoint],
        *,
        on_event: Callable[[Event], None],
        advertise: tuple[str, int] | None = None,
        limits: TcpLimits | None = None,
        certificates: CertificateBook | None = None,
    ) -> None:
        """``advertise`` is host and port for Via and Contact (port 0: the one listened on);
        without it they name the local address towards each peer. ``certificates`` are for TLS.
        """
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._advertise = advertise
        self._limits = limits or TcpLimits()
        self._names = Names()
        self._udp: list[UdpListener] = []
        self._servers: list[asyncio.Server] = []
        self._tls_listeners: list[TlsListener] = []
        self._connections: OrderedDict[int, TcpConnection] = OrderedDict()
        """By number; who was silent longest comes first."""
        self._by_place: dict[_Place, TcpConnection] = {}
        self._connecting: dict[_Place, list[tuple[Flow, bytes]]] = {}
        self._per_source: Counter[str] = Counter()
        self._routes: OrderedDict[str, str] = OrderedDict()
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._armed: float | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._settling: asyncio.Future[None] | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._pumping = self._again = self._closed = False
        self.tcp = TcpCounters()
        self.tls = TlsCounters()
        self.certificates = certificates or CertificateBook()
        """May be replaced: connections made from then on use the new ones."""
        self.addresses: list[Address] = []
        """What is listened on, with the ports that were given for port 0."""
        self.endpoint = make_endpoint(self.contact_host)

    # --- listening ----------------------------------------------------------------------

    async def listen(self, addresses: Iterable[str]) -> None:
        """Bind ``udp:HOST:PORT``, ``tcp:HOST:PORT`` and ``tls:HOST:PORT`` (IPv6 in brackets).

        Raises :class:`TransportError`.
        """
        for text in addresses:
            wanted = parse_address(text)
            try:
                found = await self._loop.getaddrinfo(wanted.host, wanted.port)
                host = str(found[0][4][0])
                if wanted.transport == "udp":
                    port = self._listen_udp(host, wanted.port)
                elif wanted.transport == "tls":
                    port = self._listen_tls(host, wanted.port)
                else:
                    port = await self._listen_tcp(host, wanted.port)
            except OSError as error:
                raise TransportError(f"cannot listen on {text}: {error.strerror or error}") from error
            self.addresses.append(Address(wanted.transport, host, port))

    def _listen_udp(self, host: str, port: int) -> int:
        listener = UdpListener(host, port, on_datagram=self._on_datagram, on_batch=self.pump)
        self._udp.append(listener)
        return listener.address[1]

    async def _listen_tcp(self, host: str, port: int) -> int:
        server = await self._loop.create_server(lambda: self._connection(inbound=True), host, port, backlog=512)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def _listen_tls(self, host: str, port: int) -> int:
        if self.certificates.server is None:
            raise TransportError(f"cannot listen on tls:{host}:{port}: sip.tls_cert is not set")
        listener = TlsListener(
            host,
            port,
            limits=self._limits,
            counters=self.tls,
            open_from=self._per_source.__getitem__,
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

    # --- in -----------------------------------------------------------------------------

    def _on_datagram(self, data: bytes, local: tuple[str, int], remote: tuple[str, int]) -> None:
        self.endpoint.receive(data, Flow("udp", local, remote), self._loop.time())

    def _on_items(self, connection: TcpConnection, items: list[Item]) -> None:
        now = self._loop.time()
        self._connections.move_to_end(connection.number)
        for item in items:
            if isinstance(connection, TlsConnection) and isinstance(item, Request):
                self._note_alias(connection, item)
            self.endpoint.receive_message(item, connection.flow, now)
        self.pump()

    # --- the pump -----------------------------------------------------------------------

    def pump(self) -> None:
        """Send what the endpoint has, hand over its events, set the timer. After every call into the endpoint."""
        if self._closed:
            return
        if self._pumping:  # called from an event's handler: the loop below goes round again
            self._again = True
            return
        self._pumping = self._again = True
        try:
            while self._again:
                self._again = False
                for flow, data in self.endpoint.outgoing():
                    self._send(flow, data)
                for event in self.endpoint.events():
                    self._again = True
                    self._hand_over(event)
        finally:
            self._pumping = False
            self._arm()
            if self._settling is not None and self.endpoint.quiet:
                _complete(self._settling)

    def _hand_over(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:  # one call's fault must not reach the others
            log.exception("event_handler_failed", sip_event=type(event).__name__)

    def _arm(self) -> None:
        deadline = self.endpoint.deadline()
        if deadline == self._armed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed = deadline
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._on_timer, deadline)

    def _on_timer(self, deadline: float) -> None:
        self._timer = self._armed = None
        try:
            # The loop may wake a clock tick early: at least the deadline, or this would spin.
            self.endpoint.handle_timers(max(deadline, self._loop.time()))
        except Exception:  # one timer's fault must not stop the others: the pump sets the next
            log.exception("timer_failed")
        finally:
            self.pump()

    # --- out ----------------------------------------------------------------------------

    def _send(self, flow: Flow, data: bytes) -> None:
        if flow.transport == "udp":
            self._names.resolve(flow.remote[0], lambda found: self._send_udp(flow, data, found))
        elif flow.transport not in _STREAMS:
            self._fail(flow, f"no transport {flow.transport}")
        elif flow.connection:
            connection = self._connections.get(flow.connection)
            if connection is None or not connection.send(data):
                self._fail(flow, "connection is gone")
        else:
            self._names.resolve(flow.remote[0], lambda found: self._send_stream(flow, data, found))

    def _fail(self, flow: Flow, reason: str) -> None:
        """Tell the endpoint that nothing can be sent on ``flow``; never from inside of it."""
        log.info("cannot_send", transport=flow.transport, remote=flow.remote[0], port=flow.remote[1], reason=reason)
        self._loop.call_soon(self._connection_lost, flow)

    def _connection_lost(self, flow: Flow) -> None:
        if not self._closed:
            self.endpoint.connection_lost(flow, self._loop.time())
            self.pump()

    def _send_udp(self, flow: Flow, data: bytes, addresses: list[str]) -> None:
        for address in addresses:
            listener = self._udp_listener(flow.local, ipv6=":" in address)
            if listener is not None:
                error = listener.send(data, flow.local[0], (address, flow.remote[1]))
                if error is not None:
                    self._fail(flow, error.strerror or str(error))
                return
        self._fail(flow, "no socket of that address family" if addresses else "unknown host")

    def _udp_listener(self, local: tuple[str, int], *, ipv6: bool) -> UdpListener | None:
        """The socket to send from: the very one, else one on its host, else any of the family."""
        best: UdpListener | None = None
        best_score = -1
        for listener in self._udp:
            if (":" in listener.address[0]) != ipv6:
                continue
            host, port = listener.address
            score = 2 * (host == local[0] or is_wildcard(host)) + (port == local[1])
            if score > best_score:
                best, best_score = listener, score
        return best

    def _send_stream(self, flow: Flow, data: bytes, addresses: list[str]) -> None:
        if not addresses:
            self._fail(flow, "unknown host")
            return
        # Over TLS it matters who is at the other end, so a connection serves the name that it was made for.
        hosts = [flow.remote[0].lower()] if flow.transport == "tls" else addresses
        for host in hosts:
            connection = self._by_place.get((flow.transport, (host, flow.remote[1])))
            if connection is not None:
                connection.aliases.add(flow)
                if connection.send(data):
                    return
        pending = self._connecting.get(flow.source)
        if pending is not None:
            if len(pending) < _PENDING:
                pending.append((flow, data))
            return
        self._connecting[flow.source] = [(flow, data)]
        self._background(self._connect(flow, addresses))

    async def _connect(self, flow: Flow, addresses: list[str]) -> None:
        """Open a connection for what waits for ``flow.remote``, trying its addresses in turn."""
        reason = "no route"
        for address in addresses:
            local = flow.local[0]
            source = (local, 0) if local and not is_wildcard(local) and (":" in local) == (":" in address) else None
            try:
                async with asyncio.timeout(self._limits.connect):
                    connection = await self._connect_to(flow, address, source)
            except (OSError, TimeoutError) as error:
                reason = why(error)
                continue
            if isinstance(connection, TlsConnection):
                if connection.failure:
                    reason = connection.failure
                    continue
                self._lead_to(connection, flow.source)
            self._counters(flow).connected += 1
            self._connected(flow, connection)
            return
        self._counters(flow).connect_failures += 1
        for waiting in {waiting: None for waiting, _ in self._connecting.pop(flow.source, [])}:
            self._fail(waiting, reason)

    async def _connect_to(self, flow: Flow, address: str, source: tuple[str, int] | None) -> TcpConnection:
        name, port = flow.remote
        if flow.transport == "tcp":
            _, plain = await self._loop.create_connection(
                lambda: self._connection(inbound=False), address, port, local_addr=source
            )
            return plain
        client = self.certificates.client(name, port)
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
        for waiting, data in self._connecting.pop(flow.source, []):
            connection.aliases.add(waiting)
            if not connection.send(data):
                self._fail(waiting, "connection is gone")

    # --- connections --------------------------------------------------------------------

    def _on_open(self, connection: TcpConnection) -> bool:
        source = subscriber(connection.flow.remote[0])
        if self._closed:
            return False
        if connection.inbound and self._per_source[source] >= self._limits.per_source:
            return False
        if len(self._connections) >= self._limits.connections and not self._make_room():
            return False
        if connection.inbound:
            self._per_source[source] += 1
            self._counters(connection.flow).accepted += 1
        self._connections[connection.number] = connection
        if connection.inbound or connection.kind == "tcp":
            self._lead_to(connection, connection.flow.source)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._limits.sweep, self._sweep)
        return True

    def _lead_to(self, connection: TcpConnection, place: _Place) -> None:
        """What is sent to ``place`` goes over ``connection``."""
        transport, (host, port) = place
        place = transport, (host.lower(), port)
        connection.places.add(place)
        self._by_place[place] = connection

    def _note_alias(self, connection: TlsConnection, request: Request) -> None:
        """RFC 5923 section 8: a peer whose certificate proves the name in its Via may ask us to come back this way."""
        if not connection.names or not connection.inbound or len(connection.places) >= _ALIASES:
            return
        via = request.via
        if via.param("alias") is not None and speaks_for(connection.names, via.host):
            self._lead_to(connection, ("tls", (via.host.strip("[]"), via.port or 5061)))

    def _make_room(self) -> bool:
        """Close the connection of a peer that was silent longest, of those that nothing needs; false without one."""
        for connection in self._connections.values():
            if connection.inbound and not any(map(self.endpoint.needs, (connection.flow, *connection.aliases))):
                self._counters(connection.flow).evicted += 1
                connection.evict()
                return True
        return False

    def _on_lost(self, connection: TcpConnection) -> None:
        flow = connection.flow
        del self._connections[connection.number]
        for place in connection.places:
            if self._by_place.get(place) is connection:
                del self._by_place[place]
        if connection.inbound:
            source = subscriber(flow.remote[0])
            self._per_source[source] -= 1
            if not self._per_source[source]:
                del self._per_source[source]
        if self._emptied is not None and not self._connections:
            _complete(self._emptied)
        for lost in (flow, *connection.aliases):
            self._connection_lost(lost)

    def _sweep(self) -> None:
        """From time to time while there are connections: end those whose time is up."""
        now = self._loop.time()
        for connection in list(self._connections.values()):
            if connection.overdue(now):
                self._counters(connection.flow).timed_out += 1
                connection.abort()
        self._sweeper = None
        if self._connections:
            self._sweeper = self._loop.call_later(self._limits.sweep, self._sweep)

    # --- where we are -------------------------------------------------------------------

    def local_host(self, flow: Flow) -> str:
        """Our address towards the peer of ``flow``, never a wildcard; IPv6 without brackets."""
        host = flow.local[0]
        if host and not is_wildcard(host):
            return host
        known = self._names.known(flow.remote[0])
        remote = known[0] if known else _ELSEWHERE
        found = self._routes.get(remote)
        if found is None:
            found = self._routes[remote] = address_towards(remote)
            if len(self._routes) > _ROUTES:
                self._routes.popitem(last=False)
        return found

    def contact_host(self, flow: Flow) -> tuple[str, int]:
        """Host and port at which the peer of ``flow`` reaches us: for Via and Contact."""
        host = self.local_host(flow)
        port = self._listening_port(flow, host)
        if self._advertise is not None:
            return self._advertise[0], self._advertise[1] or port
        return host, port

    def _listening_port(self, flow: Flow, host: str) -> int:
        """The port of the flow's transport that is listened on: the flow's own, else that of its address."""
        best, best_score = flow.local[1], -1
        for address in self.addresses:
            if address.transport == flow.transport:
                score = 2 * (address.host == host or is_wildcard(address.host)) + (address.port == flow.local[1])
                if score > best_score:
                    best, best_score = address.port, score
        return best

    # --- for the daemon -----------------------------------------------------------------

    def resume_bye(self, dialog: Mapping[str, Any], reason: str) -> bool:
        """Hang up in a dialog of a former run, as it was journalled; false for one that is damaged.

        :class:`~engine.sip.events.ByeFinished` follows.
        """
        try:
            self.endpoint.resume_bye(msgspec.convert(dialog, SavedDialog), reason, self._loop.time())
        except ValueError as error:  # msgspec.ValidationError is one
            log.warning("saved_dialog_damaged", error=str(error))
            return False
        self.pump()
        return True

    def counts(self) -> Iterator[tuple[str, int]]:
        """Name and value of all that is counted here and in the endpoint."""
        for field in dataclasses.fields(self.endpoint.counters):
            yield field.name, getattr(self.endpoint.counters, field.name)
        for field in dataclasses.fields(self.tcp):
            yield f"tcp_{field.name}", getattr(self.tcp, field.name)
        for field in dataclasses.fields(self.tls):
            yield f"tls_{field.name}", getattr(self.tls, field.name)
        yield "udp_kernel_drops", sum(listener.kernel_drops() for listener in self._udp)
        yield "udp_send_failures", sum(listener.send_failures for listener in self._udp)
        yield "udp_keep_alives", sum(listener.keep_alives for listener in self._udp)
        yield "unresolved_names", self._names.failures

    async def settle(self, patience: float = _SETTLE) -> None:
        """Wait until our last requests are answered, ``patience`` seconds at most."""
        if self.endpoint.quiet:
            return
        self._settling = self._loop.create_future()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settling, patience)
        self._settling = None

    async def close(self) -> None:
        """Close all sockets; what was written to connections still leaves, if the peer takes it soon."""
        if self._closed:
            return
        self._closed = True
        for handle in (self._timer, self._sweeper):
            if handle is not None:
                handle.cancel()
        for server in self._servers:
            server.close()
        for secured in self._tls_listeners:
            await secured.close()
        for listener in self._udp:
            listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._names.close()
        await self._close_connections()

    async def _close_connections(self) -> None:
        for connection in list(self._connections.values()):
            connection.close()
        if self._connections:
            self._emptied = self._loop.create_future()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied, _LAST_WORDS)
        for connection in list(self._connections.values()):
            connection.abort()
        await asyncio.sleep(0)  # for the connections to hear of it

    def _background(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _complete(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

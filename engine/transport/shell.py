"""The thin layer between an :class:`~engine.sip.endpoint.Endpoint` and the network.

Feed what arrives, send what comes out, hand over the events, and keep one timer at the endpoint's
deadline. The loop's clock is the endpoint's time.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import SystemRandom
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from engine.addresses import Address, is_wildcard, parse_address
from engine.sip.dialog import SavedDialog
from engine.sip.flow import Flow
from engine.sip.message import Request, Response
from engine.sip.routing import address as literal_address
from engine.sip.routing import default_port, transport_of
from engine.sip.uri import Uri
from engine.transport.certificates import CertificateBook
from engine.transport.locating import Locator, Place
from engine.transport.names import Names
from engine.transport.net import address_towards
from engine.transport.streams import Streams, Targets
from engine.transport.tap import Tap
from engine.transport.tcp import Item, TcpConnection, TcpLimits
from engine.transport.udp import UdpListener

if TYPE_CHECKING:
    from engine.sip.endpoint import Endpoint
    from engine.sip.events import Event

log = structlog.get_logger(__name__)

ContactHost = Callable[[Flow], tuple[str, int]]

_ELSEWHERE = "192.0.2.1"  # RFC 5737: nobody; the route to it is the route to the rest of the world
_ROUTES = 4096
_LOOKING_UP = 256
"""Messages that may wait for DNS."""
_STREAMS = frozenset({"tcp", "tls"})
_SETTLE = 5.0


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
        name_servers: Sequence[tuple[str, int]] = (),
    ) -> None:
        """``advertise`` is host and port for Via and Contact (port 0: the one listened on);
        without it they name the local address towards each peer. ``certificates`` are for TLS.
        ``name_servers`` are asked for SRV and NAPTR records; none: those of the system.
        """
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._advertise = advertise
        self._names = Names()
        self.locator = Locator(name_servers, SystemRandom())
        self._tasks: set[asyncio.Task[None]] = set()
        self._udp: list[UdpListener] = []
        self._routes: OrderedDict[str, str] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._armed: float | None = None
        self._settling: asyncio.Future[None] | None = None
        self._pumping = self._again = self._closed = False
        self.streams = Streams(
            limits or TcpLimits(),
            certificates or CertificateBook(),
            on_items=self._on_items,
            on_lost=self._connection_lost,
            fail=self._fail,
            needs=self._needs,
        )
        self.tap = Tap()
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
                    port = self.streams.listen_tls(host, wanted.port)
                else:
                    port = await self.streams.listen_tcp(host, wanted.port)
            except OSError as error:
                raise TransportError(f"cannot listen on {text}: {error.strerror or error}") from error
            self.addresses.append(Address(wanted.transport, host, port))

    def _listen_udp(self, host: str, port: int) -> int:
        listener = UdpListener(host, port, on_datagram=self._on_datagram, on_batch=self.pump)
        self._udp.append(listener)
        return listener.address[1]

    # --- in -----------------------------------------------------------------------------

    def _on_datagram(self, data: bytes, local: tuple[str, int], remote: tuple[str, int]) -> None:
        flow = Flow("udp", local, remote)
        self.tap.received(flow, data)
        self.endpoint.receive(data, flow, self._loop.time())

    def _on_items(self, connection: TcpConnection, items: list[Item]) -> None:
        now = self._loop.time()
        for item in items:
            if isinstance(item, Request | Response):
                self.tap.received(connection.flow, item)
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
                    self.tap.sent(flow, data)
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
        if flow.transport != "udp" and flow.transport not in _STREAMS:
            self._fail(flow, f"no transport {flow.transport}")
        elif flow.connection:
            self.streams.send_on(flow, data)
        elif flow.remote[1]:
            self._send_to(flow, data, flow.remote[1])
        elif (places := self.locator.known(flow.remote[0], flow.transport)) is not None:
            self._send_located(flow, data, places)
        elif len(self._tasks) < _LOOKING_UP:
            task = self._loop.create_task(self._locate(flow, data))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._fail(flow, "too many names to be looked up")

    def _send_to(self, flow: Flow, data: bytes, port: int) -> None:
        """Send to the addresses of the host of ``flow``."""
        send = self._send_udp if flow.transport == "udp" else self.streams.send
        self._names.resolve(flow.remote[0], lambda found: send(flow, data, [(address, port) for address in found]))

    async def _locate(self, flow: Flow, data: bytes) -> None:
        places = await self.locator.places(flow.remote[0], flow.transport)
        if not self._closed:
            self._send_located(flow, data, places)

    def _send_located(self, flow: Flow, data: bytes, places: Sequence[Place]) -> None:
        """RFC 3263 section 4.2: to where SRV says; to the default port if it says nothing."""
        if not places:
            self._send_to(flow, data, default_port(flow.transport))
        elif flow.transport == "udp":
            self._send_udp(flow, data, [(place.address, place.port) for place in places])
        else:
            self.streams.send(flow, data, [(place.address, place.port) for place in places])

    def _fail(self, flow: Flow, reason: str) -> None:
        """Tell the endpoint that nothing can be sent on ``flow``; never from inside of it."""
        log.info("cannot_send", transport=flow.transport, remote=flow.remote[0], port=flow.remote[1], reason=reason)
        self._loop.call_soon(self._connection_lost, flow)

    def _needs(self, flow: Flow) -> bool:
        return self.endpoint.needs(flow)

    def _connection_lost(self, flow: Flow) -> None:
        if not self._closed:
            self.endpoint.connection_lost(flow, self._loop.time())
            self.pump()

    def _send_udp(self, flow: Flow, data: bytes, targets: Targets) -> None:
        for address, port in targets:
            listener = self._udp_listener(flow.local, ipv6=":" in address)
            if listener is not None:
                error = listener.send(data, flow.local[0], (address, port))
                if error is not None:
                    self._fail(flow, error.strerror or str(error))
                return
        self._fail(flow, "no socket of that address family" if targets else "unknown host")

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

    def is_ours(self, uri: Uri) -> bool:
        """Whether ``uri`` names us: an address that we listen on or tell others, with its port."""
        host, port = uri.host.strip("[]"), uri.port or default_port(transport_of(uri))
        if self._advertise is not None and host == self._advertise[0] and port == (self._advertise[1] or port):
            return True
        listened = [each.host for each in self.addresses if each.port == port]
        if host in listened:
            return True
        return (
            literal_address(uri.host) is not None and any(map(is_wildcard, listened)) and address_towards(host) == host
        )

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

    async def flows(self, flow: Flow, *, any_transport: bool = False) -> list[Flow]:
        """The ways to where ``flow`` leads, in the order in which to try them (RFC 3263 section 4.3).

        ``any_transport``: of a name without a port (port 0) DNS may choose that, too.
        """
        host, port = flow.remote
        places = await self.locator.places(host, "" if any_transport else flow.transport) if not port else []
        found = []
        for place in places:
            if place.transport == "tls":
                self.streams.vouch((place.address, place.port), flow.remote)
            found.append(Flow(place.transport, flow.local, (place.address, place.port)))
        return found or await self._by_address(flow)

    async def _by_address(self, flow: Flow) -> list[Flow]:
        """``flow`` for each address of its host. A connection tries them all by itself."""
        host, port = flow.remote
        if flow.transport != "udp":
            return [flow]
        addresses = [
            address
            for address in await self._names.addresses(host)
            if self._udp_listener(flow.local, ipv6=":" in address) is not None
        ]
        if len(addresses) < 2:
            return [flow]
        return [flow._replace(remote=(address, port or default_port("udp"))) for address in addresses]

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
        for name, counters in (("tcp", self.streams.tcp), ("tls", self.streams.tls)):
            for field in dataclasses.fields(counters):
                yield f"{name}_{field.name}", getattr(counters, field.name)
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
            async with asyncio.timeout(patience):
                await self._settling
        self._settling = None

    async def close(self) -> None:
        """Close all sockets; what was written to connections still leaves, if the peer takes it soon."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for listener in self._udp:
            listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._names.close()
        await self.streams.close()


def _complete(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

"""Trunks as they are configured: calls from and to them, registrations, and whether they are there."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from engine import tasks
from engine.addresses import bracketed, parse_rewrite, plain_number
from engine.calls.admission import TrunkAddress
from engine.calls.directory import AccountTrunk
from engine.calls.trunking import OutboundTrunk
from engine.config import TrunkConfig
from engine.log import get_logger
from engine.sip.digest import Credentials
from engine.sip.events import OptionsAnswered, RegistrationChanged
from engine.sip.flow import Flow
from engine.sip.keeping import DATAGRAM_PAUSE
from engine.sip.registration import Registration, RegistrationConfig
from engine.sip.routing import TRANSPORTS, address, default_port, same_host, transport_of
from engine.sip.uri import Address, Uri
from engine.transport import SipTransport

log = get_logger(__name__)

UNREGISTER_PATIENCE = 2.0


class Registrations:
    """One registration for each trunk with ``register = true``; they are told apart by labels."""

    def __init__(self, transport: SipTransport, *, keep_alive: float = DATAGRAM_PAUSE) -> None:
        """``keep_alive``: seconds at most between keep-alives by UDP."""
        self._transport = transport
        self._keep_alive = keep_alive
        self._running: dict[str, Registration] = {}
        self._leaving: set[Registration] = set()
        self._next: dict[str, RegistrationConfig] = {}
        """What waits until the registration of the same name is taken back."""
        self._removed = asyncio.Event()

    def replace(self, trunks: Mapping[str, TrunkConfig], lines: Mapping[str, str] = MappingProxyType({})) -> None:
        """Register with those of ``trunks`` that are new or have changed, and take back what is not wanted any more.

        ``lines``: what registrations are told apart by, by label. What comes of it is told to :meth:`changed`.
        """
        registering = ((label, trunk) for label, trunk in trunks.items() if trunk.registers)
        wanted = {
            label: _configuration(label, trunk, lines.get(label, ""), self._keep_alive) for label, trunk in registering
        }
        for label, registration in list(self._running.items()):
            if wanted.get(label) == registration.config:
                del wanted[label]
            else:
                self._leaving.add(self._running.pop(label))
                registration.remove(asyncio.get_running_loop().time())
        leaving = {registration.config.name for registration in self._leaving}
        self._next = {label: each for label, each in wanted.items() if label in leaving}
        for label, configuration in wanted.items():
            if label not in leaving:
                self._register(configuration)
        self._transport.pump()

    def _register(self, configuration: RegistrationConfig) -> None:
        now = asyncio.get_running_loop().time()
        self._running[configuration.name] = self._transport.endpoint.register(configuration, now)

    def service_route(self, label: str) -> tuple[Address, ...]:
        """The proxies by which the registrar of a trunk wants calls to come."""
        registration = self._running.get(label)
        return registration.service_route if registration is not None else ()

    def changed(self, event: RegistrationChanged) -> None:
        """A registration succeeded, failed or was removed."""
        name = event.registration.config.name
        if event.registration.removed:
            self._leaving.discard(event.registration)
            if (following := self._next.pop(name, None)) is not None:
                self._register(following)
                self._transport.pump()
            if not self._leaving:
                self._removed.set()
            return
        if event.registered and event.status < 300:
            log.info("registered", trunk=name)
            return
        flow = event.registration.config.flow
        if event.status in (408, 500, 503):  # RFC 3263 section 4.3: elsewhere, the next time
            self._transport.locator.demote(flow.remote[0], flow.transport)
        pause = None if event.retry_at is None else round(event.retry_at - asyncio.get_running_loop().time(), 1)
        log.warning("not_registered", trunk=name, status=event.status, reason=event.reason, next_try_in=pause)

    def failed(self, label: str) -> bool:
        """Whether a trunk should be registered and is not: calls by it may be refused."""
        registration = self._running.get(label)
        return registration is not None and not registration.registered

    def states(self) -> dict[str, bool]:
        """By trunk name, whether it is registered."""
        return {name: registration.registered for name, registration in self._running.items()}

    async def unregister(self) -> None:
        """Take all registrations back; a registrar that does not answer is not waited for long."""
        self._removed.clear()
        self.replace({})
        if not self._leaving:
            return
        try:
            async with asyncio.timeout(UNREGISTER_PATIENCE):
                await self._removed.wait()
        except TimeoutError:
            log.warning("not_unregistered", trunks=sorted(each.config.name for each in self._leaving))


class Probes:
    """Asks trunks by OPTIONS whether they are there. One that does not answer is down until it answers again."""

    def __init__(self, transport: SipTransport) -> None:
        self._transport = transport
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._trunks: dict[str, TrunkConfig] = {}
        self._at: dict[str, set[str]] = {}
        """Trunks by the URI that is asked."""
        self._down: set[str] = set()

    @property
    def down(self) -> frozenset[str]:
        """The labels of those that did not answer last time."""
        return frozenset(self._down)

    def replace(self, trunks: Mapping[str, TrunkConfig]) -> None:
        """Ask these, by label, from now on."""
        wanted = {label: trunk for label, trunk in trunks.items() if trunk.probe}
        for label in [each for each in self._asking if wanted.get(each) != self._trunks.get(each)]:
            self._asking.pop(label).cancel()
            self._down.discard(label)
        self._trunks = wanted
        self._at = {}
        for label, trunk in wanted.items():
            self._at.setdefault(str(_place(trunk)), set()).add(label)
            if label not in self._asking:
                self._asking[label] = asyncio.get_running_loop().create_task(self._keep_asking(trunk))

    async def close(self) -> None:
        """Ask no more."""
        asking = list(self._asking.values())
        self._asking.clear()
        await tasks.end(asking)

    def answered(self, event: OptionsAnswered) -> None:
        """An answer, or that there was none: 408; 503 also when nothing could be sent."""
        for label in self._at.get(event.target, ()):
            if event.status in (408, 503):
                if label not in self._down:
                    log.warning("trunk_down", trunk=label, status=event.status)
                self._down.add(label)
            elif label in self._down:
                self._down.discard(label)
                log.info("trunk_up", trunk=label, status=event.status)

    async def _keep_asking(self, trunk: TrunkConfig) -> None:
        loop = asyncio.get_running_loop()
        flow = _flow(trunk)
        while True:
            host, port = self._transport.contact_host(flow)
            us = Address(Uri("sip", trunk.username or None, host=bracketed(host), port=port or None))
            self._transport.endpoint.options(_place(trunk), from_=us, flow=flow, now=loop.time(), route=_routes(trunk))
            self._transport.pump()
            await asyncio.sleep(trunk.probe)


def _flow(trunk: TrunkConfig) -> Flow:
    transport, remote = trunk.hop
    return Flow(transport, ("", 0), remote)


def _routes(trunk: TrunkConfig) -> tuple[Address, ...]:
    """The outbound proxy, as a loose router."""
    if not trunk.outbound_proxy:
        return ()
    transport, (host, port) = trunk.hop
    params = ((("transport", transport),) if transport != "udp" else ()) + (("lr", None),)
    return (Address(Uri("sip", host=bracketed(host), port=port or None, params=params)),)


def outbound_trunk(
    each: AccountTrunk, service_route: tuple[Address, ...] = (), *, down: bool = False, registered: bool = True
) -> OutboundTrunk:
    """The trunk as calls go out by it; ``service_route``: of its registrar, behind the outbound proxy."""
    trunk = each.config
    credentials = Credentials(trunk.username, trunk.password.get_secret_value()) if trunk.username else None
    route = _routes(trunk) + service_route
    return OutboundTrunk(
        trunk.name,
        _towards(route[0].uri, _flow(trunk)) if route else _flow(trunk),
        trunk.order,
        tuple(plain_number(prefix) for prefix in trunk.prefixes),
        trunk.caller_id,
        credentials,
        label=each.label,
        weight=trunk.weight,
        domain=(trunk.address.transport, *trunk.remote) if route else None,
        route=route,
        channels=trunk.channels,
        down=down,
        registered=registered,
        from_user=trunk.from_user,
        from_domain=trunk.from_domain,
        identity=trunk.identity,
        history=trunk.diversion,
        dialled_rules=_rules(trunk.rewrite_dialled_out),
        caller_rules=_rules(trunk.rewrite_caller_out),
        redirects=trunk.redirects,
        respond_within=trunk.respond_within,
    )


def inbound_trunk(each: AccountTrunk) -> TrunkAddress:
    """The trunk as calls come in by it."""
    trunk = each.config
    peer = trunk.address
    return TrunkAddress(
        each.label,
        peer.host,
        peer.port,
        trunk.number_from,
        tuple(trunk.numbers),
        account="" if each.shared else each.account,
        located_by=peer.transport if not trunk.remote[1] else "",
        proxies=_proxies(trunk),
        user=trunk.username,
        registers=trunk.registers,
        line=each.line,
        believed=each.believed,
        password=trunk.password.get_secret_value(),
        by_digest=trunk.inbound == "digest",
        channels=trunk.channels,
        trusted=trunk.trusted,
        dialled_rules=_rules(trunk.rewrite_dialled_in),
        caller_rules=_rules(trunk.rewrite_caller_in),
    )


def _proxies(trunk: TrunkConfig) -> tuple[tuple[str, str], ...]:
    """The outbound proxy, by which calls come too."""
    if not trunk.outbound_proxy:
        return ()
    transport, (host, port) = trunk.hop
    return ((host, "" if port else transport),)


def _towards(uri: Uri, flow: Flow) -> Flow:
    """The way to the first proxy of a route, whose port is DNS's business if it has a name and none (RFC 3263)."""
    transport = transport_of(uri, flow.transport)
    port = uri.port or (0 if address(uri.host) is None else default_port(transport))
    host = uri.host.strip("[]")
    known = transport == flow.transport and same_host(host, flow.remote[0]) and port in (0, flow.remote[1])
    return flow if known or transport not in TRANSPORTS else Flow(transport, ("", 0), (host, port))


def _rules(texts: list[str]) -> tuple[tuple[str, str], ...]:
    return tuple(parse_rewrite(text) for text in texts)


def _place(trunk: TrunkConfig) -> Uri:
    """The trunk itself: the domain that is registered with, and asked whether it is there."""
    peer = trunk.address
    port = peer.port if peer.port != default_port(peer.transport) else None
    params = (("transport", peer.transport),) if peer.transport != "udp" else ()
    return Uri("sip", host=bracketed(peer.host), port=port, params=params)


def _configuration(label: str, trunk: TrunkConfig, line: str, keep_alive: float) -> RegistrationConfig:
    place = _place(trunk)
    return RegistrationConfig(
        name=label,
        registrar=place,
        aor=Address(dataclasses.replace(place, user=trunk.username, params=())),
        flow=_flow(trunk),
        credentials=Credentials(trunk.username, trunk.password.get_secret_value()),
        contact_user=trunk.username,
        line=line,
        route=_routes(trunk),
        keep_alive=keep_alive,
    )

"""From a target of a flow to where an INVITE goes: devices by their registration, numbers by trunks, URIs directly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.addresses import bracketed, plain_number
from engine.calls.peer import Destination
from engine.log import get_logger
from engine.security import NO_SRTP, SrtpPolicies
from engine.sip.digest import Credentials
from engine.sip.flow import Flow
from engine.sip.registrar import Registrar
from engine.sip.routing import TRANSPORTS, address, default_port, transport_of
from engine.sip.uri import Address, Uri
from flows.orders import Dial, Target

log = get_logger(__name__)

MOST_DESTINATIONS = 64
"""Destinations that one dial may come to."""


@dataclass(frozen=True, slots=True)
class OutboundTrunk:
    """A trunk for calls that go out: the lowest ``order`` is tried first; ``prefixes`` of its numbers (empty: all)."""

    name: str
    flow: Flow
    order: int = 0
    prefixes: tuple[str, ...] = ()
    caller_id: str = ""
    """Number to show where the caller's own may not be shown; empty: the caller's."""
    credentials: Credentials | None = None

    def takes(self, number: str) -> bool:
        return not self.prefixes or number.startswith(self.prefixes)

    def uri(self, number: str) -> Uri:
        """A number on this trunk."""
        host, port = self.flow.remote
        kind = self.flow.transport
        params = (("transport", kind),) if kind != "udp" else ()
        return Uri(
            "sip",
            number,
            host=bracketed(host),
            port=port if port not in (0, default_port(kind)) else None,
            params=params,
        )


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as peers are to see it."""

    number: str
    name: str = ""


@dataclass(slots=True)
class Routes:
    """Where the targets of one account are. ``users`` and ``groups`` have the devices, and the members, by name;
    ``extensions`` have users' and groups' devices by number. ``devices``: those of the account, ``None``: all.
    """

    registrar: Registrar
    own_host: Callable[[Flow], tuple[str, int]]
    """Our host and port towards the peer of a flow, for From."""
    trunks: Sequence[OutboundTrunk] = ()
    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extensions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    devices: frozenset[str] | None = None
    policies: SrtpPolicies = NO_SRTP

    def find(self, target: Target, order: Dial, caller: Caller) -> list[list[Destination]]:
        """Where ``target`` rings: everything in the outer list at once, the inner lists one after the other on failure.

        Empty when nobody is there: a device that is not registered, a number that no trunk takes.
        """
        value = str(target.value).strip()
        shown = self._shown(order, caller)
        headers = tuple({**order.headers, **target.headers}.items())
        match target.kind:
            case "uri":
                found = self._uri(value, shown, headers)
                return [lines] if found is not None and (lines := self._secured(found, "anyone", "")) else []
            case "number":
                devices = self._devices_of(value)
                if devices:
                    return self._ring(devices, shown, headers)
                return [trunks] if (trunks := self._by_trunks(value, order, shown, headers)) else []
            case "group" | "any":
                members = self.groups.get(value, (value,))
                devices = [device for member in members for device in self._devices_of(member)]
                return self._ring(devices, shown, headers)
            case _:
                return self._ring(self._devices_of(value), shown, headers)

    def _shown(self, order: Dial, caller: Caller) -> Caller:
        if order.hide_caller_id:
            return Caller("anonymous", "Anonymous")
        return Caller(str(order.caller_id) or caller.number, str(order.caller_name) or caller.name)

    def _devices_of(self, name: str) -> list[str]:
        """The devices of a user or an extension, or the device of that name."""
        if name in self.users:
            return list(self.users[name])
        if (number := plain_number(name)) in self.extensions:
            return list(self.extensions[number])
        if self.devices is not None and name not in self.devices:
            return []
        return [name] if self.registrar.password(name) is not None else []

    def _ring(
        self, devices: Iterable[str], shown: Caller, headers: tuple[tuple[str, str], ...]
    ) -> list[list[Destination]]:
        found: list[list[Destination]] = []
        for device in dict.fromkeys(devices):
            binding = self.registrar.binding(device)
            if binding is not None and len(found) < MOST_DESTINATIONS:
                to = Address(Uri("sip", device, host=binding.contact.host))
                caller = self._from(shown, binding.flow)
                own = Destination(device, binding.contact, binding.flow, caller, to, headers=_private(shown, headers))
                if lines := self._secured(own, "device", device):
                    found.append(lines)
        return found

    def _by_trunks(
        self, number: str, order: Dial, shown: Caller, headers: tuple[tuple[str, str], ...]
    ) -> list[Destination]:
        """The trunks that take ``number``, in their order."""
        digits = plain_number(number) if order.normalize else number
        if not digits:
            return []
        found: list[Destination] = []
        for trunk in sorted(self.trunks, key=lambda each: each.order):
            if (order.trunk and trunk.name != order.trunk) or not trunk.takes(digits):
                continue
            uri = trunk.uri(digits)
            visible = Caller(trunk.caller_id, shown.name) if trunk.caller_id and not order.caller_id else shown
            found += self._secured(
                Destination(
                    f"{digits} via {trunk.name}",
                    uri,
                    trunk.flow,
                    self._from(visible, trunk.flow),
                    Address(uri),
                    trunk.credentials,
                    _private(visible, headers),
                    trunk=trunk.name,
                ),
                "trunk",
                trunk.name,
            )
        return found

    def _secured(self, destination: Destination, kind: str, name: str) -> list[Destination]:
        """``destination`` as SRTP is wished for: with it, and where that may be, after a refusal without it."""
        policies = self.policies
        security = policies.allowed(policies.of_source(kind, name), destination.flow)
        if policies.offers(kind, name, destination.flow):
            secured = replace(destination, security=security, srtp=True)
            return [secured, replace(destination, security=security, fallback=True)] if security.plain else [secured]
        if not security.plain:
            log.warning("srtp_needs_tls", destination=destination.label)
            return []
        return [replace(destination, security=security)]

    def _uri(self, text: str, shown: Caller, headers: tuple[tuple[str, str], ...]) -> Destination | None:
        try:
            uri = Uri.parse(text)
        except ValueError:
            return None
        transport = transport_of(uri)
        if not uri.is_sip or transport not in TRANSPORTS:
            return None
        named = address(uri.host) is None  # RFC 3263 section 4.2: a name without a port is DNS's business
        flow = Flow(transport, ("", 0), (uri.host.strip("[]"), uri.port or (0 if named else default_port(transport))))
        own = self._from(shown, flow)
        anyhow = uri.scheme == "sip" and not uri.transport
        return Destination(text, uri, flow, own, Address(uri), headers=_private(shown, headers), any_transport=anyhow)

    def _from(self, shown: Caller, flow: Flow) -> Address:
        if shown.number == "anonymous":  # RFC 3323, section 4.1.1.3
            return Address(Uri.parse("sip:anonymous@anonymous.invalid"), shown.name)
        host, port = self.own_host(flow)
        return Address(Uri("sip", shown.number or None, host=bracketed(host), port=port or None), shown.name)


def _private(shown: Caller, headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """With what asks the way not to tell who calls (RFC 3323)."""
    return (*headers, ("Privacy", "id")) if shown.number == "anonymous" else headers

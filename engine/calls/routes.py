"""From a target of a flow to where an INVITE goes: devices by their registration, numbers by trunks, URIs directly."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.addresses import bracketed, plain_number
from engine.calls.allowance import Allowance, NotAllowed
from engine.calls.identity import Caller, Diversion
from engine.calls.peer import Destination, Redirects
from engine.calls.trunking import NOBODY, HeaderLines, OutboundTrunk, OwnHost
from engine.log import get_logger
from engine.security import NO_SRTP, SrtpPolicies
from engine.sip.flow import Flow
from engine.sip.registrar import Registrar
from engine.sip.routing import TRANSPORTS, address, default_port, same_host, towards, transport_of
from engine.sip.uri import Address, Uri
from flows.orders import Dial, Target

log = get_logger(__name__)

MOST_DESTINATIONS = 64
"""Destinations that one dial may come to."""


@dataclass(slots=True)
class Routes:
    """Where the targets of one account are. ``users`` and ``groups`` have the devices, and the members, by name;
    ``extensions`` have users' and groups' devices by number. ``devices``: those of the account, ``None``: all.
    """

    registrar: Registrar
    own_host: OwnHost
    """For From."""
    trunks: Sequence[OutboundTrunk] = ()
    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extensions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    devices: frozenset[str] | None = None
    policies: SrtpPolicies = NO_SRTP
    redirects: Mapping[str, Redirects] = field(default_factory=dict)
    """Where a 3xx of a device may lead, by its name; nowhere if it is not there."""
    shown: Mapping[str, str] = field(default_factory=dict)
    """Numbers that users chose to show outside, by the names of their devices."""
    allowance: Allowance | None = None
    """What calls that leave us may do; ``None``: anything."""

    def find(self, target: Target, order: Dial, caller: Caller) -> list[list[Destination]]:
        """Where ``target`` rings: everything in the outer list at once, the inner lists one after the other on failure.

        Empty when nobody is there: a device that is not registered, a number that no trunk takes. Raises
        :class:`~engine.calls.allowance.NotAllowed` when the call would leave us, and may not go there.
        """
        value = str(target.value).strip()
        shown = _shown(order, caller)
        headers = tuple({**order.headers, **target.headers}.items())
        match target.kind:
            case "uri":
                found = self._uri(value, shown, headers)
                return [lines] if found is not None and (lines := self._secured(found, "anyone", "")) else []
            case "number":
                return self._number(value, order, shown, headers)
            case "group" | "any":
                members = self.groups.get(value, (value,))
                devices = [device for member in members for device in self._devices_of(member)]
                return self._ring(devices, shown, headers)
            case _:
                return self._ring(self._devices_of(value), shown, headers)

    def knows(self, name: str) -> bool:
        """Whether ``name`` is a user, a group, an extension that rings somebody, or a device of the account."""
        return name in self.groups or bool(self._devices_of(name))

    def follow(self, destination: Destination, uri: Uri, order: Dial, caller: Caller) -> list[list[Destination]]:
        """Where a 3xx of ``destination`` leads that names ``uri``, as :meth:`find` says; empty: it may not lead there.

        A trunk leads to other numbers of its own, a device to numbers of its account at our address, either of them to
        anywhere only where that is allowed.
        """
        try:
            return self._follow(destination, uri, order, caller)
        except NotAllowed as refused:
            log.info("redirection_not_allowed", origin=destination.label, to=str(uri), why=str(refused))
            return []

    def _follow(self, destination: Destination, uri: Uri, order: Dial, caller: Caller) -> list[list[Destination]]:
        allowed = destination.redirects
        if allowed == "no" and destination.device and not order.ignore_forwards:
            allowed = "inside"
        shown = _shown(order, caller)
        headers = tuple(order.headers.items())
        if allowed == "no":
            return []
        if destination.trunk and same_host(uri.host, destination.uri.host):
            if self.allowance is not None:
                self.allowance.check_number(plain_number(uri.user or ""), caller.came_from)
            flow = destination.flow if destination.route else towards(uri, destination.flow)
            label = f"{uri.user or uri.host} via {destination.trunk}"
            return [[replace(destination, uri=uri, flow=flow, label=label, fallback=False)]]
        if destination.device and uri.user and self._is_here(uri, destination):
            extension = next((each for each, there in self.extensions.items() if destination.device in there), "")
            if extension:
                forwarded = Diversion(extension, "unknown")  # the telephone does not say why it forwards
                shown = replace(shown, diversions=(forwarded, *shown.diversions))
            return self._number(uri.user, order, shown, headers, outside=allowed != "inside")
        if allowed == "any" and (found := self._uri(str(uri), shown, headers)) is not None:
            return [lines] if (lines := self._secured(found, "anyone", "")) else []
        return []

    def _is_here(self, uri: Uri, destination: Destination) -> bool:
        """Whether ``uri`` is at our address, by the name that the device knows."""
        own, _ = self.own_host(destination.flow)
        return same_host(uri.host, own) or same_host(uri.host, destination.to.uri.host)

    def _number(
        self, number: str, order: Dial, shown: Caller, headers: HeaderLines, *, outside: bool = True
    ) -> list[list[Destination]]:
        """The telephones of a number, or the trunks that take it."""
        devices = self._devices_of(number)
        if devices or not outside:
            return self._ring(devices, shown, headers)
        return [trunks] if (trunks := self._by_trunks(number, order, shown, headers)) else []

    def _devices_of(self, name: str) -> list[str]:
        """The devices of a user or an extension, or the device of that name."""
        if name in self.users:
            return list(self.users[name])
        if (number := plain_number(name)) in self.extensions:
            return list(self.extensions[number])
        if self.devices is not None and name not in self.devices:
            return []
        return [name] if self.registrar.password(name) is not None else []

    def _ring(self, devices: Iterable[str], shown: Caller, headers: HeaderLines) -> list[list[Destination]]:
        """Every place where one of ``devices`` has registered: they all ring."""
        found: list[list[Destination]] = []
        for device in dict.fromkeys(devices):
            for binding in self.registrar.bindings(device):
                if len(found) >= MOST_DESTINATIONS:
                    return found
                own = Destination(
                    device,
                    binding.contact,
                    binding.flow,
                    self._from(shown, binding.flow),
                    Address(Uri("sip", device, host=binding.domain or binding.contact.host)),
                    headers=_private(shown, headers),
                    route=binding.path,
                    device=device,
                    redirects=self.redirects.get(device, "no"),
                )
                if lines := self._secured(own, "device", device):
                    found.append(lines)
        return found

    def _by_trunks(self, number: str, order: Dial, shown: Caller, headers: HeaderLines) -> list[Destination]:
        """The trunks that take ``number``, in their order; those that do not answer come last."""
        digits = plain_number(number) if order.normalize else number
        if not digits:
            return []
        chosen = bool(order.caller_id)
        if not chosen and not shown.withheld and shown.number in self.shown:
            shown, chosen = replace(shown, number=self.shown[shown.number]), True
        found: list[Destination] = []
        for trunk in sorted(self.trunks, key=lambda each: each.turn(random.random())):
            if (order.trunk and trunk.name != order.trunk) or not trunk.takes(digits):
                continue
            way = trunk.destination(digits, shown, self.own_host, headers, chosen=chosen)
            found += self._secured(way, "trunk", trunk.label or trunk.name)
        if found and self.allowance is not None:
            self.allowance.check_number(plain_number(digits), shown.came_from)
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

    def _uri(self, text: str, shown: Caller, headers: HeaderLines) -> Destination | None:
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
        if self.allowance is not None:
            self.allowance.check_uri(uri, shown.came_from)
        return Destination(text, uri, flow, own, Address(uri), headers=_private(shown, headers), any_transport=anyhow)

    def _from(self, shown: Caller, flow: Flow) -> Address:
        if shown.withheld:
            return NOBODY
        host, port = self.own_host(flow)
        return Address(Uri("sip", shown.number or None, host=bracketed(host), port=port or None), shown.name)


def _shown(order: Dial, caller: Caller) -> Caller:
    """The caller as the flow wants them to be seen."""
    if order.hide_caller_id:
        return replace(caller, number=str(order.caller_id) or caller.number, withheld=True)
    if order.caller_id:
        return replace(caller, number=str(order.caller_id), name=str(order.caller_name) or caller.name, withheld=False)
    return replace(caller, name=str(order.caller_name) or caller.name)


def _private(shown: Caller, headers: HeaderLines) -> HeaderLines:
    """With what asks the way not to tell who calls (RFC 3323)."""
    return (*headers, ("Privacy", "id")) if shown.withheld else headers

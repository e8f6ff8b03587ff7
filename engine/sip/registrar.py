"""A registrar for configured devices (RFC 3261 10.3): several contacts each, digest authentication, expiry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from engine.sip.bindings import Binding, Bindings
from engine.sip.core import Core, has_option
from engine.sip.digest import Challenger, Verdict
from engine.sip.events import DeviceChanged
from engine.sip.flow import Flow
from engine.sip.headers import read_seconds
from engine.sip.keeping import WayKeeper
from engine.sip.message import Request, Response
from engine.sip.redirect import read_q
from engine.sip.routing import behind_nat, towards
from engine.sip.uri import Address

MOST_PROXIES = 8
"""Between us and a device."""

LONGEST_INSTANCE = 256
"""Characters of a device's instance that are compared."""


@dataclass(frozen=True, slots=True)
class RegistrarLimits:
    """Seconds that a registration may ask for; ``default`` if it does not say. Contacts that a device may have."""

    shortest: int = 60
    longest: int = 3600
    default: int = 3600
    contacts: int = 10


class Registrar:
    """Bindings of devices. ``devices`` may be replaced while running; those that are gone are forgotten."""

    def __init__(
        self,
        core: Core,
        devices: Mapping[str, str],
        challenger: Challenger,
        keeper: WayKeeper,
        limits: RegistrarLimits | None = None,
    ) -> None:
        """``devices``: password by name."""
        self._core = core
        self._devices = dict(devices)
        self.challenger = challenger
        """Also judges the INVITEs of devices."""
        self._limits = limits or RegistrarLimits()
        self._keeper = keeper
        self._bindings = Bindings(core.queue)

    # --- questions --------------------------------------------------------------------------

    @property
    def has_devices(self) -> bool:
        return bool(self._devices)

    def password(self, name: str) -> str | None:
        return self._devices.get(name)

    def binding(self, name: str) -> Binding | None:
        """Where the device is most likely to be reached, ``None`` if it is not registered."""
        return next(iter(self._bindings.of(name)), None)

    def bindings(self, name: str) -> list[Binding]:
        """All places of the device: the most wanted (``q``) first, of equal ones the one heard of last."""
        return self._bindings.of(name)

    def bound_source(self, flow: Flow) -> str | None:
        """The device whose registration came over this flow; of several the last."""
        found = self._bindings.from_source(flow)
        return found[-1].name if found else None

    def __len__(self) -> int:
        """Devices registered."""
        return len(self._bindings)

    def replace_devices(self, devices: Mapping[str, str], now: float) -> None:
        """Take a new list of devices; those whose password changed have to register again."""
        gone = [name for name in self._bindings if devices.get(name) != self._devices.get(name)]
        self._devices = dict(devices)
        for name in gone:
            self._remove(name, self._bindings.of(name))

    # --- REGISTER ---------------------------------------------------------------------------

    def register(self, request: Request, flow: Flow, now: float) -> Response | None:
        """The response to a REGISTER; ``None`` drops it: its source has been refused too often."""
        verdict = self.authenticate(request, flow, now)
        name = request.to.uri.user or ""
        if verdict.result == "ok" and verdict.username == name:
            return self._update(name, request, flow, now)
        return self.turn_away(request, verdict, name, flow, now)

    def turn_away(self, request: Request, verdict: Verdict, name: str, flow: Flow, now: float) -> Response | None:
        """The 401 or 403 for who says to be ``name`` and is not let in; ``None`` for who was refused too often."""
        core = self._core
        if verdict.result in {"bad", "ok"} or name not in self._devices:
            core.counters.unauthorised += 1
        refreshes = verdict.result != "bad" and self.bound_source(flow) == name  # nobody else hears the answer
        if not refreshes and not core.guard.allow(flow.remote[0], now):
            core.counters.rate_limited += 1
            return None
        tag = core.stateless_tag(request)
        if verdict.result in {"bad", "ok"}:
            return core.response(request, 403, to_tag=tag)  # wrong password, or another's name
        challenges = self.challenger.challenges(now, stale=verdict.result == "stale")
        headers = [("WWW-Authenticate", value) for value in challenges]
        return core.response(request, 401, to_tag=tag, headers=headers)

    def authenticate(
        self, request: Request, flow: Flow, now: float, others: Callable[[str], str | None] = lambda _name: None
    ) -> Verdict:
        """Judge the credentials of ``request``; ``others`` has passwords of those who are no devices.

        Every refusal for want of them is to be charged to the guard, also the first round of an honest device:
        silence would tell which names exist. Good credentials take the charge back.
        """

        def password(name: str) -> str | None:
            found = self.password(name)
            return found if found is not None else others(name)

        verdict = self.challenger.verify(request, password, now)
        if verdict.result == "ok":
            self._core.guard.refund(flow.remote[0])
        return verdict

    def _update(self, name: str, request: Request, flow: Flow, now: float) -> Response:
        """Steps 6 to 8 of 10.3, for an authenticated device: all that the request asks for, or nothing of it."""
        response = self._core.response
        if request.contact_is_wildcard:
            if request.expires != 0:
                return response(request, 400, "Wildcard Contact Needs Expires: 0")
        elif any(0 < self._lifetime(request, contact) < self._limits.shortest for contact in request.contacts):
            return response(request, 423, headers=[("Min-Expires", str(self._limits.shortest))])
        try:
            path = tuple(each for value in request.headers.all("Path") for each in Address.parse_many(value))
        except ValueError:
            return response(request, 400, "Malformed Path")
        if len(path) > MOST_PROXIES or not all(each.uri.is_sip for each in path):
            return response(request, 400, "Bad Path")
        asked = [self._binding(name, request, contact, flow, now, path) for contact in request.contacts]
        known = self._bindings.of(name)
        touched = [each for each in known if request.contact_is_wildcard or any(each.is_same(new) for new in asked)]
        changes = bool(asked) or request.contact_is_wildcard
        if changes and any(each.call_id == request.call_id and request.cseq.number <= each.cseq for each in known):
            return response(request, 500, "CSeq Out Of Order")
        wanted = [each for each in asked if each.expires_at > now]
        if len(wanted) > self._limits.contacts:
            return response(request, 403, "Too Many Contacts")
        self._change(name, touched, wanted)
        listed = [("Contact", _as_contact(each, now)) for each in self._bindings.of(name)]
        if path and has_option(request, "Supported", "path"):
            listed += [("Path", str(each)) for each in path]  # RFC 3327 section 5.3
        return response(request, 200, headers=listed)

    def _lifetime(self, request: Request, contact: Address) -> int:
        asked = read_seconds(contact.param("expires"))
        if asked is None:
            asked = request.expires if request.expires is not None else self._limits.default
        return min(asked, self._limits.longest)

    def _binding(
        self, name: str, request: Request, contact: Address, flow: Flow, now: float, path: tuple[Address, ...]
    ) -> Binding:
        """What ``contact`` says; one that expires at ``now`` is to go."""
        uri = contact.uri
        direct = len(request.vias) == 1
        # Behind proxies that say so, it is they who are reached.
        hop = path[0].uri if path else uri
        pinned = behind_nat(hop, flow.remote[0], request.via.host if direct else "") or not hop.is_sip
        instance, number = contact.param("+sip.instance") or "", contact.param("reg-id") or ""
        return Binding(
            name=name,
            contact=uri,
            flow=flow if pinned else towards(hop, flow),
            source=flow,
            expires_at=now + self._lifetime(request, contact),
            call_id=request.call_id,
            cseq=request.cseq.number,
            pinned=pinned,
            q=read_q(contact),
            instance=f"{instance};{number}"[:LONGEST_INSTANCE] if instance and number else "",
            updated_at=now,
            domain=request.to.uri.host,
            path=path,
        )

    def _change(self, name: str, touched: list[Binding], wanted: list[Binding]) -> None:
        """Forget ``touched``, remember ``wanted``; say what is new, or where the device is now that it left a place."""
        news: list[Binding] = []
        left = False
        for old in touched:
            self._forget(old)
            left = left or not any(old.is_same(new) for new in wanted)
        for new in wanted:
            for twin in [each for each in self._bindings.of(name) if each.is_same(new)]:
                self._forget(twin)  # listed twice in one request: the last counts
            self._bindings.add(new, self._core.queue.at(new.expires_at, partial(self._expired, new)))
            self._keeper.begin(new, new.updated_at)
            if not any((old.contact, old.flow) == (new.contact, new.flow) for old in touched):
                news.append(new)
        spare = self._bindings.count(name) - self._limits.contacts
        for old in sorted(self._bindings.of(name), key=lambda each: each.updated_at)[: max(0, spare)]:
            self._forget(old)  # a device that never signs off: its oldest places make room
        for new in news:
            self._tell(name, new)
        if left and not news:
            self._tell(name, self.binding(name))

    def _tell(self, name: str, place: Binding | None) -> None:
        count = self._bindings.count(name)
        if place is None:
            self._core.emit(DeviceChanged(name, None, None, contacts=0))
        else:
            self._core.emit(DeviceChanged(name, str(place.contact), place.flow, contacts=count))

    # --- going away -------------------------------------------------------------------------

    def connection_lost(self, flow: Flow) -> None:
        """A device whose connection broke is reached by its contact, or not at all if that is behind NAT."""
        for bound in self._bindings.from_source(flow):
            if not flow.reliable or bound.source.connection != flow.connection:
                continue
            if bound.pinned:
                self._remove(bound.name, [bound])
                continue
            # Its next connection may come from anywhere: nobody is taken for it until it registers there.
            nowhere = bound.source._replace(remote=("", 0), connection=0)
            moved = replace(bound, flow=towards(bound.next_hop, nowhere), source=nowhere)
            self._bindings.remove(bound)
            self._bindings.add(moved, self._core.queue.at(moved.expires_at, partial(self._expired, moved)))

    def _expired(self, binding: Binding, now: float) -> None:
        self._remove(binding.name, [binding])

    def _forget(self, binding: Binding) -> bool:
        self._keeper.end(binding)
        return self._bindings.remove(binding)

    def _remove(self, name: str, bindings: list[Binding]) -> None:
        gone = [each for each in bindings if self._forget(each)]
        if gone:
            self._tell(name, self.binding(name))


def _as_contact(binding: Binding, now: float) -> str:
    q = f";q={binding.q:g}" if binding.q != 1.0 else ""
    return f"<{binding.contact}>{q};expires={max(0, round(binding.expires_at - now))}"

"""A registrar for configured devices (RFC 3261 10.3): one contact each, digest authentication, expiry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from engine.sip.core import Core
from engine.sip.digest import Challenger, Verdict
from engine.sip.events import DeviceChanged
from engine.sip.flow import Flow
from engine.sip.headers import read_seconds
from engine.sip.message import Request, Response
from engine.sip.routing import behind_nat, towards
from engine.sip.timers import Timer
from engine.sip.uri import Address, Uri


@dataclass(frozen=True, slots=True)
class RegistrarLimits:
    """Seconds that a registration may ask for; ``default`` if it does not say."""

    shortest: int = 60
    longest: int = 3600
    default: int = 3600


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a device is."""

    name: str
    contact: Uri
    flow: Flow
    """How to reach it: the flow its registration came on if it is behind NAT, otherwise its contact."""
    source: Flow
    """The flow its registration came on."""
    expires_at: float
    call_id: str
    cseq: int
    pinned: bool


class Registrar:
    """Bindings of devices. ``devices`` may be replaced while running; those that are gone are forgotten."""

    def __init__(
        self, core: Core, devices: Mapping[str, str], challenger: Challenger, limits: RegistrarLimits | None = None
    ) -> None:
        """``devices``: password by name."""
        self._core = core
        self._devices = dict(devices)
        self.challenger = challenger
        """Also judges the INVITEs of devices."""
        self._limits = limits or RegistrarLimits()
        self._bindings: dict[str, Binding] = {}
        self._timers: dict[str, Timer] = {}
        self._sources: dict[tuple[str, tuple[str, int]], str] = {}

    # --- questions --------------------------------------------------------------------------

    @property
    def has_devices(self) -> bool:
        return bool(self._devices)

    def password(self, name: str) -> str | None:
        return self._devices.get(name)

    def binding(self, name: str) -> Binding | None:
        """Where the device is, ``None`` if it is not registered."""
        return self._bindings.get(name)

    def bound_source(self, flow: Flow) -> str | None:
        """The device whose registration came over this flow."""
        return self._sources.get(flow.source)

    def __len__(self) -> int:
        """Devices registered."""
        return len(self._bindings)

    def replace_devices(self, devices: Mapping[str, str], now: float) -> None:
        """Take a new list of devices; those whose password changed have to register again."""
        gone = [name for name in self._bindings if devices.get(name) != self._devices.get(name)]
        self._devices = dict(devices)
        for name in gone:
            self._remove(name)

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

    def authenticate(self, request: Request, flow: Flow, now: float) -> Verdict:
        """Judge the credentials of ``request``.

        Every refusal for want of them is to be charged to the guard, also the first round of an honest device:
        silence would tell which names exist. Good credentials take the charge back.
        """
        verdict = self.challenger.verify(request, self.password, now)
        if verdict.result == "ok":
            self._core.guard.refund(flow.remote[0])
        return verdict

    def _update(self, name: str, request: Request, flow: Flow, now: float) -> Response:
        """Steps 6 to 8 of 10.3, for an authenticated device."""
        response = self._core.response
        bound = self._bindings.get(name)
        if request.contact_is_wildcard:
            if request.expires != 0:
                return response(request, 400, "Wildcard Contact Needs Expires: 0")
        elif any(0 < self._lifetime(request, contact) < self._limits.shortest for contact in request.contacts):
            return response(request, 423, headers=[("Min-Expires", str(self._limits.shortest))])
        changes = request.contact_is_wildcard or bool(request.contacts)
        if changes and bound is not None and bound.call_id == request.call_id and request.cseq.number <= bound.cseq:
            return response(request, 500, "CSeq Out Of Order")
        self._change(name, request, flow, now)
        bound = self._bindings.get(name)
        listed = []
        if bound is not None:
            listed.append(("Contact", f"<{bound.contact}>;expires={max(0, round(bound.expires_at - now))}"))
        return response(request, 200, headers=listed)

    def _change(self, name: str, request: Request, flow: Flow, now: float) -> None:
        if request.contact_is_wildcard:
            self._remove(name)
            return
        lifetimes = [(contact, self._lifetime(request, contact)) for contact in request.contacts]
        taken = next(((contact, seconds) for contact, seconds in lifetimes if seconds > 0), None)
        if taken is not None:
            self._bind(name, request, taken[0].uri, taken[1], flow, now)
            return
        bound = self._bindings.get(name)
        if bound is not None and any(contact.uri.matches(bound.contact) for contact, _ in lifetimes):
            self._remove(name)

    def _lifetime(self, request: Request, contact: Address) -> int:
        asked = read_seconds(contact.param("expires"))
        if asked is None:
            asked = request.expires if request.expires is not None else self._limits.default
        return min(asked, self._limits.longest)

    def _bind(self, name: str, request: Request, contact: Uri, seconds: int, flow: Flow, now: float) -> None:
        before = self._bindings.get(name)
        self._drop(name)
        direct = len(request.vias) == 1
        pinned = behind_nat(contact, flow.remote[0], request.via.host if direct else "") or not contact.is_sip
        reach = flow if pinned else towards(contact, flow)
        bound = Binding(name, contact, reach, flow, now + seconds, request.call_id, request.cseq.number, pinned)
        self._bindings[name] = bound
        self._sources[flow.source] = name
        self._timers[name] = self._core.queue.at(bound.expires_at, lambda _now: self._remove(name))
        if before is None or before.contact != contact or before.flow != reach:
            self._core.emit(DeviceChanged(name, str(contact), reach))

    # --- going away -------------------------------------------------------------------------

    def connection_lost(self, flow: Flow) -> None:
        """A device whose connection broke is reached by its contact, or not at all if that is behind NAT."""
        name = self._sources.get(flow.source)
        bound = self._bindings.get(name) if name is not None else None
        if bound is None or not flow.reliable or bound.source.connection != flow.connection:
            return
        if bound.pinned:
            self._remove(bound.name)
            return
        reach = towards(bound.contact, bound.source._replace(remote=("", 0), connection=0))
        del self._sources[flow.source]
        self._bindings[bound.name] = replace(bound, flow=reach)

    def _remove(self, name: str) -> None:
        if self._drop(name):
            self._core.emit(DeviceChanged(name, None, None))

    def _drop(self, name: str) -> bool:
        bound = self._bindings.pop(name, None)
        if bound is None:
            return False
        self._core.queue.cancel(self._timers.pop(name))
        if self._sources.get(bound.source.source) == name:
            del self._sources[bound.source.source]
        return True

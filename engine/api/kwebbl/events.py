"""From what the journal says of calls to events of the Realtime API ("Event Structure", "Available events").

Pure: a happening and the account's extensions in, an :class:`Event` out. A call has events of its own, and so has each
leg that was dialled for it, with ids of their own; whoever is rung first by a call that goes out is that call.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from engine.accounts.callbook import CallRow, LegRow
from engine.addresses import plain_number
from engine.api.kwebbl import callids
from engine.api.kwebbl.agents import Agents, Extension
from engine.callbacks import records
from engine.callbacks.announcing import Happening
from flows.causes import cause_of

PRESENCE = ("created", "ringing", "answered", "terminated")
OTHERS = ("transferred", "bridged", "holding", "resume", "start_recording", "stop_recording")
EVENTS = (*PRESENCE, *OTHERS)
"""Names as the seed's list has them; its samples have other spellings for three."""

SAMPLES = {"resume": "resumed", "start_recording": "start-recording", "stop_recording": "stop-recording"}
"""How the samples spell them."""

SPELLINGS = {name: name for name in EVENTS} | {sample: name for name, sample in SAMPLES.items()}
"""All that are understood when somebody subscribes."""

BY_CLICK = "realtime: "
"""How the source begins of a call that was placed between two parties: who is rung first is its ``from``."""

_NUMBER = re.compile(r"\+?[0-9]{3,15}")
_REASONS = {"completed": "hangup", "busy": "busy", "no-answer": "no-answer", "canceled": "cancelled"}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody in a call. ``number`` as it was dialled or shown."""

    number: str = ""
    extension: Extension | None = None
    shown: str = ""
    """The caller id that others see; empty for who is called."""

    def view(self, *, detailed: bool) -> Json:
        """As an agent object: at least one of its properties."""
        view: Json = {}
        if _NUMBER.fullmatch(self.number):
            view["number"] = self.number
        if self.extension is not None:
            view["extension_id"] = self.extension.id
        if (detailed and self.shown) or not view:
            view["caller_id"] = self.shown or self.number or "anonymous"
        return view

    def is_at(self, number: str) -> bool:
        """Whether ``number`` means this party."""
        own = {plain_number(self.number).removeprefix("+")}
        if self.extension is not None:
            own |= {self.extension.number, self.extension.external}
        return plain_number(number).removeprefix("+") in own - {""}


@dataclass(frozen=True, slots=True)
class Line:
    """A call or a leg: who calls whom, ``via`` whom."""

    call_id: str
    caller: Party
    callee: Party
    direction: records.Direction
    via: Party | None = None

    def view(self, *, detailed: bool) -> Json:
        """The fields that are the same in most events."""
        view: Json = {"call_id": self.call_id, "from": self.caller.view(detailed=detailed)}
        if detailed and self.via is not None:
            view["via"] = self.via.view(detailed=True)
        return {**view, "to": self.callee.view(detailed=detailed), "direction": self.direction}


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, for whoever wants to know. ``kind`` is one of :data:`EVENTS`."""

    id: str
    kind: str
    at: float
    account: str
    call: str
    lines: tuple[Line, ...]
    more: Json = field(default_factory=dict)

    def parties(self, where: str) -> Iterable[Party]:
        """Those in ``from``, in ``to``, or for ``*`` in either."""
        for line in self.lines:
            if where in ("*", "from"):
                yield line.caller
            if where in ("*", "to"):
                yield line.callee

    def body(self, mode: str, *, hyphens: bool) -> Json:
        """As it is sent. ``mode`` is the subscription's."""
        detailed = mode == "detailed"
        body: Json = {"id": self.id, "event_type": SAMPLES.get(self.kind, self.kind) if hyphens else self.kind}
        if self.kind == "bridged":
            body["calls"] = [line.view(detailed=detailed) for line in self.lines]
        elif self.kind == "transferred":
            before, after = self.lines
            body["call_id"] = before.call_id
            for name, line in (("before", before), ("after", after)):
                body[name] = {"from": line.caller.view(detailed=detailed), "to": line.callee.view(detailed=detailed)}
        else:
            body |= self.lines[0].view(detailed=detailed)
        return {**body, **self.more, "time": iso(self.at)}


def iso(at: float) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- from records -----------------------------------------------------------------------


def event_of(happening: Happening, agents: Agents) -> Event | None:
    """The event that a happening is; ``None`` for one that is none."""
    record, call, leg = happening.record, happening.call, happening.leg
    kind, more = _kind(record, call, leg)
    about_leg = bool(getattr(record, "leg", "")) and not isinstance(record, records.Transferred)
    if not kind or (about_leg and (leg is None or is_own(call, leg))):
        return None
    lines: tuple[Line, ...]
    match record:
        case records.Bridged(party=party, peer=peer) if leg is not None:
            lines = _bridged(call, leg, party, peer, agents)
        case records.Transferred():
            lines, more = _transferred(call, record, agents)
        case _:
            lines = (line_of(call, agents) if leg is None else line_of_leg(call, leg, agents),)
    if len(lines) == 1 and leg is not None and _is_one(lines[0].caller, lines[0].callee):
        return None  # the caller's own line, which became a leg when it left for somebody else
    return Event(_id(kind, record, leg), kind, record.at, call.account_id, call.id, lines, more)


def is_own(call: CallRow, leg: LegRow) -> bool:
    """Whether a leg is one of those that were rung for the call itself, before anybody had answered it."""
    return call.direction == "outbound" and (call.answered_at is None or leg.started_at < call.answered_at)


def _kind(record: records.Record, call: CallRow, leg: LegRow | None) -> tuple[str, Json]:
    match record:
        case records.CallStarted() | records.LegStarted():
            return "created", {}
        case records.Rang():
            return "ringing", {}
        case records.CallAnswered() | records.LegAnswered():
            return "answered", {}
        case records.Bridged():
            return "bridged", {}
        case records.Held():
            return "holding", {}
        case records.Resumed():
            return "resume", {}
        case records.Transferred():
            return "transferred", {}
        case records.RecordingStarted():
            return "start_recording", {}
        case records.RecordingFinished():
            return "stop_recording", {}
        case records.CallFinished():
            return "terminated", {"reason": reason_of(call, call.cause)}
        case records.LegFinished() if leg is not None:
            return "terminated", {"reason": reason_of(leg)}
    return "", {}


def reason_of(over: CallRow | LegRow, cause: str | None = None) -> str:
    """Why a call or a leg is over, in the API's words."""
    if over.reason == "transferred":
        return "transferred"
    if over.answered_at is not None:
        return "failed" if cause == "NORMAL_TEMPORARY_FAILURE" else "hangup"
    found = cause_of(over.sip_status, over.q850, cause)
    if found.name == "CALL_REJECTED":
        return "rejected"
    return _REASONS.get(found.status, "failed")


def _id(kind: str, record: records.Record, leg: LegRow | None) -> str:
    """The same however often the record is read."""
    path = getattr(record, "path", "")
    text = f"{kind}\0{getattr(record, 'call', '')}\0{leg.id if leg is not None else ''}\0{record.at!r}\0{path}"
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


# --- parties ----------------------------------------------------------------------------


def line_of(call: CallRow, agents: Agents) -> Line:
    """A call itself."""
    return line_between(call.id, call.caller, call.callee, call.direction, call.source, agents)


def line_between(call: str, caller: str, callee: str, direction: str, source: str, agents: Agents) -> Line:
    """A call, by what its record or its supervisor says of it."""
    if direction == "inbound":
        device = agents.by_device(source)
        shown = caller or "anonymous"
        who = Party(device.number, device, shown) if device is not None else Party(caller, None, shown)
        return Line(callids.of_call(call), who, _called(callee, agents), "inbound")
    rung, other = _called(callee, agents), _called(caller, agents)
    if source.startswith(BY_CLICK):
        rung = Party(rung.number, rung.extension, rung.number)
        return Line(callids.of_call(call), rung, Party(other.number, other.extension), "outbound")
    return Line(callids.of_call(call), Party(other.number, other.extension, caller or "anonymous"), rung, "outbound")


def line_of_leg(call: CallRow, leg: LegRow, agents: Agents) -> Line:
    """A leg that was dialled: from whoever called, via the dialplan that did it."""
    own = line_of(call, agents)
    return leg_line(own, call.id, leg.id, leg.callee, agents)


def leg_line(own: Line, call: str, leg: str, label: str, agents: Agents) -> Line:
    """The leg ``leg`` of the call ``own``, which was dialled to ``label``."""
    callee = _called(label.partition(" via ")[0], agents)
    other = own.callee.extension
    via = own.callee if other is not None and other.type == "dialplan" and other != callee.extension else None
    return Line(callids.of_leg(call, leg), own.caller, callee, "outbound", via)


def _bridged(call: CallRow, leg: LegRow, party: str, peer: str, agents: Agents) -> tuple[Line, Line]:
    """Two who talk: who is on the line may have changed places since the call began."""
    own = line_of(call, agents)
    caller = _same(party, own, agents)
    line = Line(own.call_id, caller, own.callee, own.direction)
    return line, Line(callids.of_leg(call.id, leg.id), caller, _same(peer, own, agents), "outbound")


def _transferred(call: CallRow, record: records.Transferred, agents: Agents) -> tuple[tuple[Line, Line], Json]:
    """Before and after. Who wanted it is the one who was replaced."""
    own = line_of(call, agents)
    before, after = (
        Line(own.call_id, _same(first, own, agents), _same(second, own, agents), own.direction)
        for first, second in (record.before, record.after)
    )
    gone = before.caller if record.before[0] != record.after[0] else before.callee
    return (before, after), {"initiator": gone.view(detailed=False), "transfer_type": record.kind}


def _same(text: str, own: Line, agents: Agents) -> Party:
    """Whoever is meant by a label; one who is in the call from the beginning as they are there."""
    found = _called(text.partition(" via ")[0], agents)
    return next((known for known in (own.caller, own.callee) if _is_one(found, known)), found)


def _is_one(one: Party, other: Party) -> bool:
    """Whether two are the same extension, or the same number outside."""
    if one.extension is not None or other.extension is not None:
        return one.extension == other.extension
    return bool(one.number) and one.number == other.number


def _called(text: str, agents: Agents) -> Party:
    """Whoever is meant by a number, a telephone's or a user's name, or a URI."""
    found = agents.by_number(text) or agents.by_device(text)
    if found is None:
        found = next((each for each in agents.extensions if each.user_id and each.name == text), None)
    if found is None:
        return Party(text)
    plain = plain_number(text)
    return Party(plain if _NUMBER.fullmatch(plain) else found.number, found)

"""The records of the journal.

Times (``at``) are wall-clock UTC in seconds since the epoch. A record, once written, is read by
later versions too: fields are only added, with defaults.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args

import msgspec

from flows import call as flow_call

Direction = Literal["inbound", "outbound"]


class Record(msgspec.Struct, frozen=True, tag=True, tag_field="is", omit_defaults=True):
    """Base of all records; ``at`` is when it happened."""

    at: float


class SegmentOpened(Record, frozen=True, kw_only=True):
    """First record of a segment file; ``run`` is the life of one process."""

    run: str


class Heartbeat(Record, frozen=True):
    """The process was alive, with calls on it."""


class CallStarted(Record, frozen=True, kw_only=True):
    """An INVITE came or was sent; from here on the call exists and will be finished."""

    call: str
    caller: str
    callee: str
    direction: Direction = "inbound"
    sip_call_id: str = ""
    flow: str = ""
    source: str = ""
    account: str = "default"
    flow_version: int = 0


class Rang(Record, frozen=True, kw_only=True):
    """A call, or a ``leg`` that was dialled for it, rings for the first time."""

    call: str
    leg: str = ""


class CallAnswered(Record, frozen=True, kw_only=True):
    """The call was answered; ``dialog`` is what a BYE needs after a crash."""

    call: str
    dialog: dict[str, Any] = {}


class DialogChanged(Record, frozen=True, kw_only=True):
    """The dialog's state moved on (remote target, CSeq, routes). ``at`` may be left out."""

    call: str
    dialog: dict[str, Any]
    at: float = 0.0


class ByeSaid(Record, frozen=True, kw_only=True):
    """After a kill: BYE was sent in the dialogs of the call, and its answer is waited for."""

    call: str


class Noted(Record, frozen=True, kw_only=True):
    """What a flow told of itself: a :data:`flows.call.Note` as plain data (:func:`note_to_data`)."""

    call: str
    note: dict[str, Any]


class RecordingStarted(Record, frozen=True, kw_only=True):
    """``path`` is being recorded into, and is playable from now on.

    The rest is what is owed once it is complete, should a kill come before. ``upload``: a URL, for a recording of more
    than ``least`` seconds; ``transcribe`` and ``number`` are as in :class:`RecordingFinished`.
    """

    call: str
    path: str
    upload: str = ""
    method: str = "PUT"
    least: float = 0.0
    transcribe: str = ""
    number: int = 0


class RecordingFinished(Record, frozen=True, kw_only=True):
    """The recording is complete: ``seconds`` long, ``lost`` samples short. ``reason`` says why it failed, if it did.

    ``transcribe``: the language in which it is to be transcribed, empty for not at all; ``number`` is which of the
    flow's recordings it is then, from 1.
    """

    call: str
    path: str
    seconds: float
    lost: int = 0
    reason: str = ""
    transcribe: str = ""
    number: int = 0


class UploadOwed(Record, frozen=True, kw_only=True):
    """A recording is to be sent to ``url``: the content of the file ``path``."""

    call: str
    path: str
    url: str
    method: str = "PUT"


class MessageBegun(Record, frozen=True, kw_only=True):
    """A message for a mailbox is about to be recorded into ``path``.

    The rest is what is owed should a kill come before it is left: ``to`` is the number that was called, and the server
    at ``notify_url`` is told of the message. A file that is not there any more was dropped.
    """

    call: str
    account: str
    box: str
    path: str
    caller: str
    caller_name: str = ""
    to: str = ""
    notify_url: str = ""
    notify_emails: str = ""
    transcribe: bool = False


class MessageLeft(Record, frozen=True, kw_only=True):
    """A message was left in a mailbox: its sound is in the file ``path``, ``seconds`` long."""

    call: str
    account: str
    box: str
    message: str
    path: str
    caller: str
    caller_name: str = ""
    seconds: float = 0.0


class MessageMarked(Record, frozen=True, kw_only=True):
    """The owner of a mailbox saved or deleted a message, or kept it as new."""

    call: str
    account: str
    box: str
    message: str
    state: Literal["new", "saved", "deleted"]


class MailboxChanged(Record, frozen=True, kw_only=True):
    """What the owner of a mailbox set by telephone: a ``pin`` (hashed), a ``greeting`` (a file; empty: the usual)."""

    call: str
    account: str
    box: str
    pin: str | None = None
    greeting: str | None = None


class Traced(Record, frozen=True, kw_only=True):
    """The SIP messages of a call or of one of its legs (empty: the caller's): time, ``in`` or ``out``, peer, first line
    and CSeq of each.
    """

    call: str
    leg: str = ""
    messages: list[tuple[float, str, str, str, str]]
    left_out: int = 0


class LegStarted(Record, frozen=True, kw_only=True):
    """A leg was dialled for a call; ``to`` says whom, ``trunk`` by which way if it is one.

    ``was``: nobody was dialled; who is there was on the call's line before, or comes from another call. Such a leg is
    answered (:class:`LegAnswered`) at the very time at which it starts.
    """

    call: str
    leg: str
    to: str
    trunk: str = ""
    was: bool = False


class LegAnswered(Record, frozen=True, kw_only=True):
    """A dialled leg was answered: its ``dialog`` as plain data, for a BYE after a kill; again when that changes.

    Without a dialog: the leg has become the call's own, whose records have it from here on.
    """

    call: str
    leg: str
    dialog: dict[str, Any]


class LegFinished(Record, frozen=True, kw_only=True):
    """The one final state of a dialled leg. ``duration``: seconds since its answer, 0 if there was none."""

    call: str
    leg: str
    by: str
    reason: str
    sip_status: int = 0
    q850: int | None = None
    duration: float = 0.0
    stats: dict[str, Any] = {}


class Held(Record, frozen=True, kw_only=True):
    """A telephone of a call is on hold: that on its line (``leg`` is empty), or of a leg. ``by``: who wanted it;
    ``telephone``: it has put us on hold.
    """

    call: str
    leg: str = ""
    by: str = ""


class Resumed(Record, frozen=True, kw_only=True):
    """It was taken off hold again."""

    call: str
    leg: str = ""
    by: str = ""


class Bridged(Record, frozen=True, kw_only=True):
    """Whoever is on the line (``party``) talks with ``peer`` from now on; ``leg`` is the peer's."""

    call: str
    leg: str
    party: str
    peer: str


class Transferred(Record, frozen=True, kw_only=True):
    """One of two who talked was replaced by somebody else: who they were, and are. ``by`` says who wanted it.

    In a flow, ``before`` has the caller and the number that was called.
    """

    call: str
    kind: Literal["blind", "attended"]
    before: tuple[str, str]
    after: tuple[str, str]
    leg: str = ""
    by: str = ""


class FlowReplaced(Record, frozen=True, kw_only=True):
    """Another flow goes on in place of the call's. ``by`` says who wanted it."""

    call: str
    flow: str
    flow_version: int = 0
    by: str = ""


class CallFinished(Record, frozen=True, kw_only=True):
    """The one final state of a call. ``duration``: seconds since the answer, 0 if there was none."""

    call: str
    by: str
    reason: str
    sip_status: int = 0
    q850: int | None = None
    path: str = ""
    duration: float = 0.0
    stats: dict[str, Any] = {}
    sip_reason: str = ""
    cause: str = ""


AnyRecord = Union[  # noqa: UP007 - msgspec's decoder needs the union as a value
    SegmentOpened,
    Heartbeat,
    CallStarted,
    Rang,
    CallAnswered,
    DialogChanged,
    ByeSaid,
    Noted,
    RecordingStarted,
    RecordingFinished,
    UploadOwed,
    MessageBegun,
    MessageLeft,
    MessageMarked,
    MailboxChanged,
    Traced,
    LegStarted,
    LegAnswered,
    LegFinished,
    Held,
    Resumed,
    Bridged,
    Transferred,
    FlowReplaced,
    CallFinished,
]

_encoder = msgspec.json.Encoder(enc_hook=str)
_decoder: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)


def encode(record: Record) -> bytes:
    """One line of JSON with its newline. Text that is not Unicode (lone surrogates) is replaced by ``?``."""
    try:
        return _encoder.encode(record) + b"\n"
    except UnicodeEncodeError:
        return _encoder.encode(_clean(msgspec.to_builtins(record))) + b"\n"


def decode(line: bytes | memoryview) -> AnyRecord:
    """Raises :class:`msgspec.DecodeError` (or its :class:`msgspec.ValidationError`)."""
    try:
        return _decoder.decode(line)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    return value


# --- notes of flows ---------------------------------------------------------------------

_NOTES: dict[str, type] = {kind.__name__: kind for kind in get_args(flow_call.Note)}


def note_to_data(note: flow_call.Note) -> dict[str, Any]:
    """A note as plain data, its kind under ``is``."""
    data: dict[str, Any] = msgspec.to_builtins(note)
    return {"is": type(note).__name__, **data}


def note_from_data(data: dict[str, Any]) -> flow_call.Note:
    """The note that :func:`note_to_data` made. Raises :class:`ValueError` for data that is none."""
    kind = _NOTES.get(data.get("is", ""))
    if kind is None:
        raise ValueError(f"no note: {data.get('is')!r}")
    note: flow_call.Note = msgspec.convert({key: each for key, each in data.items() if key != "is"}, kind)
    return note


# --- calls, put together again ----------------------------------------------------------


@dataclass(slots=True)
class CallHistory:
    """All that the journal knows of one call. ``recordings``: those that have no end yet, by path; ``messages``: those
    for mailboxes that were not left yet, by path; ``last_known``: when its process was last alive.
    """

    started: CallStarted
    answered: CallAnswered | None = None
    dialog: dict[str, Any] | None = None
    notes: list[Noted] = field(default_factory=list)
    recordings: dict[str, RecordingStarted] = field(default_factory=dict)
    messages: dict[str, MessageBegun] = field(default_factory=dict)
    legs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Dialled legs that have no end yet, with their dialogs; empty ones until the answer."""
    last_known: float = 0.0
    byes: list[float] = field(default_factory=list)
    """When BYE was sent in its dialogs by later lives."""

    @property
    def call(self) -> str:
        """The call's id."""
        return self.started.call

    def flow_notes(self) -> list[flow_call.Note]:
        """The notes as the flow told them, in order."""
        return [note_from_data(each.note) for each in self.notes]

    def add(self, record: Record) -> None:
        """Take in a record of this call."""
        match record:
            case CallAnswered():
                self.answered, self.dialog = record, record.dialog
            case DialogChanged():
                self.dialog = record.dialog
            case ByeSaid():
                self.byes.append(record.at)
            case Noted():
                self.notes.append(record)
            case LegStarted():
                self.legs[record.leg] = {}
            case LegAnswered():
                self.legs[record.leg] = record.dialog
            case LegFinished():
                self.legs.pop(record.leg, None)
            case RecordingStarted():
                self.recordings[record.path] = record
            case RecordingFinished():
                self.recordings.pop(record.path, None)
            case MessageBegun():
                self.messages[record.path] = record
            case MessageLeft():
                self.messages.pop(record.path, None)


class Unfinished:
    """Calls that started and never finished, out of records in the order of the journal."""

    def __init__(self) -> None:
        self._calls: dict[str, CallHistory] = {}
        self._run_of: dict[str, str] = {}
        self._last_of_run: dict[str, float] = {}
        self._run = ""

    def add(self, record: Record) -> None:
        """Take in the next record."""
        if isinstance(record, SegmentOpened):
            self._run = record.run
        self._last_of_run[self._run] = max(record.at, self._last_of_run.get(self._run, 0.0))
        if isinstance(record, CallStarted):
            self._calls[record.call] = CallHistory(record)
            self._run_of[record.call] = self._run
        elif isinstance(record, CallFinished):
            self._calls.pop(record.call, None)
            self._run_of.pop(record.call, None)
        elif (history := self._calls.get(getattr(record, "call", ""))) is not None:
            history.add(record)

    def histories(self) -> list[CallHistory]:
        """The unfinished calls in the order in which they started, each with its ``last_known`` time."""
        for call, history in self._calls.items():
            history.last_known = self._last_of_run[self._run_of[call]]
        return list(self._calls.values())


def calls_of(records: Iterable[Record]) -> list[CallHistory]:
    """The unfinished calls among ``records``."""
    unfinished = Unfinished()
    for record in records:
        unfinished.add(record)
    return unfinished.histories()

"""From journal records to rows: what one batch changes in the database."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Table, bindparam, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.callbacks.records import (
    Bridged,
    CallAnswered,
    CallFinished,
    CallStarted,
    FlowReplaced,
    Held,
    LegAnswered,
    LegFinished,
    LegStarted,
    MailboxChanged,
    MessageLeft,
    MessageMarked,
    Noted,
    Record,
    RecordingFinished,
    RecordingStarted,
    Resumed,
    Traced,
    Transferred,
    UploadOwed,
)
from engine.store import mailboxes, transcriptions
from engine.store.models import PENDING, Call, CallEvent, Delivery, Leg, Recording

Row = dict[str, Any]

_INSERT_CALLS = insert(Call)
_INSERT_EVENTS = insert(CallEvent)
_INSERT_RECORDINGS = insert(Recording)
_INSERT_DELIVERIES = insert(Delivery)
_INSERT_LEGS = insert(Leg)
_CALLS, _RECORDINGS = cast("Table", Call.__table__), cast("Table", Recording.__table__)
_LEGS = cast("Table", Leg.__table__)
_ANSWERED = update(_CALLS).where(_CALLS.c.id == bindparam("call")).values(answered_at=bindparam("at"))
_FINISHED = (
    update(_CALLS)
    .where(_CALLS.c.id == bindparam("call"), _CALLS.c.finished_at.is_(None))  # a call has one end
    .values(
        finished_at=bindparam("at"),
        ended_by=bindparam("by"),
        reason=bindparam("why"),
        sip_status=bindparam("sip"),
        q850=bindparam("cause"),
        path=bindparam("steps"),
        duration=bindparam("seconds"),
        stats=bindparam("figures", type_=_CALLS.c.stats.type),
        sip_reason=bindparam("phrase"),
        cause=bindparam("clearing"),
    )
)
_LEG_ANSWERED = (
    update(_LEGS)
    .where(_LEGS.c.id == bindparam("leg"), _LEGS.c.answered_at.is_(None))  # what comes later is its dialog
    .values(answered_at=bindparam("at"))
)
_LEG_FINISHED = (
    update(_LEGS)
    .where(_LEGS.c.id == bindparam("leg"), _LEGS.c.finished_at.is_(None))
    .values(
        finished_at=bindparam("at"),
        ended_by=bindparam("by"),
        reason=bindparam("why"),
        sip_status=bindparam("sip"),
        q850=bindparam("clearing"),
        duration=bindparam("seconds"),
        stats=bindparam("figures", type_=_LEGS.c.stats.type),
    )
)
_RECORDED = (
    update(_RECORDINGS)
    .where(_RECORDINGS.c.call_id == bindparam("call"), _RECORDINGS.c.path == bindparam("file"))
    .values(seconds=bindparam("length"), lost=bindparam("missing"), reason=bindparam("why"))
)


class Batch:
    """Rows of some records, in their order; :meth:`store` runs within the caller's transaction."""

    def __init__(self) -> None:
        self.started: list[Row] = []
        self.answered: list[Row] = []
        self.finished: list[Row] = []
        self.events: list[Row] = []
        self.recordings: list[Row] = []
        self.recorded: list[Row] = []
        self.deliveries: list[Row] = []
        self.legs: list[Row] = []
        self.legs_answered: list[Row] = []
        self.legs_finished: list[Row] = []
        self.messages: list[Row] = []
        self.marks: list[Row] = []
        self.pins: list[Row] = []
        self.greetings: list[Row] = []
        self.transcriptions: list[Row] = []
        self.records: list[Record] = []
        """All that were added."""
        self._clean: Callable[[Any], Any] = clean

    def __bool__(self) -> bool:
        """Whether there is anything to store."""
        return any(rows for _, rows in self._statements())

    def add(self, record: Record, *, may_have_nul: bool = True) -> None:
        """Take in ``record``; those that only the journal needs leave no row.

        ``may_have_nul``: whether there may be a NUL in one of its texts.
        """
        self._clean = clean if may_have_nul else _as_is
        self.records.append(record)
        match record:
            case CallStarted():
                self.started.append(self._clean(_started_row(record)))
            case CallAnswered():
                self.answered.append({"call": record.call, "at": record.at})
            case Noted():
                self._add_note(record)
            case RecordingStarted():
                row = {"call_id": record.call, "path": record.path, "started_at": record.at}
                self.recordings.append(self._clean({**row, "seconds": None, "lost": None, "reason": None}))
            case RecordingFinished():
                row = {"call": record.call, "file": record.path, "length": record.seconds, "missing": record.lost}
                self.recorded.append(self._clean({**row, "why": record.reason or None}))
                if record.transcribe:
                    self.transcriptions.append(self._clean(_transcription_row(record)))
            case UploadOwed():
                self.deliveries.append(self._clean(_upload_row(record)))
            case LegStarted() | LegAnswered() | LegFinished():
                self._add_leg(record)
            case MessageLeft() | MessageMarked() | MailboxChanged():
                self._add_voicemail(record)
            case Traced() | Held() | Resumed() | Bridged() | Transferred() | FlowReplaced():
                self.events.append(self._clean(_event_row(record)))
            case CallFinished():
                self.finished.append(self._clean(_finished_row(record)))

    def _add_leg(self, record: LegStarted | LegAnswered | LegFinished) -> None:
        match record:
            case LegStarted():
                self.legs.append(self._clean(_leg_row(record)))
            case LegAnswered():
                self.legs_answered.append({"leg": record.leg, "at": record.at})
            case LegFinished():
                self.legs_finished.append(self._clean(_leg_finished_row(record)))

    def _add_voicemail(self, record: MessageLeft | MessageMarked | MailboxChanged) -> None:
        box = {"of_account": record.account, "of_box": record.box}
        match record:
            case MessageLeft():
                self.messages.append(self._clean(_message_row(record)))
            case MessageMarked():
                self.marks.append(self._clean({**box, "message": record.message, "mark": record.state}))
            case MailboxChanged():
                if record.pin is not None:
                    self.pins.append(self._clean({**box, "hashed": record.pin}))
                if record.greeting is not None:
                    self.greetings.append(self._clean({**box, "file": record.greeting}))

    def _add_note(self, record: Noted) -> None:
        if record.note.get("is") == "Callback":
            self.deliveries.append(self._clean(_delivery_row(record)))
            return
        detail = {key: value for key, value in record.note.items() if key != "is"}
        row = {"call_id": record.call, "at": record.at, "kind": str(record.note.get("is", ""))[:32], "detail": detail}
        self.events.append(self._clean(row))

    async def store(self, connection: AsyncConnection) -> None:
        """Insert and update everything. Raises SQLAlchemy's errors."""
        for statement, rows in self._statements():
            if rows:
                await connection.execute(statement, rows)

    def _statements(self) -> list[tuple[Any, list[Row]]]:
        return [
            (_INSERT_CALLS, self.started),
            (_INSERT_RECORDINGS, self.recordings),
            (_INSERT_EVENTS, self.events),
            (_INSERT_DELIVERIES, self.deliveries),
            (_INSERT_LEGS, self.legs),
            (_LEG_ANSWERED, self.legs_answered),
            (_LEG_FINISHED, self.legs_finished),
            (mailboxes.LEFT, self.messages),
            (mailboxes.MARKED, self.marks),
            (mailboxes.PIN_CHANGED, self.pins),
            (mailboxes.GREETING_CHANGED, self.greetings),
            (_ANSWERED, self.answered),
            (_RECORDED, self.recorded),
            (transcriptions.OWED, self.transcriptions),
            (_FINISHED, self.finished),
        ]


def _started_row(record: CallStarted) -> Row:
    return {
        "id": record.call,
        "direction": record.direction,
        "caller": record.caller,
        "callee": record.callee,
        "sip_call_id": record.sip_call_id,
        "flow": record.flow,
        "source": record.source,
        "started_at": record.at,
        "account_id": record.account,
        "flow_version": record.flow_version,
    }


def _event_row(record: Traced | Held | Resumed | Bridged | Transferred | FlowReplaced) -> Row:
    if isinstance(record, Traced):
        traced = {"leg": record.leg, "messages": record.messages, "left_out": record.left_out}
        return {"call_id": record.call, "at": record.at, "kind": "Sip", "detail": traced}
    detail = {key: value for key, value in msgspec.to_builtins(record).items() if key not in ("is", "at", "call")}
    kind = type(record).__name__
    return {"call_id": record.call, "at": record.at, "kind": kind, "detail": detail}


def _leg_row(record: LegStarted) -> Row:
    return {
        "id": record.leg,
        "call_id": record.call,
        "callee": record.to,
        "trunk": record.trunk,
        "started_at": record.at,
    }


def _leg_finished_row(record: LegFinished) -> Row:
    return {
        "leg": record.leg,
        "at": record.at,
        "by": record.by,
        "why": record.reason,
        "sip": record.sip_status,
        "clearing": record.q850,
        "seconds": record.duration,
        "figures": record.stats,
    }


def _finished_row(record: CallFinished) -> Row:
    return {
        "call": record.call,
        "at": record.at,
        "by": record.by,
        "why": record.reason,
        "sip": record.sip_status,
        "cause": record.q850,
        "steps": record.path,
        "seconds": record.duration,
        "figures": record.stats,
        "phrase": record.sip_reason or None,
        "clearing": record.cause or None,
    }


def _delivery_row(record: Noted) -> Row:
    note = record.note
    url, params = str(note["url"]), {str(key): str(value) for key, value in note.get("params", {}).items()}
    seq = params.get("seq", "")
    encoding = str(note.get("encoding", "query"))
    body, content_type = None, None
    if encoding == "body":
        body, content_type = params.pop("body", ""), params.pop("content_type", "") or None
    return pending_row(
        record.call,
        record.at,
        url,
        seq=int(seq) if seq.isascii() and seq.isdigit() and len(seq) < 10 else None,
        method=str(note.get("method", "GET")),
        params=[[key, value] for key, value in params.items()],
        encoding=encoding,
        body=body,
        content_type=content_type,
    )


def _upload_row(record: UploadOwed) -> Row:
    return pending_row(record.call, record.at, record.url, method=record.method, encoding="file", file=record.path)


def pending_row(call: str, at: float, url: str, *, lane: str = "", **more: Any) -> Row:
    """A delivery that is owed since ``at``: a GET, unless ``more`` (columns of its table) says otherwise.

    It goes out in order with the others of its call and ``lane``, else its URL. All have the same columns.
    """
    return {
        "call_id": call,
        "account_id": None,
        "seq": None,
        "lane": hashlib.blake2b(f"{call}\0{lane or url}".encode("utf-8", "replace"), digest_size=16).hexdigest(),
        "host": host_of(url),
        "method": "GET",
        "url": url,
        "params": [],
        "encoding": "query",
        "file": None,
        "body": None,
        "content_type": None,
        "signer": None,
        "secret": None,
        "subscription": None,
        "plan": "",
        "any_certificate": False,
        "created_at": at,
        "due_at": at,
        "state": PENDING,
        "attempts": 0,
        **more,
    }


def _transcription_row(record: RecordingFinished) -> Row:
    return {
        "new_id": uuid.uuid4().hex,
        "of_call": record.call,
        "number": record.number,
        "file": record.path,
        "tongue": record.transcribe,
        "at": record.at,
    }


def _message_row(record: MessageLeft) -> Row:
    return {
        "id": record.message,
        "account": record.account,
        "box": record.box,
        "call_id": record.call,
        "path": record.path,
        "caller": record.caller,
        "caller_name": record.caller_name,
        "seconds": record.seconds,
        "created_at": record.at,
        "state": mailboxes.NEW,
        "text": None,
    }


def host_of(url: str) -> str:
    """The network location of ``url``, for telling servers apart; empty when it has none."""
    try:
        return urlsplit(url.strip()).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def _as_is(value: Any) -> Any:
    return value


def clean(value: Any) -> Any:
    """``value`` as the database takes it: PostgreSQL takes no NUL in text."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, dict):
        return {clean(key): clean(each) for key, each in value.items()}
    if isinstance(value, list):
        return [clean(each) for each in value]
    return value

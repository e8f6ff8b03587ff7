"""From journal records to rows: what one batch changes in the database."""

from __future__ import annotations

import hashlib
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Table, bindparam, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.callbacks.records import (
    CallAnswered,
    CallFinished,
    CallStarted,
    LegAnswered,
    LegFinished,
    LegStarted,
    Noted,
    Record,
    RecordingFinished,
    RecordingStarted,
    Traced,
    UploadOwed,
)
from engine.store.models import PENDING, Call, CallEvent, Delivery, Recording

Row = dict[str, Any]

_INSERT_CALLS = insert(Call)
_INSERT_EVENTS = insert(CallEvent)
_INSERT_RECORDINGS = insert(Recording)
_INSERT_DELIVERIES = insert(Delivery)
_CALLS, _RECORDINGS = cast("Table", Call.__table__), cast("Table", Recording.__table__)
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
    )
)
_RECORDED = (
    update(_RECORDINGS)
    .where(_RECORDINGS.c.call_id == bindparam("call"), _RECORDINGS.c.path == bindparam("file"))
    .values(seconds=bindparam("length"), lost=bindparam("missing"), reason=bindparam("why"))
)


_OF_LEGS = frozenset({"leg", "to", "by", "reason", "sip_status", "q850", "duration"})


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

    def __bool__(self) -> bool:
        """Whether there is anything to store."""
        return any(rows for _, rows in self._statements())

    def add(self, record: Record) -> None:
        """Take in ``record``; those that only the journal needs leave no row."""
        match record:
            case CallStarted():
                self.started.append(_clean(_started_row(record)))
            case CallAnswered():
                self.answered.append({"call": record.call, "at": record.at})
            case Noted():
                self._add_note(record)
            case RecordingStarted():
                row = {"call_id": record.call, "path": record.path, "started_at": record.at}
                self.recordings.append(_clean({**row, "seconds": None, "lost": None, "reason": None}))
            case RecordingFinished():
                row = {"call": record.call, "file": record.path, "length": record.seconds, "missing": record.lost}
                self.recorded.append(_clean({**row, "why": record.reason or None}))
            case UploadOwed():
                self.deliveries.append(_clean(_upload_row(record)))
            case Traced():
                detail = {"leg": record.leg, "messages": record.messages, "left_out": record.left_out}
                self.events.append(_clean({"call_id": record.call, "at": record.at, "kind": "Sip", "detail": detail}))
            case LegStarted() | LegAnswered() | LegFinished():
                self._add_leg(record)
            case CallFinished():
                self.finished.append(_clean(_finished_row(record)))

    def _add_leg(self, record: LegStarted | LegAnswered | LegFinished) -> None:
        """What becomes of a dialled leg stands among the call's events; its dialog is the journal's business."""
        detail = {key: value for key, value in msgspec.to_builtins(record).items() if key in _OF_LEGS}
        row = {"call_id": record.call, "at": record.at, "kind": type(record).__name__, "detail": detail}
        self.events.append(_clean(row))

    def _add_note(self, record: Noted) -> None:
        if record.note.get("is") == "Callback":
            self.deliveries.append(_clean(_delivery_row(record)))
            return
        detail = {key: value for key, value in record.note.items() if key != "is"}
        row = {"call_id": record.call, "at": record.at, "kind": str(record.note.get("is", ""))[:32], "detail": detail}
        self.events.append(_clean(row))

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
            (_ANSWERED, self.answered),
            (_RECORDED, self.recorded),
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
    }


def _delivery_row(record: Noted) -> Row:
    note = record.note
    url, params = str(note["url"]), {str(key): str(value) for key, value in note.get("params", {}).items()}
    seq = params.get("seq", "")
    return {
        "call_id": record.call,
        "seq": int(seq) if seq.isascii() and seq.isdigit() and len(seq) < 10 else None,
        "lane": _lane(record.call, url),
        "host": host_of(url),
        "method": str(note.get("method", "GET")),
        "url": url,
        "params": [[key, value] for key, value in params.items()],
        "encoding": str(note.get("encoding", "query")),
        "file": None,
        "created_at": record.at,
        "due_at": record.at,
        "state": PENDING,
        "attempts": 0,
    }


def _upload_row(record: UploadOwed) -> Row:
    return {
        "call_id": record.call,
        "seq": None,
        "lane": _lane(record.call, record.url),
        "host": host_of(record.url),
        "method": record.method,
        "url": record.url,
        "params": [],
        "encoding": "file",
        "file": record.path,
        "created_at": record.at,
        "due_at": record.at,
        "state": PENDING,
        "attempts": 0,
    }


def _lane(call: str, url: str) -> str:
    return hashlib.blake2b(f"{call}\0{url}".encode(), digest_size=16).hexdigest()


def host_of(url: str) -> str:
    """The network location of ``url``, for telling servers apart; empty when it has none."""
    try:
        return urlsplit(url.strip()).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def _clean(value: Any) -> Any:
    """PostgreSQL takes no NUL in text."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, dict):
        return {_clean(key): _clean(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_clean(each) for each in value]
    return value

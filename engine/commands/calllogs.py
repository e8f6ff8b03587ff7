"""Logs of calls (:class:`flows.tools.calllog.CallLog`): out of the database, and to and from JSON."""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import msgspec
from sqlalchemy import make_url, select

from engine import loop
from engine.callbacks.records import note_from_data, note_to_data
from engine.store import Store
from engine.store.models import Call, CallEvent, Delivery
from flows.call import Callback, EndedBy, Note
from flows.tools.calllog import CallLog


class LogError(ValueError):
    """There is no such log, or it cannot be read; the text says why."""


def to_json(log: CallLog) -> dict[str, Any]:
    """A log as plain data: the ``call``, and its ``log``, times in seconds since the call came."""
    return {
        "call": {
            "id": log.call_id,
            "from": log.caller,
            "to": log.callee,
            "answered_at": log.answered_at,
            "ended_at": round(log.ended_at, 3),
        },
        "log": [{"at": round(at, 4), **note_to_data(note)} for note, at in log.notes],
        "end": {"by": log.by, "reason": log.reason},
    }


def from_json(data: object) -> CallLog:
    """What :func:`to_json` made, also as a part of more. Raises :class:`LogError`."""
    if not isinstance(data, Mapping) or not isinstance(data.get("log"), list):
        raise LogError('no log of a call: it has no list "log" (ivrea simulate --json makes one)')
    call, end = data.get("call", {}), data.get("end", {})
    if not isinstance(call, Mapping) or not isinstance(end, Mapping):
        raise LogError('no log of a call: "call" and "end" are objects')
    notes: list[tuple[Note, float]] = []
    for place, entry in enumerate(data["log"]):
        if not isinstance(entry, Mapping):
            raise LogError(f"log[{place}] is no object")
        at = _seconds(entry.get("at"), f"log[{place}].at")
        try:
            notes.append((note_from_data({key: value for key, value in entry.items() if key != "at"}), at))
        except ValueError as error:  # msgspec's is one too
            raise LogError(f"log[{place}]: {error}") from None
    by = end.get("by", "flow")
    if by not in get_args(EndedBy):
        raise LogError(f"end.by: {by!r} is none of {', '.join(get_args(EndedBy))}")
    last = notes[-1][1] if notes else 0.0
    answered = call.get("answered_at")
    return CallLog(
        str(call.get("id", "")),
        str(call.get("from", "")),
        str(call.get("to", "")),
        tuple(notes),
        max(last, _seconds(call.get("ended_at", last), "call.ended_at")),
        None if answered is None else _seconds(answered, "call.answered_at"),
        cast("EndedBy", by),
        str(end.get("reason", "")),
    )


def _seconds(value: object, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e9:
        raise LogError(f"{where}: {value!r} is no number of seconds")
    return float(value)


def read_file(path: Path) -> CallLog:
    """The log in a file. Raises :class:`LogError` and ``OSError``."""
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise LogError(f"{path}: no JSON: {error}") from None
    try:
        return from_json(data)
    except LogError as error:
        raise LogError(f"{path}: {error}") from None


def stored(url: str, call_id: str) -> CallLog:
    """:func:`from_store`, waited for; a database that is not there is not made."""
    database = make_url(url)
    if database.get_backend_name() == "sqlite" and not Path(database.database or "").is_file():
        raise LogError(f"there is no call {call_id!r}: neither such a file nor the database {database.database}")
    return loop.run(from_store(url, call_id))


async def from_store(url: str, call_id: str) -> CallLog:
    """The log of a call that is over, out of the database. Raises :class:`LogError` and SQLAlchemy's errors."""
    store = Store(url)
    try:
        async with store.reading() as connection:
            call = (await connection.execute(select(Call).where(Call.id == call_id))).one_or_none()
            if call is None:
                raise LogError(f"there is no call {call_id!r}, neither as a file nor in the database")
            if call.finished_at is None:
                raise LogError(f"the call {call_id} is not over")
            events = await connection.execute(
                select(CallEvent.at, CallEvent.kind, CallEvent.detail)
                .where(CallEvent.call_id == call_id)
                .order_by(CallEvent.id)
            )
            deliveries = await connection.execute(
                select(
                    *(Delivery.created_at, Delivery.url, Delivery.params, Delivery.method, Delivery.encoding),
                    *(Delivery.body, Delivery.content_type),
                )
                .where(Delivery.call_id == call_id, Delivery.encoding != "file")  # not the recordings
                .order_by(Delivery.id)
            )
            told = [(row.at, note) for row in events if (note := _note(row.kind, row.detail)) is not None]
            called = [
                (
                    row.created_at,
                    Callback(row.url, _params(row.params, row.body, row.content_type), row.method, row.encoding),
                )
                for row in deliveries
            ]
    finally:
        await store.close()
    began = call.started_at
    merged = heapq.merge(told, called, key=lambda each: each[0])
    return CallLog(
        call.id,
        call.caller,
        call.callee,
        tuple((note, max(0.0, at - began)) for at, note in merged),
        max(0.0, call.finished_at - began),
        None if call.answered_at is None else max(0.0, call.answered_at - began),
        cast("EndedBy", call.ended_by if call.ended_by in get_args(EndedBy) else "error"),
        call.reason or "",
    )


def _params(params: list[list[str]], body: str | None, content_type: str | None) -> dict[str, str]:
    """The parameters of a callback that was owed; one with a body has that."""
    if body is not None:
        return {"content_type": content_type or "", "body": body}
    return {pair[0]: pair[1] for pair in params}


def _note(kind: str, detail: Mapping[str, Any]) -> Note | None:
    """The note in a row; ``None`` for those of other versions."""
    try:
        return note_from_data({**detail, "is": kind})
    except (ValueError, msgspec.ValidationError):
        return None

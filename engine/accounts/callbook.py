"""Calls, their legs and recordings as the database has them, for whoever asks about the calls of one account."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Table, and_, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.addresses import plain_number
from engine.store.accounts import Number
from engine.store.models import Call, CallEvent, Leg, Recording

_CALLS, _LEGS = cast("Table", Call.__table__), cast("Table", Leg.__table__)
_RECORDINGS, _EVENTS = cast("Table", Recording.__table__), cast("Table", CallEvent.__table__)
_NUMBERS = cast("Table", Number.__table__)


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call that is in the database. Times in seconds since the epoch, null for what has not happened."""

    id: str
    account_id: str
    direction: str
    caller: str
    callee: str
    flow: str
    flow_version: int
    source: str
    started_at: float
    answered_at: float | None
    finished_at: float | None
    ended_by: str | None
    reason: str | None
    sip_status: int | None
    sip_reason: str | None
    q850: int | None
    cause: str | None
    path: str | None
    duration: float | None


@dataclass(frozen=True, slots=True)
class LegRow:
    """A leg that was dialled for a call."""

    id: str
    call_id: str
    callee: str
    trunk: str
    started_at: float
    answered_at: float | None
    finished_at: float | None
    ended_by: str | None
    reason: str | None
    sip_status: int | None
    q850: int | None
    duration: float | None


@dataclass(frozen=True, slots=True)
class RecordingRow:
    """A recording of a call; ``seconds`` is null until its end is known, ``reason`` says why it failed."""

    id: int
    call_id: str
    path: str
    started_at: float
    seconds: float | None
    lost: int | None
    reason: str | None


_CALL_COLUMNS = [_CALLS.c[name] for name in CallRow.__dataclass_fields__]
_RECORDING_COLUMNS = [_RECORDINGS.c[name] for name in RecordingRow.__dataclass_fields__]
_LEG_COLUMNS = [_LEGS.c[name] for name in LegRow.__dataclass_fields__]


async def calls(
    connection: AsyncConnection,
    account_id: str,
    *,
    direction: str = "",
    only_ended: bool = False,
    before: tuple[float, str] | None = None,
    offset: int = 0,
    limit: int = 50,
) -> list[CallRow]:
    """Calls of an account, the newest first. ``before``: start and id of the last one of the page before; ``offset``:
    so many are left out.
    """
    query = select(*_CALL_COLUMNS).where(_CALLS.c.account_id == account_id)
    if direction:
        query = query.where(_CALLS.c.direction == direction)
    if only_ended:
        query = query.where(_CALLS.c.finished_at.is_not(None))
    if before is not None:
        at, last = before
        query = query.where(or_(_CALLS.c.started_at < at, and_(_CALLS.c.started_at == at, _CALLS.c.id < last)))
    query = query.order_by(_CALLS.c.started_at.desc(), _CALLS.c.id.desc()).limit(limit).offset(offset)
    return [_call(row) for row in (await connection.execute(query)).mappings()]


async def call(connection: AsyncConnection, account_id: str, call_id: str) -> CallRow | None:
    """A call of the account; ``None`` when it has none with this id."""
    query = select(*_CALL_COLUMNS).where(_CALLS.c.account_id == account_id, _CALLS.c.id == call_id)
    row = (await connection.execute(query)).mappings().first()
    return _call(row) if row is not None else None


async def calls_by_id(connection: AsyncConnection, ids: Collection[str]) -> dict[str, CallRow]:
    """Calls of whatever account, by id; for the daemon itself."""
    query = select(*_CALL_COLUMNS).where(_CALLS.c.id.in_(ids))
    return {row["id"]: _call(row) for row in (await connection.execute(query)).mappings()}


async def legs_by_id(connection: AsyncConnection, ids: Collection[str]) -> dict[str, LegRow]:
    """Dialled legs of whatever call, by id; for the daemon itself."""
    query = select(*_LEG_COLUMNS).where(_LEGS.c.id.in_(ids))
    return {row["id"]: LegRow(**cast("Any", dict(row))) for row in (await connection.execute(query)).mappings()}


async def legs(connection: AsyncConnection, account_id: str, call_id: str) -> list[LegRow]:
    """The legs that were dialled for a call of the account, in order."""
    query = (
        select(*_LEG_COLUMNS)
        .join(_CALLS, _CALLS.c.id == _LEGS.c.call_id)
        .where(_CALLS.c.account_id == account_id, _LEGS.c.call_id == call_id)
        .order_by(_LEGS.c.started_at, _LEGS.c.id)
    )
    return [LegRow(**cast("Any", dict(row))) for row in (await connection.execute(query)).mappings()]


async def count(connection: AsyncConnection, account_id: str) -> int:
    """How many calls of an account there are."""
    query = select(func.count()).select_from(_CALLS).where(_CALLS.c.account_id == account_id)
    return int(await connection.scalar(query) or 0)


async def calls_beginning(connection: AsyncConnection, account_id: str, digits: str) -> list[CallRow]:
    """The calls of an account whose ids begin with ``digits``, of hexadecimal ones."""
    if not digits or not set(digits) <= set("0123456789abcdef"):
        return []
    query = select(*_CALL_COLUMNS).where(_CALLS.c.id >= digits, _CALLS.c.id < f"{digits}g")
    query = query.where(_CALLS.c.account_id == account_id).limit(100)
    return [_call(row) for row in (await connection.execute(query)).mappings()]


async def recordings(connection: AsyncConnection, account_id: str, call_id: str) -> list[RecordingRow]:
    """The recordings of a call of the account, in order."""
    query = (
        select(*_RECORDING_COLUMNS)
        .join(_CALLS, _CALLS.c.id == _RECORDINGS.c.call_id)
        .where(_CALLS.c.account_id == account_id, _RECORDINGS.c.call_id == call_id)
        .order_by(_RECORDINGS.c.id)
    )
    return [RecordingRow(**cast("Any", dict(row))) for row in (await connection.execute(query)).mappings()]


async def timeline(connection: AsyncConnection, account_id: str, call_id: str) -> list[dict[str, Any]]:
    """What happened in a call of the account, by time: ``at``, ``kind`` and ``detail`` of each."""
    query = (
        select(_EVENTS.c.at, _EVENTS.c.kind, _EVENTS.c.detail)
        .join(_CALLS, _CALLS.c.id == _EVENTS.c.call_id)
        .where(_CALLS.c.account_id == account_id, _EVENTS.c.call_id == call_id)
        .order_by(_EVENTS.c.at, _EVENTS.c.id)
    )
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def kept_fetches(
    connection: AsyncConnection,
    account_id: str,
    *,
    call_id: str = "",
    since: float | None = None,
    until: float | None = None,
    calls: int = 1,
) -> list[dict[str, Any]]:
    """What calls of the account asked web servers, where flows want all of it kept (:class:`flows.call.Fetched`).

    ``id``, ``call_id``, ``at`` and ``detail`` of each, in order; of one call, or of so many that asked last between two
    times.
    """
    mine = (_EVENTS.c.kind == "Fetched", _EVENTS.c.detail["kept"].as_boolean().is_(True))
    joined = _EVENTS.join(_CALLS, _CALLS.c.id == _EVENTS.c.call_id)
    wanted = [call_id]
    if not call_id:
        where = [_CALLS.c.account_id == account_id, *mine]
        where += [_EVENTS.c.at >= since] if since is not None else []
        where += [_EVENTS.c.at <= until] if until is not None else []
        last = func.max(_EVENTS.c.id)
        query = select(_EVENTS.c.call_id).select_from(joined).where(*where).group_by(_EVENTS.c.call_id)
        wanted = list((await connection.execute(query.order_by(last.desc()).limit(calls))).scalars())
    columns = (_EVENTS.c.id, _EVENTS.c.call_id, _EVENTS.c.at, _EVENTS.c.detail)
    found = select(*columns).select_from(joined).where(_CALLS.c.account_id == account_id, *mine)
    found = found.where(_EVENTS.c.call_id.in_(wanted)).order_by(_EVENTS.c.id)
    return [dict(row) for row in (await connection.execute(found)).mappings()]


async def spent_since(connection: AsyncConnection, since: float) -> list[tuple[str, int, float]]:
    """What calls of all accounts that left us since then came to: account, how many, and seconds that they talked."""
    leaves = or_(_LEGS.c.trunk != "", _LEGS.c.callee.like("sip:%"), _LEGS.c.callee.like("sips:%"))
    query = (
        select(_CALLS.c.account_id, func.count(), func.sum(func.coalesce(_LEGS.c.duration, 0.0)))
        .join(_LEGS, _LEGS.c.call_id == _CALLS.c.id)
        .where(_LEGS.c.started_at >= since, leaves)
        .group_by(_CALLS.c.account_id)
    )
    return [(account, calls, float(seconds or 0.0)) for account, calls, seconds in await connection.execute(query)]


async def records_owed(connection: AsyncConnection, calls: Collection[str]) -> list[tuple[str, str]]:
    """Calls and URLs that their records are to be told to (:class:`flows.call.RecordOwed`); of whatever account."""
    query = select(_EVENTS.c.call_id, _EVENTS.c.detail).where(_EVENTS.c.call_id.in_(calls))
    found = await connection.execute(query.where(_EVENTS.c.kind == "RecordOwed").order_by(_EVENTS.c.id))
    return [(call_id, str(detail["url"])) for call_id, detail in found]


async def forget_recording(connection: AsyncConnection, recording: RecordingRow) -> None:
    """It is no recording of its call any more; its file is the caller's business."""
    await connection.execute(
        delete(_RECORDINGS).where(_RECORDINGS.c.call_id == recording.call_id, _RECORDINGS.c.path == recording.path)
    )


async def number_ids(connection: AsyncConnection, calls: Iterable[CallRow]) -> dict[str, str]:
    """By call: the id of the number of its account that was called. For calls that came in."""
    came_in = [call for call in calls if call.direction == "inbound"]
    called = {plain_number(call.callee) for call in came_in}
    if not called:
        return {}
    query = select(_NUMBERS.c.id, _NUMBERS.c.account_id, _NUMBERS.c.number).where(_NUMBERS.c.number.in_(called))
    found = {(row.account_id, row.number): row.id for row in await connection.execute(query)}
    pairs = ((call.id, found.get((call.account_id, plain_number(call.callee)))) for call in came_in)
    return {call: number for call, number in pairs if number is not None}


def _call(row: Any) -> CallRow:
    return CallRow(**dict(row))

"""Calls and their legs as the database has them, for whoever asks about the calls of one account."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Table, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.models import Call, CallEvent, Leg, Recording

_CALLS, _LEGS = cast("Table", Call.__table__), cast("Table", Leg.__table__)
_RECORDINGS, _EVENTS = cast("Table", Recording.__table__), cast("Table", CallEvent.__table__)


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
    """A recording of a call; ``seconds`` is null while it runs."""

    id: int
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
    limit: int = 50,
) -> list[CallRow]:
    """Calls of an account, the newest first. ``before``: start and id of the last one of the page before."""
    query = select(*_CALL_COLUMNS).where(_CALLS.c.account_id == account_id)
    if direction:
        query = query.where(_CALLS.c.direction == direction)
    if only_ended:
        query = query.where(_CALLS.c.finished_at.is_not(None))
    if before is not None:
        at, last = before
        query = query.where(or_(_CALLS.c.started_at < at, and_(_CALLS.c.started_at == at, _CALLS.c.id < last)))
    query = query.order_by(_CALLS.c.started_at.desc(), _CALLS.c.id.desc()).limit(limit)
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


def _call(row: Any) -> CallRow:
    return CallRow(**dict(row))

"""The queue of calls as the database has it.

Every function runs in the caller's transaction. Those for an account see its calls and no others; they raise
:class:`NotQueued` for what is not there. All raise SQLAlchemy's errors when the database is out of reach.

A call is claimed (:func:`claim`) before it is made, with the id that it will have, and is settled (:func:`settle`) by
the end of the call that the journal has. So a kill at any moment leaves it in one of three states: queued; active, and
the call with its id is in the journal, whose end settles it; or active, and there is no such call: then it was never
made, and :func:`unmade` finds it for :func:`give_back`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from sqlalchemy import ColumnElement, RowMapping, Table, bindparam, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import callbook
from engine.accounts.callbook import CallRow
from engine.campaigns.outcome import Ended, Result, Success, is_for_good, judge, result_of
from engine.campaigns.pacing import Lane, Waiting
from engine.campaigns.schedule import Schedule
from engine.campaigns.zones import zone_named
from engine.store.models import Call
from engine.store.queued import QueuedCall

QUEUED, ACTIVE = "queued", "active"
FINAL = ("completed", "failed", "cancelled", "expired")

_QUEUE = cast("Table", QueuedCall.__table__)
_CALLS = cast("Table", Call.__table__)
_Q = _QUEUE.c


class NotQueued(LookupError):
    """The account has no such call in its queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A call to be put into the queue. Of ``flow_id`` and ``document`` one is set; ``due_at``: when it is first tried.

    ``wish``: see :class:`engine.campaigns.dialler.Wanted`.
    """

    account_id: str
    address: str
    trunk: str = ""
    flow_id: str | None = None
    document: str | None = None
    dialect: str = ""
    wish: Mapping[str, Any] = field(default_factory=dict)
    schedule: Schedule | None = None
    zone: str = "UTC"
    not_before: float | None = None
    not_after: float | None = None
    due_at: float = 0.0
    source: str = "api"


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the queue."""

    id: int
    account_id: str
    state: str
    result: str | None
    address: str
    trunk: str
    flow_id: str | None
    document: str | None
    dialect: str
    wish: Mapping[str, Any]
    schedule: Mapping[str, Any] | None
    zone: str
    not_before: float | None
    not_after: float | None
    due_at: float
    attempts: int
    given_up: bool
    call_id: str | None
    source: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    reason: str | None
    sip_status: int | None

    @property
    def lane(self) -> Lane:
        """The way it goes out by."""
        return Lane(self.account_id, self.trunk)

    def waiting(self) -> Waiting:
        """As the pace has it."""
        schedule = Schedule.of(self.schedule) if self.schedule is not None else None
        return Waiting(self.id, self.lane, self.due_at, self.not_after, schedule, zone_named(self.zone))


# --- for accounts -----------------------------------------------------------------------


async def add(connection: AsyncConnection, order: Order) -> Entry:
    """Put a call into the queue."""
    now = time.time()
    row: dict[str, Any] = {
        "account_id": order.account_id,
        "state": QUEUED,
        "result": None,
        "address": order.address,
        "trunk": order.trunk,
        "flow_id": order.flow_id,
        "document": order.document,
        "dialect": order.dialect,
        "wish": dict(order.wish),
        "schedule": order.schedule.as_data() if order.schedule is not None else None,
        "zone": order.zone,
        "not_before": order.not_before,
        "not_after": order.not_after,
        "due_at": order.due_at or now,
        "attempts": 0,
        "given_up": False,
        "call_id": None,
        "source": order.source,
        "created_at": now,
        "started_at": None,
        "finished_at": None,
        "reason": None,
        "sip_status": None,
    }
    made = await connection.execute(insert(_QUEUE).returning(_Q.id), row)
    return Entry(id=made.scalar_one(), **row)


async def get(connection: AsyncConnection, account_id: str, entry_id: int) -> Entry:
    """One call of the account. Raises :class:`NotQueued`."""
    found = await _entries(connection, _Q.account_id == account_id, _Q.id == entry_id)
    if not found:
        raise NotQueued(f"there is no call {entry_id} in the queue")
    return found[0]


async def page(
    connection: AsyncConnection, account_id: str, *, state: str = "", before: int | None = None, limit: int = 50
) -> list[Entry]:
    """Calls of the account, the newest first. ``before``: the id of the last one of the page before."""
    where = [_Q.account_id == account_id]
    if state:
        where.append(_Q.state == state)
    if before is not None:
        where.append(_Q.id < before)
    query = select(_QUEUE).where(*where).order_by(_Q.id.desc()).limit(limit)
    return [_entry(row) for row in (await connection.execute(query)).mappings()]


async def cancel(connection: AsyncConnection, account_id: str, entry_id: int) -> Entry:
    """Make no call any more: what waits is ``cancelled``, what is under way is not tried again. What is over stays.

    Raises :class:`NotQueued`. Returns the call as it is then.
    """
    mine = (_Q.account_id == account_id, _Q.id == entry_id)
    await connection.execute(
        update(_QUEUE).where(*mine, _Q.state == QUEUED).values(state="cancelled", finished_at=time.time())
    )
    await connection.execute(update(_QUEUE).where(*mine, _Q.state == ACTIVE).values(given_up=True))
    return await get(connection, account_id, entry_id)


async def cancel_waiting(connection: AsyncConnection, account_id: str, *where: ColumnElement[bool]) -> list[int]:
    """Cancel all that wait and to which ``where`` applies; their ids."""
    mine = (_Q.account_id == account_id, *where)
    gone = await connection.execute(
        update(_QUEUE)
        .where(*mine, _Q.state == QUEUED)
        .values(state="cancelled", finished_at=time.time())
        .returning(_Q.id)
    )
    ids = [row.id for row in gone]
    await connection.execute(update(_QUEUE).where(*mine, _Q.state == ACTIVE).values(given_up=True))
    return ids


def on_trunk(trunk: str) -> ColumnElement[bool]:
    """Calls that are to go out by ``trunk``."""
    return _Q.trunk == trunk


def among(ids: Collection[int]) -> ColumnElement[bool]:
    """Calls with these ids."""
    return _Q.id.in_(ids)


# --- for the dialler --------------------------------------------------------------------


async def due(connection: AsyncConnection, now: float, per_lane: int, blocked: Collection[Lane]) -> list[Entry]:
    """What waits and is due, ``per_lane`` of each lane at most, but for lanes that are ``blocked``."""
    turn = func.row_number().over(partition_by=(_Q.account_id, _Q.trunk), order_by=(_Q.due_at, _Q.id)).label("turn")
    free = [or_(_Q.account_id != lane.account, _Q.trunk != lane.trunk) for lane in blocked]
    ranked = select(_QUEUE, turn).where(_Q.state == QUEUED, _Q.due_at <= now, *free).subquery()
    query = select(ranked).where(ranked.c.turn <= per_lane).order_by(ranked.c.due_at, ranked.c.id)
    return [_entry(row) for row in (await connection.execute(query)).mappings()]


async def next_due(connection: AsyncConnection, now: float) -> float | None:
    """When the next call of those that are not due yet will be, or one expires; ``None``: nothing waits."""
    waiting = _Q.state == QUEUED
    coming = await connection.scalar(select(func.min(_Q.due_at)).where(waiting, _Q.due_at > now))
    ending = await connection.scalar(select(func.min(_Q.not_after)).where(waiting))
    return min((moment for moment in (coming, ending) if moment is not None), default=None)


async def expire(connection: AsyncConnection, now: float) -> list[Entry]:
    """End what waits and whose time is over; what that was, as it is then."""
    return await _end_waiting(connection, await _entries(connection, _Q.state == QUEUED, _Q.not_after < now), now)


async def end_these(connection: AsyncConnection, ids: Sequence[int], now: float) -> list[Entry]:
    """Have calls that wait expire: their schedule leaves them no time; those that were still waiting."""
    return await _end_waiting(connection, await _entries(connection, _Q.id.in_(list(ids)), _Q.state == QUEUED), now)


async def _end_waiting(connection: AsyncConnection, late: Sequence[Entry], now: float) -> list[Entry]:
    ended: dict[str, Any] = {"state": "expired", "result": "expired", "finished_at": now, "reason": None}
    if late:
        ids = [entry.id for entry in late]
        await connection.execute(update(_QUEUE).where(_Q.id.in_(ids), _Q.state == QUEUED).values(**ended))
    return [replace(entry, **ended) for entry in late]


async def postpone(connection: AsyncConnection, until: Mapping[int, float]) -> None:
    """Have calls that wait be due later."""
    statement = update(_QUEUE).where(_Q.id == bindparam("of"), _Q.state == QUEUED).values(due_at=bindparam("until"))
    if until:
        await connection.execute(statement, [{"of": entry, "until": moment} for entry, moment in until.items()])


async def claim(connection: AsyncConnection, calls: Mapping[int, str], now: float) -> set[int]:
    """Begin an attempt at each of ``calls`` (their ids, with the ids of the calls to be); those that still waited."""
    claimed = set()
    for entry, call_id in calls.items():
        taken = await connection.execute(
            update(_QUEUE)
            .where(_Q.id == entry, _Q.state == QUEUED)
            .values(state=ACTIVE, call_id=call_id, attempts=_Q.attempts + 1, started_at=now, result=None, reason=None)
        )
        if taken.rowcount == 1:
            claimed.add(entry)
    return claimed


async def give_back(
    connection: AsyncConnection, entry: int, call_id: str, due_at: float, reason: str | None = None
) -> None:
    """The call ``call_id`` was not made: the attempt does not count. One that was cancelled meanwhile is cancelled."""
    mine = await _not_cancelled(connection, entry, call_id)
    waiting: dict[str, Any] = {"state": QUEUED, "due_at": due_at, "call_id": None, "reason": reason}
    await connection.execute(update(_QUEUE).where(*mine).values(attempts=_Q.attempts - 1, **waiting))


async def refuse(connection: AsyncConnection, entry: int, call_id: str, result: Result, reason: str) -> list[Entry]:
    """The call ``call_id`` cannot be made, now or ever; as it is then, unless it was cancelled meanwhile."""
    mine = await _not_cancelled(connection, entry, call_id)
    failed: dict[str, Any] = {"state": "failed", "result": result, "finished_at": time.time(), "reason": reason}
    ended = await connection.execute(update(_QUEUE).where(*mine).values(**failed))
    return await _entries(connection, _Q.id == entry) if ended.rowcount == 1 else []


async def _not_cancelled(connection: AsyncConnection, entry: int, call_id: str) -> tuple[ColumnElement[bool], ...]:
    """Which row an attempt has that comes to nothing, once it is cancelled if somebody wanted that meanwhile."""
    mine = (_Q.id == entry, _Q.call_id == call_id, _Q.state == ACTIVE)
    await connection.execute(
        update(_QUEUE).where(*mine, _Q.given_up.is_(True)).values(state="cancelled", finished_at=time.time())
    )
    return mine


async def active(connection: AsyncConnection) -> list[Entry]:
    """All that is under way."""
    return await _entries(connection, _Q.state == ACTIVE)


async def unmade(connection: AsyncConnection, before: float) -> list[Entry]:
    """What was begun before ``before`` and of whose call the database has nothing.

    Means something only once the journal of before has been stored: then that call was never made.
    """
    made = select(_CALLS.c.id).where(_CALLS.c.id == _Q.call_id).exists()
    return await _entries(connection, _Q.state == ACTIVE, _Q.started_at < before, ~made)


async def overlooked(connection: AsyncConnection) -> list[tuple[Entry, CallRow]]:
    """What is under way and whose call has ended all the same: its end was refused when it was to be stored."""
    ended = select(_CALLS.c.id).where(_CALLS.c.id == _Q.call_id, _CALLS.c.finished_at.is_not(None)).exists()
    entries = await _entries(connection, _Q.state == ACTIVE, ended)
    calls = await callbook.calls_by_id(connection, [str(entry.call_id) for entry in entries])
    return [(entry, calls[str(entry.call_id)]) for entry in entries]


async def by_call(connection: AsyncConnection, call_ids: Iterable[str]) -> dict[str, Entry]:
    """The calls of the queue whose latest attempts are these calls."""
    found = await _entries(connection, _Q.call_id.in_(list(call_ids)))
    return {str(entry.call_id): entry for entry in found}


async def settle(connection: AsyncConnection, entry: Entry, end: Ended, now: float) -> Entry:
    """The attempt has ended: done, once more, or given up. Returns the call as it is then."""
    schedule = Schedule.of(entry.schedule) if entry.schedule is not None else None
    success: Success = "finished" if entry.wish.get("success") == "finished" else "answered"
    verdict = judge(
        result_of(end, success),
        attempt=entry.attempts,
        now=now,
        schedule=schedule,
        zone=zone_named(entry.zone),
        not_after=entry.not_after,
        given_up=entry.given_up,
        for_good=is_for_good(end),
    )
    over = verdict.state != QUEUED
    values: dict[str, Any] = {
        "state": verdict.state,
        "result": verdict.result,
        "reason": None if verdict.result == "completed" else end.sip_reason or end.reason,
        "sip_status": end.sip_status or None,
        "finished_at": now if over else None,
        "due_at": verdict.due if verdict.due is not None else entry.due_at,
    }
    mine = (_Q.id == entry.id, _Q.call_id == entry.call_id, _Q.state == ACTIVE)
    await connection.execute(update(_QUEUE).where(*mine).values(**values))
    return (await _entries(connection, _Q.id == entry.id))[0]


async def _entries(connection: AsyncConnection, *where: ColumnElement[bool]) -> list[Entry]:
    query = select(_QUEUE).where(*where).order_by(_Q.id)
    return [_entry(row) for row in (await connection.execute(query)).mappings()]


def _entry(row: RowMapping) -> Entry:
    fields: Any = {name: row[name] for name in Entry.__dataclass_fields__}
    return Entry(**fields)

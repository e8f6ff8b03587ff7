"""The outbox as people see it: what is owed, what was given up, and sending that again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Select, Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.models import DEAD, PENDING, Call, Delivery

State = Literal["pending", "delivered", "dead"]

_OWED, _CALLS = cast("Table", Delivery.__table__), cast("Table", Call.__table__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A delivery. ``status`` and ``error`` are those of its last attempt; ``body`` is what is sent, if that is text."""

    id: int
    call_id: str
    seq: int | None
    method: str
    url: str
    params: list[list[str]]
    body: str | None
    file: str | None
    state: str
    attempts: int
    status: int | None
    error: str | None
    created_at: float
    due_at: float
    settled_at: float | None
    subscription: str | None


_COLUMNS = [_OWED.c[name] for name in Entry.__dataclass_fields__]


def _of_account(account_id: str) -> tuple[Select[Any], Select[Any]]:
    """What is owed for its calls, and for those that were never made; two, for each has an index of its own."""
    of_calls = select(*_COLUMNS).join(_CALLS, _CALLS.c.id == _OWED.c.call_id)
    return (
        of_calls.where(_CALLS.c.account_id == account_id, _OWED.c.account_id.is_(None)),
        select(*_COLUMNS).where(_OWED.c.account_id == account_id),
    )


async def entries(
    connection: AsyncConnection,
    account_id: str,
    *,
    state: State | None = None,
    call_id: str = "",
    before: int = 0,
    limit: int = 50,
) -> list[Entry]:
    """What is or was owed to the account's servers, the newest first. ``before``: the last id of the page before."""
    wanted: list[ColumnElement[bool]] = []
    if state is not None:
        wanted.append(_OWED.c.state == state)
    if call_id:
        wanted.append(_OWED.c.call_id == call_id)
    if before:
        wanted.append(_OWED.c.id < before)
    found: list[Entry] = []
    for query in _of_account(account_id):
        rows = await connection.execute(query.where(*wanted).order_by(_OWED.c.id.desc()).limit(limit))
        found += [Entry(**cast("Any", dict(row))) for row in rows.mappings()]
    return sorted(found, key=lambda each: each.id, reverse=True)[:limit]


async def entry(connection: AsyncConnection, account_id: str, wanted: int) -> Entry | None:
    """One delivery, or ``None`` when the account has no such."""
    for query in _of_account(account_id):
        row = (await connection.execute(query.where(_OWED.c.id == wanted))).mappings().first()
        if row is not None:
            return Entry(**cast("Any", dict(row)))
    return None


async def redeliver(connection: AsyncConnection, account_id: str, wanted: int) -> Entry | None:
    """Have a delivery sent (again), now, with all its retries before it; ``None`` when the account has no such.

    It keeps its place in its lane: what waits behind it waits for it.
    """
    found = await entry(connection, account_id, wanted)
    if found is None:
        return None
    now = time.time()
    values = {"state": PENDING, "attempts": 0, "due_at": now, "created_at": now, "settled_at": None}
    await connection.execute(update(_OWED).where(_OWED.c.id == wanted).values(**values))
    return await entry(connection, account_id, wanted)


async def give_up(connection: AsyncConnection, account_id: str, wanted: int) -> Entry | None:
    """Owe a delivery no more; ``None`` when the account has no such. One that is settled stays as it is."""
    found = await entry(connection, account_id, wanted)
    if found is None or found.state != PENDING:
        return found
    values = {"state": DEAD, "settled_at": time.time(), "error": found.error or "given up by hand"}
    await connection.execute(update(_OWED).where(_OWED.c.id == wanted).values(**values))
    return await entry(connection, account_id, wanted)

"""Calls by their integers: those that were put into the queue, and all others of an account."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, Table, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.callbook import CallRow
from engine.api.verboice import book
from engine.campaigns.queue import Entry
from engine.store import projects as t
from engine.store.accounts import StoredFlow

_CALLS, _STORED = cast("Table", t.NumberedCall.__table__), cast("Table", StoredFlow.__table__)


@dataclass(frozen=True, slots=True)
class NumberedCall:
    """What Verboice knows of a call beside the call itself."""

    id: int
    account_id: str
    queued_id: int | None
    call_id: str | None
    project_id: int
    contact_id: int | None
    address: str
    trunk: str
    flow_id: str | None
    schedule_id: int | None
    status_url: str
    params: dict[str, Any]


async def add(connection: AsyncConnection, entry: Entry, **values: Any) -> NumberedCall:
    """The integer of a call that was put into the queue."""
    row = {
        "account_id": entry.account_id,
        "queued_id": entry.id,
        "call_id": None,
        "address": entry.address,
        "trunk": entry.trunk,
        "flow_id": entry.flow_id,
        **values,
    }
    made = await connection.execute(insert(_CALLS).returning(_CALLS.c.id), row)
    return NumberedCall(id=made.scalar_one(), **row)


async def of_call(connection: AsyncConnection, call: CallRow) -> NumberedCall:
    """The integer of a call that was made otherwise, or came in; it gets one if it has none."""
    found = await _found(connection, _CALLS.c.call_id == call.id)
    if found:
        return found[0]
    flow_id = await connection.scalar(
        select(_STORED.c.id).where(
            _STORED.c.account_id == call.account_id, (_STORED.c.name == call.flow) | (_STORED.c.source == call.flow)
        )
    )
    owner = await book.project_of_flow(connection, call.account_id, flow_id)
    row: dict[str, Any] = {
        "account_id": call.account_id,
        "queued_id": None,
        "call_id": call.id,
        "project_id": owner.id,
        "contact_id": None,
        "address": call.caller if call.direction == "inbound" else call.callee,
        "trunk": call.source if call.direction == "inbound" else "",
        "flow_id": flow_id,
        "schedule_id": None,
        "status_url": "",
        "params": {},
    }
    try:
        async with connection.begin_nested():
            made = await connection.execute(insert(_CALLS).returning(_CALLS.c.id), row)
            return NumberedCall(id=made.scalar_one(), **row)
    except IntegrityError:  # somebody else was asked for it at the same time
        return (await _found(connection, _CALLS.c.call_id == call.id))[0]


async def get(connection: AsyncConnection, account_id: str, number: int) -> NumberedCall | None:
    """A call of the account."""
    found = await _found(connection, _CALLS.c.account_id == account_id, _CALLS.c.id == number)
    return found[0] if found else None


async def of_queue(connection: AsyncConnection, queued_ids: Collection[int]) -> dict[int, NumberedCall]:
    """Calls of whatever account by their ids in the queue."""
    return {call.queued_id or 0: call for call in await _found(connection, _CALLS.c.queued_id.in_(queued_ids))}


async def _found(connection: AsyncConnection, *where: ColumnElement[bool]) -> list[NumberedCall]:
    columns = [_CALLS.c[name] for name in NumberedCall.__dataclass_fields__]
    query = select(*columns).where(*where)
    return [NumberedCall(**cast("Any", dict(row))) for row in (await connection.execute(query)).mappings()]

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
from engine.store import about_to_write
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

    @property
    def address_or_name(self) -> str:
        """By which its contact goes: one who does not show a number has a name."""
        return self.address or f"Anonymous{self.id}"


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
    flow = await flow_called(connection, call.account_id, call.flow)
    flow_id = flow[0] if flow is not None else None
    owner = await book.project_of_flow(connection, call.account_id, flow_id)
    return await add_call(
        connection,
        account_id=call.account_id,
        call_id=call.id,
        project_id=owner.id,
        address=call.caller if call.direction == "inbound" else call.callee,
        trunk=call.source if call.direction == "inbound" else "",
        flow_id=flow_id,
    )


async def add_call(connection: AsyncConnection, *, call_id: str, **values: Any) -> NumberedCall:
    """The integer of a call that is not of the queue."""
    row = {"queued_id": None, "contact_id": None, "schedule_id": None, "status_url": "", "params": {}, **values}
    row["call_id"] = call_id
    about_to_write(connection)
    try:
        async with connection.begin_nested():
            made = await connection.execute(insert(_CALLS).returning(_CALLS.c.id), row)
            return NumberedCall(id=made.scalar_one(), **row)
    except IntegrityError:  # it got one at the same time
        return (await _found(connection, _CALLS.c.call_id == call_id))[0]


async def flow_called(connection: AsyncConnection, account_id: str, name: str) -> tuple[str, str] | None:
    """Id and dialect of the flow that goes by this name in the record of a call."""
    mine = _STORED.c.account_id == account_id, (_STORED.c.name == name) | (_STORED.c.source == name)
    row = (await connection.execute(select(_STORED.c.id, _STORED.c.dialect).where(*mine))).first()
    return (row.id, row.dialect) if row is not None else None


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

"""Calls that wait, found by what they wait for."""

from __future__ import annotations

from typing import cast

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.campaigns import queue
from engine.store import projects as t

_CALLS = cast("Table", t.NumberedCall.__table__)


async def cancel_with_schedule(connection: AsyncConnection, account_id: str, schedule_id: int) -> list[int]:
    """Cancel those that wait by a schedule; their ids in the queue."""
    mine = _CALLS.c.account_id == account_id, _CALLS.c.schedule_id == schedule_id
    query = select(_CALLS.c.queued_id).where(*mine, _CALLS.c.queued_id.is_not(None))
    ids = [row.queued_id for row in await connection.execute(query)]
    return await queue.cancel_waiting(connection, account_id, queue.among(ids)) if ids else []

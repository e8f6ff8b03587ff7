"""Who changed what: a line for each change that an API made, in the transaction that made it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Table, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.entities import Caller
from engine.store import accounts as t

_notes: ContextVar[list[str] | None] = ContextVar("notes", default=None)
_AUDIT = cast("Table", t.AuditEntry.__table__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One change. ``action`` is what and how (``number made``), ``subject`` the id of what was changed."""

    id: int
    at: float
    user: str
    action: str
    subject: str
    detail: Mapping[str, Any]


@contextmanager
def watched() -> Iterator[list[str]]:
    """The actions that are put down meanwhile, by whoever does the work."""
    found: list[str] = []
    before = _notes.set(found)
    try:
        yield found
    finally:
        _notes.reset(before)


async def note(
    connection: AsyncConnection, caller: Caller, action: str, subject: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Put a change down. ``detail`` must have no secrets."""
    row: dict[str, Any] = {
        "account_id": caller.account_id,
        "at": time.time(),
        "user": caller.user,
        "action": action,
        "subject": subject,
        "detail": dict(detail or {}),
    }
    await connection.execute(insert(_AUDIT), row)
    if (notes := _notes.get()) is not None:
        notes.append(action)


async def entries(connection: AsyncConnection, account_id: str, *, before: int = 0, limit: int = 50) -> list[Entry]:
    """Changes of an account, the newest first. ``before``: the id of the last one of the page before."""
    query = select(*(_AUDIT.c[name] for name in Entry.__dataclass_fields__)).where(_AUDIT.c.account_id == account_id)
    if before:
        query = query.where(_AUDIT.c.id < before)
    found = (await connection.execute(query.order_by(_AUDIT.c.id.desc()).limit(limit))).mappings()
    return [Entry(**cast("Any", dict(row))) for row in found]

"""Webhooks for calls: their rows, and what is done with them.

Every function runs in the caller's transaction and looks at the rows of the account that it is given; those for the
daemon itself say so.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ForeignKey, Index, String, Table, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.models import Base

CALL_WEBHOOKS_KEPT = 30 * 86_400.0
"""Seconds that the webhook of a single call is remembered: what is told of it may come long after its end."""


class WebhookRow(Base):
    """Who is told of calls: of all of an account, or of one (``call_id``). What is sent is signed with ``token``."""

    __tablename__ = "voice_webhooks"
    __table_args__ = (
        Index("ix_voice_webhooks_account_id", "account_id", "call_id"),
        Index("ix_voice_webhooks_call_id", "call_id"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    call_id: Mapped[str | None] = mapped_column(String(255))
    url: Mapped[str]
    token: Mapped[str]
    title: Mapped[str]
    created_at: Mapped[float]
    updated_at: Mapped[float]


_HOOKS = cast("Table", WebhookRow.__table__)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A row of ``voice_webhooks``."""

    id: str
    account_id: str
    call_id: str | None
    url: str
    token: str
    title: str
    created_at: float
    updated_at: float


async def add(
    connection: AsyncConnection, account_id: str, url: str, token: str, *, title: str = "", call_id: str | None = None
) -> Webhook:
    """A new one, for all calls of the account or for one."""
    now = time.time()
    made = Webhook(uuid.uuid4().hex, account_id, call_id, url, token, title, now, now)
    if call_id is not None:
        old = (_HOOKS.c.call_id.is_not(None), _HOOKS.c.created_at < now - CALL_WEBHOOKS_KEPT)
        await connection.execute(delete(_HOOKS).where(*old))
    await connection.execute(insert(_HOOKS), {name: getattr(made, name) for name in Webhook.__dataclass_fields__})
    return made


async def all_of(connection: AsyncConnection, account_id: str) -> list[Webhook]:
    """Those for all calls of the account, the oldest first."""
    query = select(_HOOKS).where(_HOOKS.c.account_id == account_id, _HOOKS.c.call_id.is_(None))
    query = query.order_by(_HOOKS.c.created_at, _HOOKS.c.id)
    return [Webhook(**cast("Any", dict(row))) for row in (await connection.execute(query)).mappings()]


async def get(connection: AsyncConnection, account_id: str, wanted: str) -> Webhook | None:
    """One of those by its id; ``None`` when the account has none such."""
    return next((each for each in await all_of(connection, account_id) if each.id == wanted), None)


async def wanting(connection: AsyncConnection, calls: Mapping[str, str]) -> dict[str, list[Webhook]]:
    """Who is to be told of each of ``calls`` (call to account), by call; for the daemon itself."""
    of_calls = _HOOKS.c.call_id.is_(None) | _HOOKS.c.call_id.in_(list(calls))
    query = select(_HOOKS).where(_HOOKS.c.account_id.in_(set(calls.values())), of_calls)
    query = query.order_by(_HOOKS.c.created_at, _HOOKS.c.id)
    found = [Webhook(**cast("Any", dict(row))) for row in (await connection.execute(query)).mappings()]
    told: dict[str, list[Webhook]] = {}
    for call, account in calls.items():
        hooks = [each for each in found if each.account_id == account and each.call_id in (None, call)]
        if hooks:
            told[call] = hooks
    return told


async def change(connection: AsyncConnection, hook: Webhook, *, url: str, token: str, title: str) -> None:
    """Give it another URL, token and title."""
    values = {"url": url, "token": token, "title": title, "updated_at": time.time()}
    await connection.execute(update(_HOOKS).where(_HOOKS.c.id == hook.id).values(**values))


async def remove(connection: AsyncConnection, hook: Webhook) -> None:
    """Delete it; what is owed to it already is still sent."""
    await connection.execute(delete(_HOOKS).where(_HOOKS.c.id == hook.id))


async def remove_of_call(connection: AsyncConnection, account_id: str, call_id: str) -> None:
    """Delete those of a single call."""
    await connection.execute(delete(_HOOKS).where(_HOOKS.c.account_id == account_id, _HOOKS.c.call_id == call_id))


async def any_at_all(connection: AsyncConnection) -> bool:
    """Whether anybody wants to be told anything; for the daemon itself."""
    return bool(await connection.scalar(select(func.count()).select_from(_HOOKS)))

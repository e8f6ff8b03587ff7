"""The end of what programs may do in the name of users: with the secret or the password that it came from."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import ColumnElement, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import tokens
from engine.store.accounts import ApiToken
from engine.store.models import PENDING, Delivery
from engine.store.realtime import EventSubscription, OAuthCode, delivered_as

_TOKENS, _CODES = cast("Table", ApiToken.__table__), cast("Table", OAuthCode.__table__)
_SUBSCRIPTIONS, _DELIVERIES = cast("Table", EventSubscription.__table__), cast("Table", Delivery.__table__)


async def end_of_client(connection: AsyncConnection, client_id: str, *, user_id: str = "") -> None:
    """Whatever a client has (of one user, if given) is worth nothing any more: tokens, codes, and subscriptions with
    what they are owed.
    """
    await tokens.revoke_all(connection, client_id, user_id=user_id)
    for table in (_CODES, _SUBSCRIPTIONS):
        where: list[ColumnElement[bool]] = [table.c.client_id == client_id]
        if user_id:
            where.append(table.c.user_id == user_id)
        await _end(connection, table, where)


async def end_of_password(connection: AsyncConnection, user_id: str) -> None:
    """What clients have by a login of the user with the password that was. Tokens that were made for programs stay."""
    mine = _TOKENS.c.user_id == user_id, _TOKENS.c.kind.in_(tokens.BY_LOGIN)
    await connection.execute(delete(_TOKENS).where(*mine))
    for table in (_CODES, _SUBSCRIPTIONS):
        await _end(connection, table, [table.c.user_id == user_id])


async def _end(connection: AsyncConnection, table: Table, where: list[ColumnElement[bool]]) -> None:
    if table is _SUBSCRIPTIONS:
        ids: Any = (await connection.execute(select(table.c.id).where(*where))).scalars().all()
        theirs = _DELIVERIES.c.subscription.in_([delivered_as(each) for each in ids]), _DELIVERIES.c.state == PENDING
        if ids:
            await connection.execute(delete(_DELIVERIES).where(*theirs))
    await connection.execute(delete(table).where(*where))

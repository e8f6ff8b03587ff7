"""Bearer tokens (RFC 6750): opaque, made of 256 random bits, kept as their SHA-256.

A hash without salt or stretching is enough: what is hashed cannot be guessed. Whoever reads the table has no token.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Table, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import repository
from engine.accounts.entities import Caller, User
from engine.store import accounts as t
from engine.store.accounts import DEFAULT_ACCOUNT

PREFIX = "ivrea_"
"""By which people and scanners of leaked secrets know what it is."""

FIRST_USER = "owner"

BY_LOGIN = ("oauth", "oauth_refresh", "oauth_login")
"""Kinds that come of a login with a password: an application's, what it gets new ones with, and what a person has
between login and consent."""

_TOKENS, _USERS = cast("Table", t.ApiToken.__table__), cast("Table", t.User.__table__)


async def issue(
    connection: AsyncConnection,
    account_id: str,
    user_id: str,
    *,
    name: str = "",
    lifetime: float | None = None,
    kind: str = "bearer",
    scopes: Sequence[str] = (),
    client_id: str | None = None,
) -> str:
    """A new token of a user, which nobody can be told again. ``lifetime`` in seconds, ``None``: for ever.

    Raises :class:`~engine.accounts.repository.Unknown` for a user of somebody else.
    """
    user = await repository.get(connection, User, account_id, user_id)
    token = PREFIX + secrets.token_urlsafe(32)
    now = time.time()
    row: dict[str, Any] = {
        "id": repository.new_id(),
        "account_id": account_id,
        "user_id": user.id,
        "name": name,
        "hash": hashed(token),
        "kind": kind,
        "scopes": list(scopes),
        "client_id": client_id,
        "created_at": now,
        "expires_at": None if lifetime is None else now + lifetime,
    }
    await connection.execute(delete(_TOKENS).where(_TOKENS.c.expires_at < now))
    await connection.execute(insert(_TOKENS), row)
    return token


async def verify(connection: AsyncConnection, token: str, kind: str = "bearer") -> Caller | None:
    """Whom ``token`` speaks for; ``None`` when it is none of this kind, or none any more."""
    columns = (_TOKENS.c.account_id, _TOKENS.c.expires_at, _TOKENS.c.scopes, _TOKENS.c.client_id)
    query = (
        select(*columns, _USERS.c.id, _USERS.c.name, _USERS.c.role)
        .join(_USERS, _USERS.c.id == _TOKENS.c.user_id)
        .where(_TOKENS.c.hash == hashed(token), _TOKENS.c.kind == kind)
    )
    row = (await connection.execute(query)).first()
    if row is None or (row.expires_at is not None and row.expires_at <= time.time()):
        return None
    return Caller(row.account_id, row.id, row.name, row.role, kind, tuple(row.scopes), row.client_id)


@dataclass(frozen=True, slots=True)
class Token:
    """A token without what is secret about it."""

    id: str
    user_id: str
    name: str
    kind: str
    client_id: str | None
    created_at: float
    expires_at: float | None


async def all_of(connection: AsyncConnection, account_id: str) -> list[Token]:
    """The tokens of an account that last, the oldest first."""
    columns = [_TOKENS.c[name] for name in Token.__dataclass_fields__]
    lasting = or_(_TOKENS.c.expires_at.is_(None), _TOKENS.c.expires_at > time.time())
    query = select(*columns).where(_TOKENS.c.account_id == account_id, lasting)
    found = (await connection.execute(query.order_by(_TOKENS.c.created_at, _TOKENS.c.id))).mappings()
    return [Token(**cast("Any", dict(row))) for row in found]


async def known(connection: AsyncConnection, token: str) -> Token:
    """What is known of ``token``. Raises :class:`~engine.accounts.repository.Unknown`."""
    columns = [_TOKENS.c[name] for name in Token.__dataclass_fields__]
    row = (await connection.execute(select(*columns).where(_TOKENS.c.hash == hashed(token)))).mappings().first()
    if row is None:
        raise repository.Unknown("there is no such token")
    return Token(**cast("Any", dict(row)))


async def remove(connection: AsyncConnection, account_id: str, token_id: str) -> None:
    """Take a token back by its id. Raises :class:`~engine.accounts.repository.Unknown`."""
    gone = await connection.execute(delete(_TOKENS).where(_TOKENS.c.account_id == account_id, _TOKENS.c.id == token_id))
    if gone.rowcount != 1:
        raise repository.Unknown(f"there is no token {token_id!r}")


async def revoke(connection: AsyncConnection, token: str) -> bool:
    """It is none any more; whether it was one."""
    gone = await connection.execute(delete(_TOKENS).where(_TOKENS.c.hash == hashed(token)))
    return gone.rowcount == 1


async def revoke_all(connection: AsyncConnection, client_id: str, *, user_id: str = "") -> None:
    """None of the tokens that a client has (of one user, if given) is one any more."""
    where = [_TOKENS.c.client_id == client_id]
    if user_id:
        where.append(_TOKENS.c.user_id == user_id)
    await connection.execute(delete(_TOKENS).where(*where))


async def first(connection: AsyncConnection) -> str:
    """The token of the first start, for an owner of the account ``default``; empty when there has been one."""
    if await connection.scalar(select(func.count()).select_from(_TOKENS)):
        return ""
    owner = await owner_of(connection, DEFAULT_ACCOUNT)
    return await issue(connection, DEFAULT_ACCOUNT, owner.id, name="first")


async def owner_of(connection: AsyncConnection, account_id: str) -> User:
    """A user of the account who may do everything; made if there is none. Raises Unknown for no account."""
    await repository.account(connection, account_id)
    users = await repository.users(connection, account_id)
    owners = [user for user in users if user.role == "owner"]
    if owners:
        return owners[0]
    taken = {user.name for user in users}
    name = FIRST_USER if FIRST_USER not in taken else f"{FIRST_USER}-{repository.new_id()[:6]}"
    return await repository.add_user(connection, account_id, name, role="owner")


def hashed(token: str) -> str:
    """The form in which something random and secret is kept: its SHA-256, in hex."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()

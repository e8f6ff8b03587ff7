"""Programs that ask for tokens with an id and a secret (OAuth 2, RFC 6749 section 2.3). The secret is random, and kept
as its SHA-256.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import access, repository, tokens
from engine.accounts.entities import Client, User
from engine.accounts.repository import Unknown
from engine.store import accounts as t

_CLIENTS = cast("Table", t.ApiClient.__table__)
_COLUMNS = [_CLIENTS.c[name] for name in Client.__dataclass_fields__]


async def add(
    connection: AsyncConnection,
    account_id: str,
    name: str,
    *,
    user_id: str | None = None,
    redirect_uris: Sequence[str] = (),
) -> tuple[Client, str]:
    """A new client with its secret, which nobody can be told again. Raises Unknown for a user of somebody else."""
    if user_id is not None:
        user_id = (await repository.get(connection, User, account_id, user_id)).id
    await repository.account(connection, account_id)
    secret = secrets.token_urlsafe(32)
    client = Client(repository.new_id(), account_id, user_id, name, tuple(redirect_uris), time.time())
    row: dict[str, Any] = {
        "id": client.id,
        "account_id": account_id,
        "user_id": user_id,
        "name": name,
        "hash": tokens.hashed(secret),
        "redirect_uris": list(redirect_uris),
        "created_at": client.created_at,
    }
    await connection.execute(insert(_CLIENTS), row)
    return client, secret


async def get(connection: AsyncConnection, client_id: str) -> Client | None:
    """A client of whatever account, or ``None``."""
    if "\0" in client_id:  # PostgreSQL would not look for it
        return None
    row = (await connection.execute(select(*_COLUMNS).where(_CLIENTS.c.id == client_id))).mappings().first()
    return _client(row) if row is not None else None


async def verify(connection: AsyncConnection, client_id: str, secret: str) -> Client | None:
    """The client if the secret is its own."""
    if "\0" in client_id:
        return None
    row = (await connection.execute(select(_CLIENTS).where(_CLIENTS.c.id == client_id))).mappings().first()
    right = hmac.compare_digest(tokens.hashed(secret), row["hash"] if row is not None else "")
    return _client(row) if row is not None and right else None


async def all_of(connection: AsyncConnection, account_id: str) -> list[Client]:
    """The clients of an account, the oldest first."""
    query = select(*_COLUMNS).where(_CLIENTS.c.account_id == account_id).order_by(_CLIENTS.c.created_at, _CLIENTS.c.id)
    return [_client(row) for row in (await connection.execute(query)).mappings()]


async def new_secret(connection: AsyncConnection, account_id: str, client_id: str) -> str:
    """Another secret; tokens and codes that were issued before are none any more, and nobody is subscribed. Raises
    Unknown.
    """
    secret = secrets.token_urlsafe(32)
    changed = await connection.execute(
        update(_CLIENTS)
        .where(_CLIENTS.c.id == client_id, _CLIENTS.c.account_id == account_id)
        .values(hash=tokens.hashed(secret))
    )
    if changed.rowcount != 1:
        raise Unknown(f"there is no client {client_id!r}")
    await access.end_of_client(connection, client_id)
    return secret


async def remove(connection: AsyncConnection, account_id: str, client_id: str) -> None:
    """Delete a client, its tokens and its subscriptions. Raises Unknown."""
    mine = _CLIENTS.c.id == client_id, _CLIENTS.c.account_id == account_id
    if (await connection.execute(select(_CLIENTS.c.id).where(*mine))).first() is None:
        raise Unknown(f"there is no client {client_id!r}")
    await access.end_of_client(connection, client_id)
    await connection.execute(delete(_CLIENTS).where(*mine))


def _client(row: Any) -> Client:
    fields: Any = {name: row[name] for name in Client.__dataclass_fields__}
    return Client(**{**fields, "redirect_uris": tuple(fields["redirect_uris"])})

"""Authorization codes and the tokens that follow from them. Every function runs in the caller's transaction.

A code is good once, for a minute, for the client and the redirection that it was made for; of it only the SHA-256 is
kept. One that comes a second time may have been stolen: then all tokens of that client and user are none any more
(RFC 6749 section 4.1.2), and nobody is told of calls by them. The same goes for refresh tokens.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import access, repository, tokens
from engine.accounts.entities import Caller, Client, User
from engine.api.kwebbl.authorizing import Wish, proves
from engine.api.kwebbl.errors import ACCESS, REFRESH
from engine.api.kwebbl.scopes import grantable
from engine.log import get_logger
from engine.store.realtime import OAuthCode, SpentToken

CODE_SECONDS = 60.0
AT_ONCE = 2.0
"""Seconds in which a refresh token that was used may come again without being taken for a stolen one."""

log = get_logger(__name__)

_CODES, _SPENT = cast("Table", OAuthCode.__table__), cast("Table", SpentToken.__table__)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds that tokens are good for."""

    access: float
    refresh: float


@dataclass(frozen=True, slots=True)
class Denied:
    """No tokens: an error of RFC 6749 section 5.2, and its description. What was changed so far is to be kept."""

    error: str
    description: str


@dataclass(frozen=True, slots=True)
class Issued:
    """A pair of tokens."""

    access: str
    refresh: str
    scopes: tuple[str, ...]
    state: str | None = None


async def new_code(connection: AsyncConnection, person: Caller, wish: Wish, scopes: Sequence[str]) -> str:
    """A code by which the client of ``wish`` has tokens of ``person``."""
    code = secrets.token_urlsafe(32)
    now = time.time()
    await connection.execute(delete(_CODES).where(_CODES.c.expires_at < now - 3600.0))
    row: dict[str, Any] = {
        "hash": tokens.hashed(code),
        "account_id": person.account_id,
        "user_id": person.user_id,
        "client_id": wish.client_id,
        "redirect_uri": wish.redirect_uri,
        "scopes": list(scopes),
        "challenge": wish.challenge,
        "state": wish.state,
        "expires_at": now + CODE_SECONDS,
        "used_at": None,
    }
    await connection.execute(insert(_CODES), row)
    return code


async def exchange(
    connection: AsyncConnection,
    client: Client,
    code: str,
    redirect_uri: str,
    verifier: str,
    narrowed: Sequence[str] | None,
    lifetimes: Lifetimes,
) -> Issued | Denied:
    """Tokens for a code. ``narrowed``: those of its scopes that are wanted, ``None``: all."""
    row = (await connection.execute(select(_CODES).where(_CODES.c.hash == tokens.hashed(code)))).mappings().first()
    if row is None or row["client_id"] != client.id:
        return Denied("invalid_grant", "the authorization code is invalid")
    now = time.time()
    if row["used_at"] is None and row["expires_at"] <= now:
        return Denied("invalid_grant", "the authorization code has expired")
    if row["used_at"] is None:
        if row["redirect_uri"] != redirect_uri:
            return Denied("invalid_grant", "redirect_uri: is not the one of the authorization request")
        if not proves(row["challenge"], verifier):
            return Denied("invalid_grant", "code_verifier: does not belong to the code_challenge")
        if narrowed is not None and (more := [name for name in narrowed if name not in row["scopes"]]):
            return Denied("invalid_request", f"scope: {more[0]} was not granted")
    once = update(_CODES).where(_CODES.c.hash == row["hash"], _CODES.c.used_at.is_(None)).values(used_at=now)
    if (await connection.execute(once)).rowcount != 1:
        await access.end_of_client(connection, client.id, user_id=row["user_id"])
        return Denied("invalid_grant", "the authorization code was used before")
    user = await repository.get(connection, User, row["account_id"], row["user_id"])
    issued = await _issue(connection, client, user, row["scopes"] if narrowed is None else narrowed, lifetimes)
    return Issued(issued.access, issued.refresh, issued.scopes, row["state"])


async def refresh(
    connection: AsyncConnection, client: Client, token: str, narrowed: Sequence[str] | None, lifetimes: Lifetimes
) -> Issued | Denied:
    """New tokens; all that the client has had of this user are none any more.

    A token that comes again was stolen, by whoever was first or by whoever is second (RFC 9700 section 4.14.2): the
    client has nothing of this user then. Not within :data:`AT_ONCE`: programs ask twice at a time.
    """
    holder = await tokens.verify(connection, token, REFRESH)
    if holder is None or holder.client_id != client.id:
        await _look_for_theft(connection, client, token)
        return Denied("invalid_grant", "the refresh token is invalid or expired")
    if narrowed is not None and (more := [name for name in narrowed if name not in holder.scopes]):
        return Denied("invalid_request", f"scope: {more[0]} was not granted")
    if not await tokens.revoke(connection, token):  # of two who come at once with the same, one was first
        return Denied("invalid_grant", "the refresh token was used before")
    await _spend(connection, client, holder.user_id, token, lifetimes.refresh)
    await tokens.revoke_all(connection, client.id, user_id=holder.user_id)
    user = await repository.get(connection, User, holder.account_id, holder.user_id)
    return await _issue(connection, client, user, holder.scopes if narrowed is None else narrowed, lifetimes)


async def _spend(connection: AsyncConnection, client: Client, user_id: str, token: str, lifetime: float) -> None:
    """Remember a token that was used; it would not have lasted longer than a new one."""
    now = time.time()
    await connection.execute(delete(_SPENT).where(_SPENT.c.expires_at < now))
    row: dict[str, Any] = {
        "hash": tokens.hashed(token),
        "user_id": user_id,
        "client_id": client.id,
        "spent_at": now,
        "expires_at": now + lifetime,
    }
    await connection.execute(insert(_SPENT), row)


async def _look_for_theft(connection: AsyncConnection, client: Client, token: str) -> None:
    query = select(_SPENT).where(_SPENT.c.hash == tokens.hashed(token), _SPENT.c.client_id == client.id)
    row = (await connection.execute(query)).mappings().first()
    if row is None or time.time() - row["spent_at"] < AT_ONCE:
        return
    log.warning("refresh_token_used_again", client=client.id, user=row["user_id"])
    await access.end_of_client(connection, client.id, user_id=row["user_id"])


async def _issue(
    connection: AsyncConnection, client: Client, user: User, scopes: Sequence[str], lifetimes: Lifetimes
) -> Issued:
    """The scopes are those that the user may still grant."""
    granted = grantable(scopes, user.role)
    pair = []
    for kind, lifetime in ((ACCESS, lifetimes.access), (REFRESH, lifetimes.refresh)):
        pair.append(
            await tokens.issue(
                connection,
                user.account_id,
                user.id,
                name=client.name,
                lifetime=lifetime,
                kind=kind,
                scopes=granted,
                client_id=client.id,
            )
        )
    return Issued(pair[0], pair[1], granted)

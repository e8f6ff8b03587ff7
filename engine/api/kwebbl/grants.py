"""Authorization codes and the tokens that follow from them. Every function runs in the caller's transaction.

A code is good once, for a minute, for the client and the redirection that it was made for; of it only the SHA-256 is
kept. One that comes a second time may have been stolen: then all tokens of that client and user are none any more
(RFC 6749 section 4.1.2).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import repository, tokens
from engine.accounts.entities import Caller, Client, User
from engine.api.kwebbl.authorizing import Wish, proves
from engine.api.kwebbl.errors import ACCESS, REFRESH
from engine.api.kwebbl.scopes import grantable
from engine.store.realtime import OAuthCode

CODE_SECONDS = 60.0

_CODES = cast("Table", OAuthCode.__table__)


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
        await tokens.revoke_all(connection, client.id, user_id=row["user_id"])
        return Denied("invalid_grant", "the authorization code was used before")
    user = await repository.get(connection, User, row["account_id"], row["user_id"])
    issued = await _issue(connection, client, user, row["scopes"] if narrowed is None else narrowed, lifetimes)
    return Issued(issued.access, issued.refresh, issued.scopes, row["state"])


async def refresh(
    connection: AsyncConnection, client: Client, token: str, narrowed: Sequence[str] | None, lifetimes: Lifetimes
) -> Issued | Denied:
    """New tokens; all that the client has had of this user are none any more."""
    holder = await tokens.verify(connection, token, REFRESH)
    if holder is None or holder.client_id != client.id:
        return Denied("invalid_grant", "the refresh token is invalid or expired")
    if narrowed is not None and (more := [name for name in narrowed if name not in holder.scopes]):
        return Denied("invalid_request", f"scope: {more[0]} was not granted")
    if not await tokens.revoke(connection, token):  # of two who come at once with the same, one was first
        return Denied("invalid_grant", "the refresh token was used before")
    await tokens.revoke_all(connection, client.id, user_id=holder.user_id)
    user = await repository.get(connection, User, holder.account_id, holder.user_id)
    return await _issue(connection, client, user, holder.scopes if narrowed is None else narrowed, lifetimes)


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

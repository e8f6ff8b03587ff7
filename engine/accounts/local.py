"""Tokens for whoever may read the configuration: made and taken back in the database that it names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine import loop
from engine.accounts import repository, tokens
from engine.accounts.entities import User
from engine.accounts.repository import Unknown
from engine.store import Store


class LocalError(Exception):
    """There is no token to be had; the text says why."""


def issue(url: str, account: str, user: str = "", *, name: str = "", lifetime: float | None = None) -> str:
    """A token for a user of an account, both by id or name; without a user for an owner. ``lifetime`` in seconds.

    Raises :class:`LocalError`.
    """

    async def make(connection: AsyncConnection) -> str:
        owner = await repository.account(connection, account)
        if user:
            whom = await repository.get(connection, User, owner.id, user)
        else:
            whom = await tokens.owner_of(connection, owner.id)
        return await tokens.issue(connection, owner.id, whom.id, name=name, lifetime=lifetime)

    return _run(url, make)


def revoke(url: str, token: str) -> None:
    """Take a token back. Raises :class:`LocalError`."""

    async def take(connection: AsyncConnection) -> str:
        await tokens.revoke(connection, token)
        return ""

    _run(url, take)


def _run(url: str, work: Callable[[AsyncConnection], Awaitable[str]]) -> str:
    async def run() -> str:
        store = Store(url)
        try:
            async with store.writing() as connection:
                return await work(connection)
        finally:
            await store.close()

    try:
        return loop.run(run())
    except Unknown as error:
        raise LocalError(str(error)) from None
    except (SQLAlchemyError, OSError) as error:
        raise LocalError(f"store.url: {error}; has the daemon been started?") from error

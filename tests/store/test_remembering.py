"""What is known of callers: one look at an account for all who call it, whatever the database takes for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import repository
from engine.api.verboice import book, contacts_book, remembering
from engine.api.verboice.remembering import LOOK_AGAIN, TOO_OLD, Remembering
from engine.store import Store


class Slow:
    """A database that answers when it is let, and counts who asks."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.asked = 0
        self.free = asyncio.Event()
        self.free.set()
        self.writing = store.writing

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        self.asked += 1
        await self.free.wait()
        async with self.store.reading() as connection:
            yield connection


class Callers:
    """Those who call one account, under a clock of their own."""

    def __init__(self, store: Store, account: str) -> None:
        self.slow, self.now, self.calls = Slow(store), 1000.0, 0
        self.remembering = Remembering(self.slow, lambda: self.now)  # type: ignore[arg-type]
        self.plan: Any = SimpleNamespace(account=account, flow_name="")
        self.parties: Any = SimpleNamespace(caller="0123", source="trunk")

    async def call(self) -> dict[str, str]:
        self.calls += 1
        return dict(await self.remembering(f"call{self.calls}", self.plan, self.parties))

    async def many(self, count: int = 50) -> list[dict[str, str]]:
        return await asyncio.gather(*(self.call() for _ in range(count)))


@pytest.fixture
async def callers(store: Store) -> Callers:
    await store.migrate()
    async with store.writing() as connection:
        account = (await repository.add_account(connection, "one")).id
    return Callers(store, account)


async def know_the_caller(callers: Callers) -> None:
    async with callers.slow.store.writing() as connection:
        project = await book.first_project(connection, callers.plan.account)
        name = await book.add_variable(connection, project.id, "name")
        contact = await contacts_book.known_as(connection, project.id, callers.parties.caller)
        await contacts_book.set_values(connection, [contact.id], {name: "Ada"})


async def test_one_look_for_all_who_call_meanwhile(callers: Callers) -> None:
    assert await callers.many() == [{}] * 50
    assert callers.slow.asked == 1
    callers.now += LOOK_AGAIN + 0.1
    callers.slow.free.clear()
    assert await asyncio.wait_for(callers.many(), 0.5) == [{}] * 50, "what was found last serves meanwhile"
    assert callers.slow.asked == 2
    callers.slow.free.set()


async def test_a_database_that_hangs_costs_each_caller_its_patience_and_one_connection(
    callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, "PATIENCE", 0.05)
    callers.slow.free.clear()
    for _ in range(3):
        assert await asyncio.wait_for(callers.many(), 1.0) == [{}] * 50
    assert callers.slow.asked == 1
    callers.slow.free.set()


async def test_what_a_project_knows_is_found_however_long_nobody_called(callers: Callers) -> None:
    assert await callers.call() == {}
    await know_the_caller(callers)
    callers.now += TOO_OLD
    before = callers.slow.asked
    assert await callers.many(5) == [{"var.name": "Ada"}] * 5
    assert callers.slow.asked == before + 1


async def test_what_a_project_has_come_to_know_is_found_soon(callers: Callers) -> None:
    assert await callers.call() == {}
    await know_the_caller(callers)
    assert await callers.call() == {}
    callers.now += LOOK_AGAIN
    await callers.call()
    await asyncio.gather(*callers.remembering._looks.values())
    assert await callers.call() == {"var.name": "Ada"}

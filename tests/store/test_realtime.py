"""Codes, tokens, subscriptions and events of the Realtime API on either database."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from sqlalchemy import insert, select

from engine.accounts import clients, repository, tokens
from engine.accounts.entities import Caller, Client
from engine.api.kwebbl import grants
from engine.api.kwebbl.authorizing import Wish
from engine.api.kwebbl.errors import ACCESS
from engine.api.kwebbl.grants import Denied, Issued, Lifetimes
from engine.api.kwebbl.telling import Patience, Teller
from engine.callbacks import records
from engine.callbacks.announcing import Announcements
from engine.callbacks.journal import Journal
from engine.callbacks.outbox import Outcome, Parcel
from engine.callbacks.writer import Writer
from engine.store import Store
from engine.store.models import Delivery
from engine.store.realtime import EventSubscription

BACK, LIVES = "https://client.example/cb", Lifetimes(900.0, 3600.0)


async def people(store: Store) -> tuple[Caller, Client]:
    await store.migrate()
    async with store.writing() as connection:
        await repository.add_account(connection, "acme", id="acme")
        user = await repository.add_user(connection, "acme", "ada", role="admin")
        await repository.add_extension(connection, "acme", "201", user_id=user.id)
        client, _ = await clients.add(connection, "acme", "CRM", redirect_uris=[BACK])
    return Caller("acme", user.id, "ada", "admin"), client


async def test_one_of_many_who_come_with_the_same_secret_is_served(store: Store) -> None:
    person, client = await people(store)
    async with store.writing() as connection:
        code = await grants.new_code(connection, person, Wish(client.id, BACK, (), "x", ""), ("calls.events",))

    async def exchange() -> Issued | Denied:
        async with store.writing() as connection:
            return await grants.exchange(connection, client, code, BACK, "", None, LIVES)

    first = await exchange()
    assert isinstance(first, Issued)
    assert (first.scopes, first.state) == (("calls.events",), "x")

    async def refresh() -> Issued | Denied:
        async with store.writing() as connection:
            return await grants.refresh(connection, client, first.refresh, None, LIVES)

    found = await asyncio.gather(*(refresh() for _ in range(5)))
    (second,) = [each for each in found if isinstance(each, Issued)]
    async with store.reading() as connection:
        assert await tokens.verify(connection, first.access, ACCESS) is None
        holder = await tokens.verify(connection, second.access, ACCESS)
    assert holder is not None
    assert (holder.user_id, holder.scopes, holder.client_id) == (person.user_id, ("calls.events",), client.id)
    again = await exchange()
    assert isinstance(again, Denied)
    async with store.reading() as connection:
        assert await tokens.verify(connection, second.access, ACCESS) is None, "who used a code twice loses all"


async def test_events_are_owed_and_failures_counted(store: Store, tmp_path: Path) -> None:
    person, client = await people(store)
    row = {
        "id": "5" * 32,
        "account_id": "acme",
        "user_id": person.user_id,
        "client_id": client.id,
        "event_types": ["created"],
        "agents": [{"field": "to", "extension_id": "*", "number": "201"}],
        "mode": "presence",
        "reach": "company",
        "callback_url": "https://client.example/events",
        "failures": 0,
        "created_at": time.time(),
    }
    async with store.writing() as connection:
        await connection.execute(insert(EventSubscription), row)
    announcements, journal = Announcements(), Journal.open(tmp_path / "journal")
    announcements.add(Teller(hyphens=True))
    writer = Writer(journal, store, announcements=announcements)
    started = {"caller": "+31101111111", "source": "carrier", "account": "acme"}
    journal.append(records.CallStarted(1.0, call="a" * 32, callee="201", **started))
    journal.append(records.CallStarted(2.0, call="b" * 32, callee="202", **started))
    while await writer._step():
        pass
    journal.close()
    async with store.reading() as connection:
        (owed,) = (await connection.execute(select(Delivery.__table__))).mappings().all()
    event = json.loads(owed["body"])
    assert (event["call_id"], event["to"]["number"], event["from"]) == (
        "aaaaaaaaaaaa-aaaaaaaaaaaa",
        "201",
        {"number": "+31101111111"},
    )
    patience = Patience(store, most=1)
    counting = asyncio.create_task(patience.run())
    parcel = Parcel(
        1, "a" * 32, None, "", "", "POST", "", (), "body", None, 0.0, 3, subscription=owed["subscription"], plan="short"
    )
    patience.settled(parcel, Outcome(status=500))
    await asyncio.wait_for(patience._heard.join(), 10)
    counting.cancel()
    await asyncio.gather(counting, return_exceptions=True)
    async with store.reading() as connection:
        (found,) = (await connection.execute(select(EventSubscription.__table__))).mappings().all()
    assert (found["failures"], found["error"], found["suspended_at"] is not None) == (1, "HTTP status 500", True)

"""Projects, contacts and numbered calls on either database; what the end of a call makes of them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import alembic.command
from sqlalchemy import Connection, MetaData, Table, insert, select

from engine.accounts import callbook, repository
from engine.api.verboice import book, calls_book, channels_book, contacts_book, status
from engine.api.verboice.book import NamedSchedule
from engine.api.verboice.details import CallFacts, details
from engine.api.verboice.scheduled import cancel_with_schedule
from engine.callbacks import ledger, records
from engine.callbacks.announcing import Announcements
from engine.callbacks.journal import Journal
from engine.callbacks.rows import pending_row
from engine.callbacks.writer import Writer
from engine.campaigns import queue
from engine.campaigns.dialler import Wanted
from engine.campaigns.queue import Order
from engine.campaigns.schedule import Schedule
from engine.campaigns.settling import Settler
from engine.store import Store
from engine.store.database import migration_config
from engine.store.models import Delivery

LONG = "9" * 400


async def account_in(store: Store, name: str = "one") -> str:
    await store.migrate()
    async with store.writing() as connection:
        return (await repository.add_account(connection, name)).id


async def test_projects_and_what_they_have(store: Store) -> None:
    account, other = await account_in(store), await account_in(store, "other")
    async with store.writing() as connection:
        first = await book.first_project(connection, account)
        assert await book.first_project(connection, account) == first
        survey = await book.add_project(connection, account, "Survey", time_zone="Buenos Aires")
        assert await book.projects(connection, account) == [first, survey]
        assert await book.project(connection, other, survey.id) is None
        flows = [
            (await repository.save_flow(connection, account, name, "<Response/>", dialect="verboice")).flow
            for name in ("a", "b")
        ]
        await book.put_flow(connection, flows[1].id, survey.id)
        assert [flow.name for flow in await book.flows_of(connection, first)] == ["a"]
        assert [flow.name for flow in await book.flows_of(connection, survey)] == ["b"]
        assert await book.project_of_flow(connection, account, flows[1].id) == survey
        assert await book.project_of_flow(connection, account, None) == first
        numbers = await book.numbers_of(connection, account, "flow", [flow.id for flow in flows])
        assert await book.numbers_of(connection, account, "flow", [flows[1].id]) == {flows[1].id: numbers[flows[1].id]}
        assert await book.target_of(connection, account, "flow", numbers[flows[0].id]) == flows[0].id
        assert not await book.target_of(connection, other, "flow", numbers[flows[0].id])
        wanted = NamedSchedule(0, "Office", "15m", "1,2", Schedule(frozenset({1, 2}), 32_400, 61_200, (900.0,)))
        schedule = await book.save_schedule(connection, survey.id, wanted)
        assert await book.schedules(connection, survey.id) == [schedule]
        entry = await queue.add(connection, Order(account_id=account, address="1", due_at=time.time() + 3600))
        call = await calls_book.add(
            connection, entry, project_id=survey.id, contact_id=None, schedule_id=schedule.id, status_url="", params={}
        )
        assert await calls_book.get(connection, account, call.id) == call
        assert await calls_book.get(connection, other, call.id) is None
        assert await cancel_with_schedule(connection, account, schedule.id) == [entry.id]
        await book.remove_project(connection, survey.id)
        assert await book.schedules(connection, survey.id) == []
        assert len(await book.flows_of(connection, first)) == 2


async def test_contacts(store: Store) -> None:
    account = await account_in(store)
    async with store.writing() as connection:
        project = await book.first_project(connection, account)
        age = await book.add_variable(connection, project.id, "age")
        town = await book.add_variable(connection, project.id, "town")
        ada = await contacts_book.add(connection, project.id, ["1", "sip:ada@example.org"])
        assert await contacts_book.known_as(connection, project.id, "1") == ada
        bob = await contacts_book.known_as(connection, project.id, LONG)
        assert (await contacts_book.known_as(connection, project.id, LONG)).id == bob.id
        await contacts_book.set_values(connection, [ada.id, bob.id], {age: "38", town: "Ivrea"})
        await contacts_book.set_values(connection, [ada.id], {age: "007"})
        told = [each.as_json() for each in await contacts_book.contacts(connection, project.id)]
        assert [each["vars"] for each in told] == [{"age": "007", "town": "Ivrea"}, {"age": 38, "town": "Ivrea"}]
        assert await book.remove_variable(connection, project.id, town)
        found = await contacts_book.by_address(connection, project.id, "sip:ada@example.org")
        assert found is not None
        assert found.vars == {"age": "007"}


async def test_channels_are_trunks(store: Store) -> None:
    account = await account_in(store)
    async with store.writing() as connection:
        trunk = await repository.add_trunk(connection, account, "line", {"host": "192.0.2.1"})
        (channel,) = await channels_book.channels(connection, account, [])
        assert (channel.enabled, channel.flow_id, channel.own) == (True, None, True)
        await channels_book.set_channel(connection, trunk.id, kind="custom", flow_id=None, enabled=False)
        found = await channels_book.channel_named(connection, account, [], "line")
        assert found is not None
        assert not found.enabled
        (number,) = (await book.numbers_of(connection, account, "trunk", [trunk.id])).values()
        assert await channels_book.channel_numbered(connection, account, [], number) == found


async def test_who_wants_it_is_told_and_contacts_remember(store: Store, tmp_path: Path) -> None:
    """A call out of the queue by Verboice's API, one that came in, and one of an account without projects."""
    account, other = await account_in(store), await account_in(store, "other")
    journal = Journal.open(tmp_path / "journal")
    announcements = Announcements()
    settler = Settler(lambda call: None)
    announcements.add(settler, settler.committed)
    announcements.add(status.Statuses())
    writer = Writer(journal, store, announcements=announcements)
    async with store.writing() as connection:
        project = await book.add_project(connection, account, "p", status_url="http://h/s?a=b", status_user="u")
        await book.add_variable(connection, project.id, "age")
        entry = await queue.add(connection, Order(account_id=account, address="+391", wish=Wanted().as_data()))
        call = await calls_book.add(
            connection,
            entry,
            project_id=project.id,
            contact_id=None,
            schedule_id=None,
            status_url="",
            params={"k": "v"},
        )
        assert await queue.claim(connection, {entry.id: "c1"}, time.time()) == {entry.id}
        wanted = await status.prepared(connection, entry, Wanted(variables={"age": "1"}))
        assert wanted.facts == {"call.id": str(call.id), "call.caller": "+391", "param.k": "v"}

    def happens(name: str, owner: str, **more: Any) -> None:
        journal.append(records.CallStarted(1.0, call=name, caller=LONG, callee="+391", account=owner, **more))
        if more:
            journal.append(records.Rang(2.0, call=name))
        journal.append(records.CallAnswered(3.0, call=name))
        note = {"is": "Learned", "variables": {"var.age": "38", "var.other": "x"}}
        journal.append(records.Noted(4.0, call=name, note=note))
        journal.append(records.CallFinished(5.0, call=name, by="flow", reason="", duration=2.5, sip_status=200))

    happens("c1", account, direction="outbound")
    happens("c2", account)
    happens("c3", other)
    while await writer._step():
        pass
    journal.close()
    async with store.reading() as connection:
        rows = (await connection.execute(select(Delivery.__table__).order_by(Delivery.id))).mappings().all()
        people = await contacts_book.contacts(connection, project.id)
        row = await callbook.call(connection, account, "c2")
        assert row is not None
    told = [(row["call_id"], dict(row["params"])) for row in rows]
    mine = {"CallSid": str(call.id), "From": "+391", "k": "v"}
    assert [params for name, params in told if name == "c1"] == [
        {**mine, "CallStatus": "ringing"},
        {**mine, "CallStatus": "in-progress", "CallDuration": "0"},
        {**mine, "CallStatus": "completed", "CallDuration": "2"},
    ]
    assert [params["CallStatus"] for name, params in told if name == "c2"] == ["in-progress", "completed"]
    assert {name for name, _ in told} == {"c1", "c2"}
    assert {(row["url"], row["signer"], row["secret"]) for row in rows} == {("http://h/s?a=b", "basic", "u:")}
    assert [(each.addresses, each.vars) for each in people] == [
        (["+391"], {"age": "38"}),
        ([LONG[:255]], {"age": "38"}),
    ]
    async with store.writing() as connection:
        numbered = await calls_book.of_call(connection, row)
        assert await calls_book.of_call(connection, row) == numbered
        late = await queue.add(connection, Order(account_id=account, address="+392", not_after=9.0))
        await calls_book.add(
            connection,
            late,
            project_id=project.id,
            contact_id=None,
            schedule_id=None,
            status_url="http://o/",
            params={},
        )
        gone = await queue.expire(connection, 10.0)
        assert [each.id for each in gone] == [late.id]
        await status.unmade(connection, gone)
        last = (await connection.execute(select(Delivery.__table__).order_by(Delivery.id.desc()))).mappings().first()
        assert last is not None
        seen = [await ledger.entries(connection, account, state=state) for state in (None, "pending", "dead")]
        assert await ledger.entry(connection, other, last["id"]) is None
        assert await ledger.redeliver(connection, other, last["id"]) is None
        again = await ledger.redeliver(connection, account, last["id"])
        page = await ledger.entries(connection, account, before=last["id"], limit=2)
        theirs = await ledger.entries(connection, other)
    assert (last["url"], dict(last["params"])["CallStatus"], last["signer"]) == ("http://o/", "expired", None)
    assert [[each.id for each in found] for found in seen] == [[6, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1], []]
    assert again is not None
    assert (again.id, again.call_id) == (last["id"], f"queued-{late.id}")
    assert ([each.id for each in page], theirs) == ([5, 4], [])


def _before_owners(connection: Connection) -> None:
    config = migration_config()
    config.attributes["connection"] = connection
    alembic.command.downgrade(config, "0015")


async def test_calls_that_expired_before_an_upgrade_are_whose_they_are(store: Store) -> None:
    """Deliveries of an earlier version for calls that were never made say no account."""
    account = await account_in(store)
    async with store.writing() as connection:
        late = await queue.add(connection, Order(account_id=account, address="+392"))
    async with store.writing() as connection:
        await connection.run_sync(_before_owners)
        row = pending_row(f"queued-{late.id}", 1.0, "http://h/")
        del row["account_id"]
        table = await connection.run_sync(lambda sync: Table("deliveries", MetaData(), autoload_with=sync))
        await connection.execute(insert(table), [row, {**row, "call_id": "queued-x"}])
    await store.migrate()
    async with store.reading() as connection:
        assert [each.call_id for each in await ledger.entries(connection, account)] == [f"queued-{late.id}"]


async def test_who_wants_it_is_told_of_calls_that_may_not_be_made(store: Store) -> None:
    account = await account_in(store)
    told: list[tuple[str, dict[str, str]]] = []
    async with store.writing() as connection:
        project = await book.add_project(connection, account, "p", status_url="http://h/s", status_user="u")
        for number, result in enumerate(("refused", "no-flow")):
            entry = await queue.add(connection, Order(account_id=account, address=f"+39{number}"))
            about: dict[str, Any] = {"project_id": project.id, "contact_id": None, "schedule_id": None}
            call = await calls_book.add(connection, entry, **about, status_url="", params={"k": "v"})
            await queue.claim(connection, {entry.id: f"c{number}"}, time.time())
            over = await queue.refuse(connection, entry.id, f"c{number}", result, "why")
            await status.unmade(connection, over)
            shown = details(CallFacts(call, over[0], None, live=False), {})
            told.append((shown["fail_reason"], {"CallSid": str(call.id), "From": f"+39{number}", "k": "v"}))
            assert shown["fail_details"] == "why"
        rows = (await connection.execute(select(Delivery.__table__).order_by(Delivery.id))).mappings().all()
    assert [reason for reason, _ in told] == ["error", "no-call-flow"]
    assert [dict(row["params"]) for row in rows] == [
        {**mine, "CallStatus": "failed", "CallStatusReason": reason} for reason, mine in told
    ]


async def test_what_several_make_at_the_same_time_is_there_once(store: Store) -> None:
    account = await account_in(store)

    async def ask(number: int) -> tuple[int, int, int]:
        async with store.writing() as connection:
            project = await book.first_project(connection, account)
            await asyncio.sleep(0)  # on PostgreSQL the others are at the same place now
            contact = await contacts_book.known_as(connection, project.id, "+391")
            numbers = await book.numbers_of(connection, account, "flow", ["f"])
        return project.id, contact.id, numbers["f"]

    assert len(set(await asyncio.gather(*map(ask, range(4))))) == 1

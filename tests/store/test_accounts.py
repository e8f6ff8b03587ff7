"""Accounts in the database: nobody sees another's rows, names are told apart, tokens and versions."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from engine.accounts import callbook, repository, tokens
from engine.accounts import entities as e
from engine.accounts.repository import Taken, Unknown
from engine.callbacks.records import (
    CallAnswered,
    CallFinished,
    CallStarted,
    LegAnswered,
    LegFinished,
    LegStarted,
)
from engine.callbacks.rows import Batch
from engine.store import Store
from engine.store import accounts as tables
from engine.store.models import Base

KINDS: list[type[e.Owned]] = [e.User, e.Device, e.Group, e.Flow, e.Number, e.Extension, e.Trunk, e.Media]


async def fill(store: Store, name: str, number: str) -> e.Account:
    """An account with one of everything."""
    async with store.writing() as connection:
        account = await repository.add_account(connection, name)
        device = await repository.add_device(connection, account.id, f"desk-{name}", {"password": "x"})
        user = await repository.add_user(connection, account.id, "anna", role="owner", devices=[device.name])
        await repository.add_group(connection, account.id, "all", ["anna", device.name])
        version = await repository.save_flow(connection, account.id, "hello", '{"_": "hello"}')
        await repository.add_number(connection, account.id, number, version.flow.id)
        await repository.add_extension(connection, account.id, "201", user_id=user.id)
        await repository.add_trunk(connection, account.id, "out", {"host": "192.0.2.1"})
        await repository.add_media(connection, account.id, "moo", content_type="audio/wav", digest="0" * 64, size=3)
    return account


async def test_an_account_sees_its_own_rows_and_no_others(store: Store) -> None:
    await store.migrate()
    one, other = await fill(store, "one", "1000"), await fill(store, "other", "2000")
    async with store.reading() as connection:
        for kind in KINDS:
            (mine,) = await repository.all_of(connection, kind, one.id)
            (theirs,) = await repository.all_of(connection, kind, other.id)
            assert (mine.account_id, theirs.account_id) == (one.id, other.id)
            assert await repository.get(connection, kind, one.id, mine.id) == mine
            with pytest.raises(Unknown):
                await repository.get(connection, kind, one.id, theirs.id)
            assert len(await repository.all_of(connection, kind, None)) == 2
        (flow,) = await repository.all_of(connection, e.Flow, other.id)
        with pytest.raises(Unknown):
            await repository.flow_version(connection, one.id, flow.id)
        assert [user.devices for user in await repository.users(connection, one.id)] == [("desk-one",)]
    async with store.writing() as connection:
        (user,) = await repository.users(connection, other.id)
        for wrong in (
            repository.add_number(connection, one.id, "3000", flow.id),
            repository.add_extension(connection, one.id, "202", user_id=user.id),
            repository.add_user(connection, one.id, "bert", devices=["desk-other"]),
            repository.add_group(connection, one.id, "some", ["desk-other"]),
            tokens.issue(connection, one.id, user.id),
            repository.remove(connection, e.Flow, one.id, flow.id),
        ):
            with pytest.raises(Unknown):
                await wrong


async def test_what_is_taken(store: Store) -> None:
    await store.migrate()
    one, other = await fill(store, "one", "1000"), await fill(store, "other", "2000")
    async with store.writing() as connection:
        (flow,) = await repository.all_of(connection, e.Flow, other.id)
        for again in (
            repository.add_account(connection, "one"),
            repository.add_number(connection, other.id, "1000", flow.id),
            repository.add_device(connection, other.id, "desk-one", {}),
            repository.add_user(connection, one.id, "anna"),
            repository.add_trunk(connection, one.id, "out", {}),
            repository.save_flow(connection, one.id, "hello", "x", source="/file"),
        ):
            with pytest.raises(Taken):
                await again


async def test_an_account_takes_everything_with_it(store: Store) -> None:
    await store.migrate()
    one, other = await fill(store, "one", "1000"), await fill(store, "other", "2000")
    async with store.writing() as connection:
        await connection.execute(text("DELETE FROM accounts WHERE id = :id"), {"id": one.id})
    async with store.reading() as connection:
        for kind in KINDS:
            rows = await repository.all_of(connection, kind, None)
            assert [row.account_id for row in rows] == [other.id]
        assert len((await connection.execute(select(tables.FlowVersion.flow_id))).all()) == 1
        assert len((await connection.execute(select(tables.UserDevice.user_id))).all()) == 1


async def test_a_flow_gets_a_version_when_it_changes(store: Store) -> None:
    await store.migrate()
    async with store.writing() as connection:
        one = await repository.add_account(connection, "one")
        first = await repository.save_flow(connection, one.id, "menu", "a")
        assert await repository.save_flow(connection, one.id, "menu", "a") == first
        second = await repository.save_flow(connection, one.id, "menu", "b")
        third = await repository.save_flow(connection, one.id, "menu", "b", dialect="kazoo")
        assert [each.number for each in (first, second, third)] == [1, 2, 3]
        assert {each.flow.id for each in (first, second, third)} == {first.flow.id}
        newest = await repository.flow_version(connection, one.id, "menu")
        assert (newest.number, newest.document, newest.flow.dialect) == (3, "b", "kazoo")
        assert (await repository.flow_version(connection, one.id, first.flow.id, 1)).document == "a"
        with pytest.raises(Unknown):
            await repository.flow_version(connection, one.id, "menu", 4)
        assert [each.document for each in await repository.flow_versions(connection, one.id, "menu")] == ["a", "b", "b"]
        newest_of_all = await repository.newest_versions(connection, {first.flow.id})
        assert newest_of_all[first.flow.id].number == 3


async def test_tokens(store: Store) -> None:
    await store.migrate()
    async with store.writing() as connection:
        account = await repository.add_account(connection, "default", id=tables.DEFAULT_ACCOUNT)
        first = await tokens.first(connection)
        assert await tokens.first(connection) == ""
        caller = await tokens.verify(connection, first)
        assert caller is not None
        assert (caller.account_id, caller.role, caller.may("calls.write")) == (account.id, "owner", True)
        assert await tokens.verify(connection, first + "x") is None
        assert await tokens.verify(connection, "") is None
        viewer = await repository.add_user(connection, account.id, "vic", role="viewer")
        short = await tokens.issue(connection, account.id, viewer.id, lifetime=60)
        seen = await tokens.verify(connection, short)
        assert seen is not None
        assert (seen.may("calls.read"), seen.may("calls.write")) == (True, False)
        await connection.execute(text("UPDATE api_tokens SET expires_at = 1 WHERE expires_at IS NOT NULL"))
        assert await tokens.verify(connection, short) is None
        await tokens.revoke(connection, first)
        assert await tokens.verify(connection, first) is None
        hashes = (await connection.execute(select(tables.ApiToken.hash))).scalars().all()
        assert all(len(each) == 64 and first not in each for each in hashes)


async def test_calls_and_legs_are_those_of_an_account(store: Store) -> None:
    await store.migrate()
    batch = Batch()
    for number, account in enumerate(("one", "other", "one"), 1):
        call = f"c{number}"
        batch.add(CallStarted(float(number), call=call, caller="1", callee="2", direction="outbound", account=account))
        batch.add(LegStarted(number + 0.1, call=call, leg=f"{call}-leg1", to="2 via t", trunk="t"))
        batch.add(LegAnswered(number + 0.2, call=call, leg=f"{call}-leg1", dialog={"x": 1}))
        batch.add(CallAnswered(number + 0.3, call=call))
        batch.add(LegAnswered(number + 0.4, call=call, leg=f"{call}-leg1", dialog={}))
    batch.add(LegFinished(9.0, call="c1", leg="c1-leg1", by="remote", reason="x", sip_status=200, duration=7.8))
    batch.add(
        CallFinished(9.0, call="c1", by="caller", reason="x", sip_status=486, sip_reason="Busy", cause="USER_BUSY")
    )
    async with store.writing() as connection:
        await batch.store(connection)
    async with store.reading() as connection:
        mine = await callbook.calls(connection, "one")
        assert [each.id for each in mine] == ["c3", "c1"]
        assert [each.id for each in await callbook.calls(connection, "one", before=(3.0, "c3"))] == ["c1"]
        assert [each.id for each in await callbook.calls(connection, "one", limit=1)] == ["c3"]
        assert await callbook.calls(connection, "one", direction="inbound") == []
        assert [each.id for each in await callbook.calls(connection, "one", only_ended=True)] == ["c1"]
        assert await callbook.call(connection, "other", "c1") is None
        assert await callbook.legs(connection, "other", "c1") == []
        ended = await callbook.call(connection, "one", "c1")
        assert ended is not None
        assert (ended.sip_status, ended.sip_reason, ended.cause) == (486, "Busy", "USER_BUSY")
        (leg,) = await callbook.legs(connection, "one", "c1")
        assert (leg.callee, leg.trunk, leg.answered_at, leg.finished_at, leg.duration) == (
            "2 via t",
            "t",
            1.2,
            9.0,
            7.8,
        )


def test_every_table_of_accounts_has_an_account() -> None:
    """What belongs to an account goes with it; calls, what is owed to web servers, and the audit log stay."""
    outlive = {"calls", "deliveries", "audit"}
    theirs = {table.name for table in Base.metadata.sorted_tables if "account_id" in table.c}
    assert {each.name for each in Base.metadata.sorted_tables if "accounts" in _referred(each)} == theirs - outlive


def _referred(table: object) -> set[str]:
    return {key.column.table.name for key in table.foreign_keys}  # type: ignore[attr-defined]

"""Migrations and connections, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import alembic.command
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, inspect, select, text
from sqlalchemy.exc import OperationalError

from engine.callbacks.journal import Journal
from engine.callbacks.outbox import Outbox, Outcome, Parcel
from engine.callbacks.records import CallFinished, CallStarted, Noted, note_to_data
from engine.callbacks.rows import Batch
from engine.callbacks.writer import Writer, _is_about_data
from engine.store import Store
from engine.store.database import SQLITE_MEMORY, migration_config
from engine.store.models import Base, Call, Delivery, JournalCheckpoint
from flows.call import Callback

CHECKPOINT = {"segment": "s", "position": 1}


async def test_migrations_make_exactly_the_tables_of_the_models(store: Store) -> None:
    await store.migrate()
    await store.migrate()  # nothing left to do
    async with store.reading() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts={"compare_type": True}), Base.metadata)
        )
    assert differences == []


async def test_migrations_go_down_and_up_again(store: Store) -> None:
    await store.migrate()

    def down(connection: Connection) -> None:
        config = migration_config()
        config.attributes["connection"] = connection
        alembic.command.downgrade(config, "base")

    async with store.writing() as connection:
        await connection.run_sync(down)
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert names == ["alembic_version"]
    await store.migrate()


def test_there_is_one_line_of_migrations() -> None:
    assert len(ScriptDirectory.from_config(migration_config()).get_heads()) == 1


async def test_page_caches_of_sqlite_have_one_limit(tmp_path: Path) -> None:
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/ivrea.db")
    async with store.reading() as connection:
        assert await connection.scalar(text("PRAGMA soft_heap_limit")) == SQLITE_MEMORY
    await store.close()


async def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    await store.migrate()

    async def fail() -> None:
        async with store.writing() as connection:
            await connection.execute(insert(JournalCheckpoint), CHECKPOINT)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with store.reading() as connection:
        assert (await connection.execute(select(JournalCheckpoint.segment))).all() == []


async def test_writers_wait_for_each_other_and_readers_for_nobody(store: Store) -> None:
    await store.migrate()
    async with store.writing() as connection:
        await connection.execute(insert(JournalCheckpoint), CHECKPOINT)

    async def count_up() -> None:
        async with store.writing() as connection:
            row = select(JournalCheckpoint.position).with_for_update()
            position: int | None = await connection.scalar(row)
            await asyncio.sleep(0.001)
            await connection.execute(
                text("UPDATE journal_checkpoint SET position = :next"), {"next": (position or 0) + 1}
            )

    await asyncio.gather(*(count_up() for _ in range(12)))
    async with store.writing() as writer:
        await writer.execute(text("UPDATE journal_checkpoint SET position = 99"))
        async with asyncio.timeout(2), store.reading() as reader:
            assert await reader.scalar(select(JournalCheckpoint.position)) == 13


async def test_journal_to_outbox(store: Store, tmp_path: Path) -> None:
    """The whole way, with what a database might not like: NUL, quotes, letters beyond ASCII, repeated ids."""
    await store.migrate()
    journal = Journal.open(tmp_path / "journal")
    taken: list[Parcel] = []

    async def send(parcel: Parcel) -> Outcome:
        taken.append(parcel)
        return Outcome(status=200)

    outbox = Outbox(store, send, keep=60)
    writer = Writer(journal, store, on_deliveries=outbox.wake)
    tasks = [asyncio.create_task(writer.run()), asyncio.create_task(outbox.run())]
    for call in ("a", "a", "b"):
        journal.append(CallStarted(1.0, call=call, caller="'\0ș\U0001f600", callee="1000"))
        for seq in ("1", "2"):
            note = Callback("http://h/?ț", {"e": "open", "seq": seq, "path": "\0'"})
            journal.append(Noted(2.0, call=call, note=note_to_data(note)))
        journal.append(CallFinished(3.0, call=call, by="caller", reason="x", stats={"jitter": 1.5}))
    journal.append(CallStarted(1.0, call="x" * 300, caller="", callee=""))  # longer than the column
    journal.append(CallFinished(3.0, call="b", by="b" * 17, reason="x", sip_status=1 << 40))  # a wider number
    assert await writer.flush(10)
    assert await outbox.close(10)
    tasks[0].cancel()
    await asyncio.wait(tasks)
    journal.close()
    assert [(each.call_id, each.seq) for each in taken if each.call_id == "b"] == [("b", 1), ("b", 2)]
    assert len(taken) == 6
    async with store.reading() as connection:
        calls = (await connection.execute(select(Call.id, Call.caller, Call.stats).order_by(Call.id))).all()
        states = set(await connection.scalars(select(Delivery.state)))
    assert [(row.caller, row.stats) for row in calls[:2]] == [
        ("'\N{REPLACEMENT CHARACTER}ș\U0001f600", {"jitter": 1.5})
    ] * 2
    assert states == {"delivered"}
    assert writer.counters.refused == (1 if store.is_sqlite else 3), "SQLite has no lengths, PostgreSQL has"


async def test_errors_about_data_are_told_from_outages(store: Store) -> None:
    await store.migrate()
    batch = Batch()
    batch.add(CallStarted(1.0, call="a", caller="", callee=""))
    async with store.writing() as connection:
        await batch.store(connection)
    caught: list[Any] = []
    for statement in ("INSERT INTO calls SELECT * FROM calls", "SELECT * FROM nowhere"):
        try:
            async with store.writing() as connection:
                await connection.execute(text(statement))
        except Exception as error:  # noqa: BLE001 - the kind is what is judged
            caught.append(error)
    assert [_is_about_data(error) for error in caught] == [True, False]


async def test_a_database_out_of_reach_is_an_error_at_once() -> None:
    store = Store("postgresql+asyncpg://ivrea@127.0.0.1:1/none")
    with pytest.raises((OSError, OperationalError)):
        await store.migrate()
    await store.close()

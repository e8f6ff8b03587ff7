"""What happened to calls becomes deliveries in the transaction that stores it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.callbacks import records
from engine.callbacks.announcing import Announcements, Happening, owed
from engine.callbacks.journal import Journal
from engine.callbacks.rows import Row
from engine.callbacks.writer import Writer
from engine.store import Store
from engine.store.models import Delivery


class Webhook:
    """Tells every event of an account to one URL."""

    def __init__(self, account: str) -> None:
        self.account = account
        self.seen: list[str] = []

    def wants(self) -> bool:
        return True

    async def announce(self, connection: AsyncConnection, happenings: Sequence[Happening]) -> Iterable[Row]:
        mine = [each for each in happenings if each.call.account_id == self.account]
        self.seen += [type(each.record).__name__ for each in mine]
        return [
            owed(each.call.id, each.record.at, "https://hooks.example/x", type(each.record).__name__, subscription="s1")
            for each in mine
        ]


async def test_each_event_is_owed_once_whatever_is_said_again(store: Store, tmp_path: Path) -> None:
    await store.migrate()
    journal = Journal.open(tmp_path / "journal")
    announcements, webhook = Announcements(), Webhook("a1")
    announcements.add(webhook)
    writer = Writer(journal, store, announcements=announcements)
    for record in (
        records.CallStarted(1.0, call="c1", caller="1", callee="2", account="a1"),
        records.CallStarted(1.5, call="c2", caller="1", callee="2", account="other"),
        records.LegStarted(2.0, call="c1", leg="l1", to="sip:3@example"),
        records.LegAnswered(3.0, call="c1", leg="l1", dialog={"x": 1}),
        records.LegAnswered(4.0, call="c1", leg="l1", dialog={"x": 2}),
        records.CallAnswered(5.0, call="c1"),
        records.Transferred(5.5, call="c1", kind="blind", before=("1", "2"), after=("3", "2")),
        records.LegStarted(5.6, call="c1", leg="l2", to="1", was=True),  # the caller, who leaves the line
        records.LegAnswered(5.6, call="c1", leg="l2", dialog={"x": 3}),
        records.LegFinished(5.9, call="c1", leg="l2", by="local", reason=""),
        records.LegFinished(6.0, call="c1", leg="l1", by="remote", reason=""),
        records.CallFinished(7.0, call="c1", by="caller", reason="hung up"),
        records.CallFinished(8.0, call="c1", by="error", reason="said again"),
        records.CallFinished(8.5, call="never", by="error", reason="of no call"),
    ):
        journal.append(record)
    while await writer._step():
        pass
    told = ["CallStarted", "LegStarted", "LegAnswered", "CallAnswered", "Transferred", "LegFinished", "CallFinished"]
    assert webhook.seen == told
    async with store.reading() as connection:
        rows = (await connection.execute(select(Delivery.__table__).order_by(Delivery.id))).mappings().all()
    assert [row["body"] for row in rows] == told
    assert {(row["call_id"], row["subscription"], row["state"]) for row in rows} == {("c1", "s1", "pending")}
    assert len({row["lane"] for row in rows}) == 1, "they go out in order"
    journal.close()


async def test_who_announces_is_told_when_all_can_see_it(store: Store, tmp_path: Path) -> None:
    """Somebody who looks into the database because of it must not find it as it was before."""
    await store.migrate()
    journal = Journal.open(tmp_path / "journal")
    seen: list[str] = []
    announcements, webhook = Announcements(), Webhook("a1")
    announcements.add(webhook, lambda: seen.append("told"))
    writing = store.writing

    @asynccontextmanager
    async def watched() -> AsyncIterator[AsyncConnection]:
        async with writing() as connection:
            yield connection
            seen.append("announced" if webhook.seen else "")
        seen.append("stored")

    store.writing = watched  # type: ignore[method-assign]
    writer = Writer(journal, store, announcements=announcements)
    journal.append(records.CallStarted(1.0, call="c1", caller="1", callee="2", account="a1"))
    while await writer._step():
        pass
    journal.close()
    assert seen == ["announced", "stored", "told"]

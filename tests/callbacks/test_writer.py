"""Journal to database: every record once, whatever fails in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.callbacks import records, segments
from engine.callbacks.journal import Journal
from engine.callbacks.records import (
    CallAnswered,
    CallFinished,
    CallStarted,
    Noted,
    RecordingFinished,
    RecordingStarted,
)
from engine.callbacks.writer import OLDER_REFUSED_FILE, REFUSED_FILE, Writer, _append_line
from engine.store import Store
from engine.store.models import Call, CallEvent, Delivery, JournalCheckpoint, Recording
from flows import call as flow_call

Until = Callable[..., Awaitable[None]]


async def no_delay(_seconds: float) -> None:
    await asyncio.sleep(0)


@asynccontextmanager
async def running(journal: Journal, store: Store, **options: Any) -> AsyncIterator[Writer]:
    writer = Writer(journal, store, sleep=no_delay, **options)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()


async def rows(store: Store, model: Any) -> list[dict[str, Any]]:
    async with store.reading() as connection:
        found = await connection.execute(select(model.__table__).order_by(*model.__table__.primary_key.columns))
        return [dict(row) for row in found.mappings()]


def callback(call: str, seq: int, url: str = "http://example.net/x?a=1") -> Noted:
    note = flow_call.Callback(url, {"e": "tree", "id": call, "seq": str(seq)})
    return Noted(float(seq), call=call, note=records.note_to_data(note))


def tell_a_call(journal: Journal, call: str) -> None:
    journal.append(CallStarted(1.0, call=call, caller="+391", callee="1000", sip_call_id="s@h", flow="f", source="t"))
    journal.append(CallAnswered(2.0, call=call, dialog={"x": 1}))
    journal.append(Noted(2.1, call=call, note=records.note_to_data(flow_call.Entered("a/b", "/a"))))
    journal.append(callback(call, 1))
    journal.append(RecordingStarted(2.2, call=call, path=f"/r/{call}.wav"))
    journal.append(callback(call, 2))
    journal.append(RecordingFinished(4.0, call=call, path=f"/r/{call}.wav", seconds=1.5, lost=3))
    journal.append(
        CallFinished(
            4.5, call=call, by="flow", reason="said all", sip_status=200, q850=16, path="a/b", duration=2.5,
            stats={"lost": 0},
        )
    )  # fmt: skip


async def test_a_call_in_the_tables(journal: Journal, store: Store) -> None:
    news: list[int] = []
    tell_a_call(journal, "c1")
    async with running(journal, store, on_deliveries=lambda: news.append(1)) as writer:
        assert await writer.flush(5)
        journal.append(callback("c1", 3))
        assert await writer.flush(5)
    assert len(news) == 2
    (call,) = await rows(store, Call)
    assert call == {
        "id": "c1", "direction": "inbound", "caller": "+391", "callee": "1000", "sip_call_id": "s@h", "flow": "f",
        "source": "t", "started_at": 1.0, "answered_at": 2.0, "finished_at": 4.5, "ended_by": "flow",
        "reason": "said all", "sip_status": 200, "q850": 16, "path": "a/b", "duration": 2.5, "stats": {"lost": 0},
        "account_id": "default", "flow_version": 0, "sip_reason": None, "cause": None,
    }  # fmt: skip
    (event,) = await rows(store, CallEvent)
    assert (event["kind"], event["at"], event["detail"]) == ("Entered", 2.1, {"path": "a/b", "step": "/a"})
    (recording,) = await rows(store, Recording)
    assert (recording["path"], recording["seconds"], recording["lost"]) == ("/r/c1.wav", 1.5, 3)
    deliveries = await rows(store, Delivery)
    assert [row["seq"] for row in deliveries] == [1, 2, 3]
    first = deliveries[0]
    assert first["url"] == "http://example.net/x?a=1"
    assert first["params"] == [["e", "tree"], ["id", "c1"], ["seq", "1"]]
    assert (first["host"], first["state"], first["attempts"], first["due_at"]) == ("example.net", "pending", 0, 1.0)
    assert len({row["lane"] for row in deliveries}) == 1


async def test_segments_go_once_stored_and_their_checkpoints_follow(tmp_path: Path, store: Store) -> None:
    journal = Journal.open(tmp_path / "journal", segment_size=500)
    async with running(journal, store) as writer:
        for number in range(30):
            tell_a_call(journal, f"c{number}")
        assert await writer.flush(5)
        left = segments.segments_in(journal.folder)
        assert len(left) == 1
        tell_a_call(journal, "more")
        assert await writer.flush(5)
        tell_a_call(journal, "and more")
        assert await writer.flush(5)
    journal.close()
    names = {segment.name for segment in segments.segments_in(journal.folder)}
    assert {row["segment"] for row in await rows(store, JournalCheckpoint)} == names
    assert len(await rows(store, Call)) == 32
    assert len(await rows(store, Delivery)) == 64


async def test_a_restart_goes_on_where_the_last_life_was(tmp_path: Path, store: Store) -> None:
    for life in range(4):
        journal = Journal.open(tmp_path / "journal")
        tell_a_call(journal, f"life{life}")
        async with running(journal, store) as writer:
            assert await writer.flush(5)
            assert writer.counters.refused == 0
        journal.append(callback(f"life{life}", 3))  # nobody stores this in this life
        journal.close()
    assert len(await rows(store, Call)) == 4
    journal = Journal.open(tmp_path / "journal")
    async with running(journal, store) as writer:
        assert await writer.flush(5)
    journal.close()
    assert len(await rows(store, Delivery)) == 12


class Faulty(Store):
    """A store whose transactions fail as ``script`` says: ``before`` or ``after`` the commit, or hang."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.script: list[str] = []
        self.reads_fail = 0

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        step = self.script.pop(0) if self.script else "ok"
        async with super().writing() as connection:
            yield connection
            if step == "before":
                raise OperationalError("commit", {}, Exception("server closed the connection"))
        if step == "after":
            raise OperationalError("commit", {}, Exception("server closed the connection"))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        if self.reads_fail:
            self.reads_fail -= 1
            raise ConnectionRefusedError("no server")
        async with super().reading() as connection:
            yield connection


@pytest.fixture
async def faulty(tmp_path: Path, store: Store) -> AsyncIterator[Faulty]:
    faulty = Faulty(f"sqlite+aiosqlite:///{tmp_path / 'ivrea.db'}")
    yield faulty
    await faulty.close()


@pytest.mark.parametrize(
    "script",
    [["before"], ["after"], ["before", "after", "before"], ["after", "after"], ["ok", "after", "ok", "before"]],
)
async def test_a_failed_commit_neither_loses_nor_doubles(journal: Journal, faulty: Faulty, script: list[str]) -> None:
    """``after`` is the bad one: the commit went through and its answer was lost."""
    faulty.script = list(script)
    async with running(journal, faulty) as writer:
        for number in range(5):
            tell_a_call(journal, f"c{number}")
            assert await writer.flush(5)
        assert writer.counters.failures == sum(step != "ok" for step in script)
    assert faulty.script == []
    assert len(await rows(faulty, Call)) == 5
    assert [(row["call_id"], row["seq"]) for row in await rows(faulty, Delivery)] == [
        (f"c{number}", seq) for number in range(5) for seq in (1, 2)
    ]


async def test_a_database_that_is_gone_for_a_minute(journal: Journal, faulty: Faulty) -> None:
    faulty.reads_fail = 20
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    tell_a_call(journal, "a")
    writer = Writer(journal, faulty, sleep=sleep)
    task = asyncio.create_task(writer.run())
    for number in range(100):
        tell_a_call(journal, f"c{number}")  # takes no notice
    assert await writer.flush(5)
    task.cancel()
    await asyncio.wait([task])
    outage = pauses[:20]
    assert outage[0] == 0.1
    assert max(outage) == 5.0
    assert sum(outage) > 60
    assert len(await rows(faulty, Call)) == 101


async def test_flush_says_when_patience_was_not_enough(journal: Journal, faulty: Faulty) -> None:
    faulty.script = ["before"] * 1_000_000
    tell_a_call(journal, "a")
    async with running(journal, faulty) as writer:
        assert not await writer.flush(0.05)


async def test_records_that_the_database_refuses_block_nobody(journal: Journal, store: Store) -> None:
    tell_a_call(journal, "a")
    journal.append(CallStarted(1.0, call="a", caller="again", callee=""))  # the same id: integrity
    journal.append(CallFinished(1.0, call="a", by="flow", reason="", sip_status=1 << 70))  # no integer of a database
    journal.append(Noted(1.0, call="a", note={"is": "Callback"}))  # no URL
    tell_a_call(journal, "b")
    async with running(journal, store) as writer:
        assert await writer.flush(5)
        assert writer.counters.refused == 3
    assert [row["caller"] for row in await rows(store, Call)] == ["+391", "+391"]
    assert len(await rows(store, Delivery)) == 4
    refused = [json.loads(line) for line in (journal.folder / REFUSED_FILE).read_text().splitlines()]
    assert [json.loads(each["line"])["is"] for each in refused] == ["CallStarted", "CallFinished", "Noted"]
    assert "IntegrityError" in refused[0]["why"]


async def test_damaged_lines_are_put_aside(tmp_path: Path, store: Store) -> None:
    journal = Journal.open(tmp_path / "journal")
    tell_a_call(journal, "a")
    tell_a_call(journal, "b")
    journal.close()
    (segment,) = segments.segments_in(journal.folder)
    path = journal.folder / segment.name
    lines = path.read_bytes().split(b"\n")
    lines[4] = b'{"is":"Noted","at":"never"}'
    path.write_bytes(b"\n".join(lines)[:-7])  # and the last one torn
    again = Journal.open(tmp_path / "journal")
    async with running(again, store) as writer:
        assert await writer.flush(5)
        assert (writer.counters.refused, writer.counters.torn) == (1, 1)
    again.close()
    assert len(await rows(store, Delivery)) == 3
    assert json.loads((journal.folder / REFUSED_FILE).read_text())["line"] == lines[4].decode()


async def test_nul_characters_do_not_reach_the_database(journal: Journal, store: Store) -> None:
    journal.append(CallStarted(1.0, call="a", caller="x\0y", callee="1000"))
    journal.append(Noted(1.0, call="a", note=records.note_to_data(flow_call.Heard("words", "a\0b"))))
    async with running(journal, store) as writer:
        assert await writer.flush(5)
    assert (await rows(store, Call))[0]["caller"] == "x\N{REPLACEMENT CHARACTER}y"
    assert (await rows(store, CallEvent))[0]["detail"]["value"] == "a\N{REPLACEMENT CHARACTER}b"


def test_what_was_refused_takes_so_much_room_and_no_more(tmp_path: Path) -> None:
    """The oldest goes first; what is kept are whole lines, but for one that is larger than half of all."""
    path, older = tmp_path / REFUSED_FILE, tmp_path / OLDER_REFUSED_FILE
    for number in range(100):
        _append_line(path, b"%040d\n" % number, 1000)
    kept = (older.read_bytes() + path.read_bytes()).splitlines()
    assert kept == [b"%040d" % number for number in range(100 - len(kept), 100)]
    assert 500 < older.stat().st_size + path.stat().st_size <= 1000
    _append_line(path, b"x" * 5000, 1000)
    assert path.stat().st_size <= 500
    for _ in range(100):
        _append_line(tmp_path / "any", b"%040d\n" % 1, 0)
    assert (tmp_path / "any").stat().st_size == 4100

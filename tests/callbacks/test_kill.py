"""``kill -9`` at random moments: nothing that was appended is lost, nothing is in the database twice."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import killable
import pytest
from database_server import DatabaseServer
from sqlalchemy import select

from engine.callbacks.journal import Journal
from engine.callbacks.segments import segments_in
from engine.store import Store
from engine.store.models import Call, Delivery, JournalCheckpoint

KILLS = 50
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["killable"])

EVENTS = {
    "http://h/": {("1", "2", "3")[:told] for told in range(4)},
    killable.WEBHOOK: {
        ("callCreated/starting", "callUpdated/ended"),
        ("callCreated/starting", "callUpdated/ongoing", "callUpdated/ended"),
    },
    killable.SUBSCRIPTION: {("created", "terminated"), ("created", "answered", "terminated")},
}
"""What a call may have told, by URL: a kill leaves out what had not happened yet, and never the end."""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork server, which begins with the first life, finds what it is to import beforehand."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.peer("initdb", "pg_ctl", "postgres"))])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'ivrea.db'}"
        return
    with DatabaseServer() as server:
        yield server.url


def live(folder: Path, url: str, life: str, lines: int | None, seconds: float = 0.0) -> list[str]:
    """One life, killed ``seconds`` after it has said ``lines``; what it says was appended."""
    said = folder / f"said-{life}"
    process = PROCESSES.Process(target=killable.live, args=(folder, url, life))
    process.start()
    if lines is None:
        process.join(90)
        assert process.exitcode == 0
    else:
        deadline = time.monotonic() + 30
        while not (said.exists() and said.read_bytes().count(b"\n") >= lines) and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(seconds)
        process.kill()
        process.join(10)
        assert process.exitcode == -signal.SIGKILL
    return said.read_text().splitlines()


def by_lane(lines: list[str]) -> dict[str, dict[str, list[str]]]:
    """URL → call → events in order, of a repeat the first."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in dict.fromkeys(lines):
        url, call, event = line.split()
        found.setdefault(url, {}).setdefault(call, []).append(event)
    return found


async def test_nothing_lost_nothing_twice(tmp_path: Path, database: str) -> None:
    chance = random.Random(7)
    store = Store(database)
    await killable.prepare(store)
    said: list[str] = []
    for life in range(KILLS):
        said += await asyncio.to_thread(
            live, tmp_path, database, str(life), chance.randint(1, 40), chance.uniform(0.0, 0.02)
        )
    last = await asyncio.to_thread(live, tmp_path, database, "last", None)
    assert last == [killable.FINISHED]

    async with store.reading() as connection:
        deliveries = list(await connection.execute(select(Delivery).order_by(Delivery.id)))
        checkpoints = list(await connection.scalars(select(JournalCheckpoint.segment)))
        calls = {row.id: row.finished_at for row in await connection.execute(select(Call.id, Call.finished_at))}
    await store.close()
    owed = [killable.what(each) for each in deliveries]

    callbacks = [line.removeprefix("http://h/ ") for line in owed if line.startswith("http://h/ ")]
    appended = {line for line in said if not line.endswith("started")}
    assert len(appended) > 100
    assert not appended - set(callbacks), "appended and lost"
    assert len(set(callbacks) - appended) <= KILLS, "at most the record that a life was killed in is more than was said"
    assert {line.split()[0] for line in said} <= set(calls)
    assert all(calls.values()), "every call of a killed life was found and finished"
    assert Counter(owed).most_common(1)[0][1] == 1, "twice in the outbox"
    assert {each.state for each in deliveries} == {"delivered"}

    sent = (tmp_path / "sent").read_text().splitlines()
    assert set(sent) == set(owed), "delivered at least once"
    for lines in (owed, sent):
        lanes = by_lane(lines)
        for url, allowed in EVENTS.items():
            assert {tuple(events) for events in lanes[url].values()} <= allowed, url
        for url in (killable.WEBHOOK, killable.SUBSCRIPTION):
            assert set(lanes[url]) == set(calls), "each call's end was told"

    journal = Journal.open(tmp_path / "journal")
    assert journal.unfinished_calls() == []
    assert len(segments_in(journal.folder)) <= 3, "what was stored is gone"
    assert len(checkpoints) <= 3, "and so are the checkpoints of it"
    journal.close()

"""``kill -9`` at random moments: nothing that was appended is lost, nothing is in the database twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from sqlalchemy import select

from engine.callbacks.journal import Journal
from engine.callbacks.segments import segments_in
from engine.store import Store
from engine.store.models import Call, Delivery, JournalCheckpoint

PROGRAM = Path(__file__).with_name("killable.py")
LIVES = 12


def live(folder: Path, life: str, seconds: float | None) -> bytes:
    """One life of the program, killed after ``seconds`` of work; what it says was appended."""
    with (folder / f"said-{life}").open("wb") as said:
        process = subprocess.Popen([sys.executable, str(PROGRAM), str(folder), life], stdout=said)
    if seconds is None:
        assert process.wait(60) == 0
    else:
        deadline = time.monotonic() + 30
        while not (folder / f"said-{life}").stat().st_size and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
    return (folder / f"said-{life}").read_bytes()


async def test_nothing_lost_nothing_twice(tmp_path: Path) -> None:
    chance = random.Random(7)
    store = Store(f"sqlite+aiosqlite:///{tmp_path / 'ivrea.db'}")
    await store.migrate()
    said: list[str] = []
    for life in range(LIVES):
        said += live(tmp_path, str(life), chance.uniform(0.0, 0.3)).decode().splitlines()
    live(tmp_path, "last", None)

    async with store.reading() as connection:
        deliveries = [
            f"{row.call_id} {row.seq}"
            for row in await connection.execute(select(Delivery.call_id, Delivery.seq).order_by(Delivery.id))
        ]
        states = set(await connection.scalars(select(Delivery.state)))
        checkpoints = list(await connection.scalars(select(JournalCheckpoint.segment)))
        ends = Counter(await connection.scalars(select(Call.finished_at.is_not(None))))
    await store.close()

    assert len(said) > 100
    assert not set(said) - set(deliveries), "appended and lost"
    assert len(set(deliveries) - set(said)) <= LIVES, (
        "at most the record that a life was killed in is more than was said"
    )
    assert len(deliveries) == len(set(deliveries)), "twice in the outbox"
    assert states == {"delivered"}
    assert set(ends) == {True}, "every call of a killed life was found and finished"

    sent = (tmp_path / "sent").read_text().splitlines()
    assert set(sent) == set(deliveries), "delivered at least once"
    first: dict[str, list[int]] = {}
    for line in dict.fromkeys(sent):
        call, seq = line.split()
        first.setdefault(call, []).append(int(seq))
    assert all(order == sorted(order) for order in first.values())

    journal = Journal.open(tmp_path / "journal")
    assert journal.unfinished_calls() == []
    assert len(segments_in(journal.folder)) <= 3, "what was stored is gone"
    assert len(checkpoints) <= 3, "and so are the checkpoints of it"
    journal.close()

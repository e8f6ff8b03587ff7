"""Calls and recordings go after the operator's time, whole, and not before all that is owed was delivered."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from engine.callbacks import records
from engine.callbacks.rows import Batch
from engine.store import Store, retention
from engine.store.models import Base, Call, CallEvent, Delivery, Leg, Recording
from engine.store.retention import Retention

DAY = 86_400.0
NOW = 100 * DAY


async def add(store: Store, folder: Path, call: str, started: float, *, ended: bool = True, owed: bool = False) -> Path:
    """A call with a leg, an event, a recording and a callback."""
    path = folder / "2020" / "01" / f"{call}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF")
    batch = Batch()
    batch.add(
        records.CallStarted(started, call=call, caller="1", callee="2", sip_call_id=call, flow="f", source="test")
    )
    batch.add(records.LegStarted(started, call=call, leg=f"{call}-leg1", to="3", trunk="t"))
    batch.add(records.RecordingStarted(started, call=call, path=str(path)))
    batch.add(records.Noted(started, call=call, note={"is": "Entered", "node": "x"}))
    batch.add(records.Noted(started, call=call, note={"is": "Callback", "url": "http://x.test/", "params": {}}))
    if ended:
        batch.add(records.CallFinished(started + 5, call=call, by="caller", reason="", path="", duration=5.0))
    async with store.writing() as connection:
        await batch.store(connection)
        if not owed:
            await connection.execute(update(Delivery).where(Delivery.call_id == call).values(state="delivered"))
    return path


async def kept(store: Store, table: type[Base]) -> int:
    async with store.reading() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


@pytest.fixture
async def folder(store: Store, tmp_path: Path) -> Path:
    await store.migrate()
    return tmp_path / "recordings"


async def test_an_old_call_goes_with_all_that_was_written_of_it(store: Store, folder: Path) -> None:
    old = await add(store, folder, "old", NOW - 31 * DAY)
    new = await add(store, folder, "new", NOW - 29 * DAY)
    sweeper = Retention(store, folder, calls=30 * DAY)
    assert await sweeper.sweep(NOW) == 1
    assert await sweeper.sweep(NOW) == 0
    for table in (Call, CallEvent, Leg, Recording, Delivery):
        assert await kept(store, table) == 1, table
    assert not old.exists()
    assert new.exists()
    assert await sweeper.sweep(NOW + 10 * DAY) == 1
    assert not new.exists()
    assert not new.parent.parent.exists(), "folders that are empty go, too"


async def test_what_lives_or_owes_something_stays(store: Store, folder: Path) -> None:
    living = await add(store, folder, "living", NOW - 31 * DAY, ended=False)
    owing = await add(store, folder, "owing", NOW - 31 * DAY, owed=True)
    sweeper = Retention(store, folder, calls=1 * DAY, recordings=1 * DAY)
    assert await sweeper.sweep(NOW) == 0
    assert living.exists()
    assert owing.exists()
    async with store.writing() as connection:
        await connection.execute(update(Delivery).values(state="dead"))
    assert await sweeper.sweep(NOW) == 1
    assert not owing.exists()
    assert await kept(store, Call) == 1


async def test_recordings_may_go_before_their_calls(store: Store, folder: Path) -> None:
    path = await add(store, folder, "one", NOW - 10 * DAY)
    assert await Retention(store, folder, recordings=7 * DAY).sweep(NOW) == 1
    assert not path.exists()
    assert (await kept(store, Recording), await kept(store, Call)) == (0, 1)


async def test_nothing_goes_unless_it_is_asked_for(store: Store, folder: Path) -> None:
    path = await add(store, folder, "one", 0.0)
    sweeper = Retention(store, folder)
    await sweeper.run()  # returns at once
    assert await sweeper.sweep(NOW) == 0
    assert path.exists()


async def test_files_outside_of_the_folder_are_not_touched(store: Store, folder: Path, tmp_path: Path) -> None:
    path = await add(store, tmp_path / "elsewhere", "one", 0.0)
    assert await Retention(store, folder, calls=DAY).sweep(NOW) == 1
    assert path.exists()


async def test_a_sweep_takes_so_many_at_once(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    for number in range(3):
        await add(store, folder, f"c{number}", float(number))
    kept_a_day = Retention(store, folder, calls=DAY)
    assert [await kept_a_day.sweep(NOW) for _ in range(3)] == [2, 1, 0]

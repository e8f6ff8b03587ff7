"""The queue of calls in the database: what is claimed is made once, its end taken once, a kill loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.accounts import repository
from engine.callbacks import records
from engine.callbacks.announcing import Announcements
from engine.callbacks.journal import Journal
from engine.callbacks.writer import Writer
from engine.calls import recovery
from engine.calls.allowance import NotAllowed
from engine.calls.media import MediaOverload
from engine.calls.services import FlowError
from engine.calls.spending import DAY, next_day
from engine.campaigns import queue
from engine.campaigns.dialler import Dialler, Wanted
from engine.campaigns.pacing import Limits
from engine.campaigns.queue import Entry, NotQueued, Order
from engine.campaigns.schedule import Schedule
from engine.campaigns.settling import Settler
from engine.store import Store

PATIENCE = 20.0


class House:
    """A dialler whose calls are records in a journal; ``made`` has their wishes."""

    def __init__(self, store: Store, folder: Path, *, limits: Limits | None = None) -> None:
        self.store = store
        self.journal = Journal.open(folder)
        self.announcements = Announcements()
        self.writer = Writer(self.journal, store, announcements=self.announcements)
        self.made: list[Any] = []
        self.refuse: list[Exception] = []
        self.unmade: list[tuple[int, str, str | None]] = []
        self.changed = asyncio.Event()
        self.dialler = Dialler(
            store,
            self,  # type: ignore[arg-type]
            lambda _: limits or Limits(),
            flush=self.writer.flush,
            is_live=lambda call: False,
            is_open=lambda: True,
        )
        self.dialler.on_unmade = self.told
        settler = Settler(self.dialler.ended)
        self.announcements.add(settler, settler.committed)

    async def told(self, _connection: Any, entries: Sequence[Entry]) -> None:
        self.unmade += [(entry.id, entry.state, entry.result) for entry in entries]

    async def stored(self, account: str, flow: str) -> Any:
        if flow == "gone":
            raise FlowError("there is no flow 'gone'")
        return SimpleNamespace(account=account, flow=flow)

    def call(self, account: str, wish: Any, flow: Any, if_machine: str = "", *, record: bool = False) -> Any:
        if self.refuse:
            raise self.refuse.pop()
        self.made.append(wish)
        self.journal.append(
            records.CallStarted(
                time.time(), call=wish.id, caller="", callee=wish.to, direction="outbound", account=account
            )
        )
        self.changed.set()

    def end(
        self, wish: Any, cause: str = "NORMAL_CLEARING", *, answered: bool = True, by: str = "flow", **more: Any
    ) -> None:
        now = time.time()
        self.journal.append(records.LegStarted(now, call=wish.id, leg=f"{wish.id}-leg1", to=wish.to))
        if answered:
            self.journal.append(records.CallAnswered(now, call=wish.id, dialog={}))
        self.journal.append(records.CallFinished(now, call=wish.id, by=by, reason="over", cause=cause, **more))

    async def wait_made(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.made) < count:
                self.changed.clear()
                await self.changed.wait()

    async def wait_state(self, entry: Entry, *states: str) -> Entry:
        return await self.wait_until(entry, lambda found: found.state in states)

    async def wait_until(self, entry: Entry, fits: Callable[[Entry], bool]) -> Entry:
        async with asyncio.timeout(PATIENCE):
            while True:
                async with self.store.reading() as connection:
                    found = await queue.get(connection, entry.account_id, entry.id)
                if fits(found):
                    return found
                await asyncio.sleep(0.01)

    async def add(self, account: str, **more: Any) -> Entry:
        order = Order(**{"account_id": account, "address": "+39011", "flow_id": "f", **more})
        async with self.store.writing() as connection:
            entry = await queue.add(connection, order)
        self.dialler.wake()
        return entry

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.writer.run()), asyncio.create_task(self.dialler.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.journal.close()


async def account_in(store: Store, name: str = "one") -> str:
    await store.migrate()
    async with store.writing() as connection:
        return (await repository.add_account(connection, name)).id


async def test_a_call_is_made_and_its_end_taken(store: Store, tmp_path: Path) -> None:
    account = await account_in(store)
    house = House(store, tmp_path / "journal")
    async with house.running():
        wanted = Wanted(caller="+39099", variables={"age": "38"}, facts={"call.id": "7"})
        entry = await house.add(account, wish=wanted.as_data(), trunk="carrier")
        await house.wait_made(1)
        (wish,) = house.made
        assert (wish.to, wish.trunk, wish.caller.number) == ("+39011", "carrier", "+39099")
        assert (wish.variables, wish.facts) == ({"age": "38"}, {"call.id": "7"})
        under_way = await house.wait_state(entry, "active")
        assert (under_way.call_id, under_way.attempts) == (wish.id, 1)
        house.end(wish)
        done = await house.wait_state(entry, "completed")
        assert (done.result, done.reason, done.finished_at is not None) == ("completed", None, True)


async def test_a_busy_call_is_made_again(store: Store, tmp_path: Path) -> None:
    account = await account_in(store)
    house = House(store, tmp_path / "journal")
    async with house.running():
        entry = await house.add(account, schedule=Schedule(retries=(0.0, 3600.0)))
        await house.wait_made(1)
        house.end(house.made[0], "USER_BUSY", answered=False)
        await house.wait_made(2)
        assert house.made[0].id != house.made[1].id
        house.end(house.made[1], "NO_ANSWER", answered=False)
        waiting = await house.wait_state(entry, "queued")
        assert (waiting.attempts, waiting.result) == (2, "no-answer")
        assert 3500 < waiting.due_at - time.time() < 3700


async def test_a_number_that_is_nobodys_is_called_once_unless_the_schedule_wants_more(
    store: Store, tmp_path: Path
) -> None:
    account = await account_in(store)
    house = House(store, tmp_path / "journal")
    async with house.running():
        once = await house.add(account, schedule=Schedule(retries=(3600.0,)))
        again = await house.add(account, schedule=Schedule(retries=(3600.0,), retry_all=True))
        await house.wait_made(2)
        for wish in house.made:
            house.end(wish, "UNALLOCATED_NUMBER", answered=False, sip_status=500, q850=1)
        assert (await house.wait_state(once, "failed", "queued")).state == "failed"
        assert (await house.wait_state(again, "failed", "queued")).state == "queued"


@pytest.mark.parametrize(("mark", "state"), [("successful", "completed"), ("failed", "failed"), ("", "failed")])
async def test_what_the_flow_says_of_the_call_counts(store: Store, tmp_path: Path, mark: str, state: str) -> None:
    account = await account_in(store)
    house = House(store, tmp_path / "journal")
    async with house.running():
        entry = await house.add(account, wish=Wanted(success="finished").as_data())
        await house.wait_made(1)
        note = {"is": "Learned", "variables": {"flow.result": mark}}
        house.journal.append(records.Noted(time.time(), call=house.made[0].id, note=note))
        house.end(house.made[0], by="caller")
        done = await house.wait_state(entry, "completed", "failed")
        assert (done.state, done.result) == (
            state,
            {"successful": "completed", "failed": "unsuccessful"}.get(mark, "hangup"),
        )


async def test_what_was_claimed_and_never_made_is_made_after_a_kill(store: Store, tmp_path: Path) -> None:
    account = await account_in(store)
    before = House(store, tmp_path / "journal")
    entries = [await before.add(account) for _ in range(4)]
    calls = {entry.id: f"{entry.id:032x}" for entry in entries}
    async with store.writing() as connection:
        assert await queue.claim(connection, calls, time.time()) == set(calls)
    never, not_dialled, rang, ended = entries  # how far each had come when the process was killed
    now = time.time()
    for entry in (not_dialled, rang, ended):
        started = records.CallStarted(
            now, call=calls[entry.id], caller="", callee="x", direction="outbound", account=account
        )
        before.journal.append(started)
    before.end(SimpleNamespace(id=calls[ended.id], to="x"))
    before.journal.append(records.LegStarted(now, call=calls[rang.id], leg="l", to="x"))
    before.journal.close()

    house = House(store, tmp_path / "journal")
    for entry in (not_dialled, rang):  # what the next start puts down of them
        house.journal.append(records.CallFinished(now, call=calls[entry.id], by="error", reason=recovery.REASON))
    async with house.running():
        await house.wait_made(2)
        assert (await house.wait_state(rang, "failed")).result == "failed"
        assert (await house.wait_state(ended, "completed")).attempts == 1
        for entry in (never, not_dialled):
            assert (await house.wait_state(entry, "active")).attempts == 1
    assert len(house.made) == 2


async def test_an_attempt_without_room_does_not_count(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.campaigns.dialler.NO_ROOM_PAUSE", 0.1)
    account = await account_in(store)
    house = House(store, tmp_path / "journal")
    house.refuse = [RuntimeError("a defect"), MediaOverload("too many calls")]
    async with house.running():
        entry = await house.add(account)
        await house.wait_made(1)
        assert (await house.wait_state(entry, "active")).attempts == 1


async def test_a_flow_that_is_gone(store: Store, tmp_path: Path) -> None:
    account = await account_in(store)
    house = House(store, tmp_path / "journal", limits=Limits(calls=1))
    async with house.running():
        entry = await house.add(account, flow_id="gone", schedule=Schedule(retries=(0.0,)))
        failed = await house.wait_state(entry, "failed")
        assert (failed.result, failed.reason) == ("no-flow", "there is no flow 'gone'")
        assert house.unmade == [(entry.id, "failed", "no-flow")]
        await house.add(account)
        await house.wait_made(1)  # its room is free again


async def test_a_call_that_the_account_may_not_make(store: Store, tmp_path: Path) -> None:
    account = await account_in(store)
    house = House(store, tmp_path / "journal")
    house.refuse = [NotAllowed("target_refused", "the account may not call +39011")]
    async with house.running():
        entry = await house.add(account, schedule=Schedule(retries=(0.0,)))
        failed = await house.wait_state(entry, "failed")
    assert (failed.result, failed.reason) == ("refused", "the account may not call +39011")
    assert house.unmade == [(entry.id, "failed", "refused")]


async def test_what_an_account_may_not_make_today_waits_for_the_next_day(store: Store, tmp_path: Path) -> None:
    account = await account_in(store)
    house = House(store, tmp_path / "journal")
    house.refuse = [NotAllowed("daily_limit", "the account has made its 1 calls of today")] * 3
    today = datetime.fromtimestamp(time.time(), UTC).isoweekday() % 7
    schedules = (None, Schedule(retries=(3600.0,)), Schedule(days=frozenset({today})))
    midnight = next_day(time.time())
    entries = [await house.add(account, schedule=each) for each in schedules]
    async with house.running():
        waiting = [await house.wait_until(entry, lambda found: found.reason is not None) for entry in entries]
        assert [each.due_at - midnight for each in waiting] == [0.0, 0.0, 6 * DAY]
        assert {(each.attempts, each.result, each.reason) for each in waiting} == {
            (0, None, "the account has made its 1 calls of today")
        }
        await house.add(account)
        await house.wait_made(1)  # their room is free again
    assert house.unmade == []


async def test_a_call_that_was_cancelled_before_it_was_refused(store: Store) -> None:
    account = await account_in(store)
    async with store.writing() as connection:
        entry = await queue.add(connection, Order(account_id=account, address="+39011"))
        await queue.claim(connection, {entry.id: "c1"}, time.time())
        await queue.cancel(connection, account, entry.id)
        assert await queue.refuse(connection, entry.id, "c1", "refused", "the account may not call +39011") == []
        assert (await queue.get(connection, account, entry.id)).state == "cancelled"


async def test_cancelling(store: Store, tmp_path: Path) -> None:
    account, other = await account_in(store), await account_in(store, "other")
    house = House(store, tmp_path / "journal")
    async with house.running():
        later = await house.add(account, due_at=time.time() + 3600)
        entry = await house.add(account, schedule=Schedule(retries=(0.0,)))
        await house.wait_made(1)
        async with store.writing() as connection:
            assert (await queue.cancel(connection, account, later.id)).state == "cancelled"
            assert (await queue.cancel(connection, account, entry.id)).state == "active"
            with pytest.raises(NotQueued):
                await queue.cancel(connection, other, later.id)
            assert await queue.page(connection, other) == []
        house.end(house.made[0], "USER_BUSY", answered=False)
        done = await house.wait_state(entry, "cancelled")
        assert done.result == "busy"
        async with store.writing() as connection:
            assert await queue.cancel(connection, account, entry.id) == done
    assert len(house.made) == 1


async def test_a_call_expires_in_the_queue(store: Store, tmp_path: Path) -> None:
    account = await account_in(store)
    house = House(store, tmp_path / "journal", limits=Limits(calls=1))
    async with house.running():
        await house.add(account)
        await house.wait_made(1)
        entry = await house.add(account, not_after=time.time() + 0.2)
        assert (await house.wait_state(entry, "expired")).result == "expired"
    assert house.unmade == [(entry.id, "expired", "expired")]
    assert len(house.made) == 1


async def test_a_dialler_that_is_woken_as_it_is_stopped_stops(tmp_path: Path) -> None:
    """At whatever turn of the loop: Python 3.11's ``asyncio.wait_for`` forgets a cancellation behind a result."""
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/ivrea.db")
    await store.migrate()
    house = House(store, tmp_path / "journal")
    asked = asyncio.Event()

    async def flushed(_patience: float) -> bool:
        return True

    dialler = Dialler(
        store,
        house,  # type: ignore[arg-type]
        lambda _: Limits(),
        flush=flushed,
        is_live=lambda call: False,
        is_open=lambda: asked.set() is not None,
    )
    for turns in range(4):
        asked.clear()
        task = asyncio.create_task(dialler.run())
        await asyncio.wait_for(asked.wait(), PATIENCE)
        for _ in range(4):
            await asyncio.sleep(0)
        dialler.wake()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=0.5)
        assert task.cancelled(), turns
    house.journal.close()
    await store.close()


async def test_two_diallers_make_no_call_twice(store: Store, tmp_path: Path) -> None:
    account = await account_in(store)
    houses = [House(store, tmp_path / f"journal{number}") for number in range(2)]
    entries = [await houses[0].add(account, address=f"+39{number}") for number in range(30)]
    async with contextlib.AsyncExitStack() as stack:
        for house in houses:
            await stack.enter_async_context(house.running())
        for entry in entries:
            await houses[0].wait_state(entry, "active")
    made = [wish.to for house in houses for wish in house.made]
    assert sorted(made) == sorted(entry.address for entry in entries)

"""Who waits for whom, and what becomes of one when the other is gone."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from engine.calls import parking
from engine.calls.media import MediaError
from engine.calls.parking import Lots
from flows.call import CallEnded
from flows.orders import Enqueue


class Caller:
    """A call that waits, as parking sees it."""

    def __init__(self, name: str) -> None:
        self.id = self.caller = name
        self.facts = {"call.account": "default"}
        self.ended = False
        self.music = asyncio.Event()
        self.music.set()
        self.played = 0
        self._wake = asyncio.Event()
        self.on_hold = object()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def poke(self) -> None:
        self._wake.set()

    def hang_up(self) -> None:
        self.ended = True
        self.music.set()
        self.poke()

    def _check(self) -> None:
        if self.ended:
            raise CallEnded("caller", "hung up")

    async def prepare(self, prompts: Any) -> Any:
        await self.music.wait()
        self._check()
        return prompts

    def start(self, prompts: Any, *, loop: bool = False) -> None:
        self.played += 1

    def play_files(self, files: Any, *, loop: bool = False) -> None:
        self.played += 1

    def stop(self) -> None: ...

    async def key_or_change(self, deadline: float | None) -> str:
        self._check()
        await asyncio.wait_for(self._wake.wait(), None if deadline is None else max(0.0, deadline - self.now()))
        self._wake.clear()
        self._check()
        return ""


class Bridge:
    """In place of :func:`engine.calls.links.coupled`."""

    problem: MediaError | None = None

    def __init__(self, *_: Any) -> None: ...

    async def __aenter__(self) -> None:
        if self.problem is not None:
            raise self.problem

    async def __aexit__(self, *_: object) -> None: ...


@pytest.fixture
def lots(monkeypatch: pytest.MonkeyPatch) -> Lots:
    monkeypatch.setattr(parking, "coupled", Bridge)
    monkeypatch.setattr(parking, "_side", lambda call: call)
    monkeypatch.setattr(Bridge, "problem", None)
    return Lots(cast("Any", type("Tones", (), {"music": "music.wav"})()))


async def test_the_two_talk_until_one_has_enough(lots: Lots) -> None:
    waiter, agent = Caller("waiter"), Caller("agent")
    waiting = asyncio.create_task(lots.enqueue(cast("Any", waiter), Enqueue(queue="q")))
    await asyncio.sleep(0)
    taking = asyncio.create_task(lots.take_first(cast("Any", agent), "q"))
    await asyncio.sleep(0.01)
    agent.hang_up()
    with pytest.raises(CallEnded):
        await taking
    assert (await waiting).facts["status"] == "completed"
    assert not lots.queues


async def test_who_hangs_up_while_the_music_is_made_leaves_nobody_stuck(lots: Lots) -> None:
    waiter, agent = Caller("waiter"), Caller("agent")
    waiter.music.clear()
    waiting = asyncio.create_task(lots.enqueue(cast("Any", waiter), Enqueue(queue="q", music="http://h/slow.mp3")))
    await asyncio.sleep(0)
    taking = asyncio.create_task(lots.take_first(cast("Any", agent), "q"))
    await asyncio.sleep(0.01)
    waiter.hang_up()
    with pytest.raises(CallEnded):
        await waiting
    outcome = await asyncio.wait_for(taking, 1)
    assert outcome.facts["status"] == "completed"


async def test_who_cannot_be_bridged_with_goes_on_waiting(lots: Lots, monkeypatch: pytest.MonkeyPatch) -> None:
    waiter = Caller("waiter")
    waiting = asyncio.create_task(lots.enqueue(cast("Any", waiter), Enqueue(queue="q")))
    await asyncio.sleep(0)
    monkeypatch.setattr(Bridge, "problem", MediaError("no port"))
    with pytest.raises(MediaError):
        await lots.take_first(cast("Any", Caller("first")), "q")
    monkeypatch.setattr(Bridge, "problem", None)
    await asyncio.sleep(0.01)
    assert not waiting.done()
    second = Caller("second")
    taking = asyncio.create_task(lots.take_first(cast("Any", second), "q"))
    await asyncio.sleep(0.01)
    waiter.hang_up()
    assert (await taking).facts["status"] == "completed"
    with pytest.raises(CallEnded):
        await waiting

"""Who waits for whom, and what becomes of one when the other is gone."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from waiting_kit import Bridge, Caller, quiet_lots

from engine.calls import parking
from engine.calls.media import MediaError
from engine.calls.parking import Lots
from engine.calls.supervisor import Supervisor
from flows.call import CallEnded
from flows.orders import Dial, Enqueue, Outcome, Park, Target


@pytest.fixture
def lots(monkeypatch: pytest.MonkeyPatch) -> Lots:
    return quiet_lots(monkeypatch)


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


# --- queues -----------------------------------------------------------------------------------


def begin(work: Any) -> asyncio.Task[Outcome]:
    return asyncio.create_task(work)


async def test_who_was_taken_is_not_in_front_of_those_who_still_wait(lots: Lots) -> None:
    """Three wait, the first talks: the second is first now, and the flow learns the place that the call had."""
    first, second, third, agent = (Caller(name) for name in ("first", "second", "third", "agent"))
    outcomes = []
    for caller in (first, second, third):
        outcomes.append(begin(lots.enqueue(cast("Any", caller), Enqueue(queue="q"))))
        await asyncio.sleep(0)
    assert [lots.place(cast("Any", each)).position for each in (first, second, third)] == [1, 2, 3]  # type: ignore[union-attr]
    taking = begin(lots.take_first(cast("Any", agent), "q"))
    await asyncio.sleep(0.01)
    assert lots.place(cast("Any", first)) is None
    assert lots.talks("first")
    place = lots.place(cast("Any", third))
    assert place is not None
    assert place[:3] == ("q", 2, 2)
    first.hang_up()
    with pytest.raises(CallEnded):
        await outcomes[0]
    await taking
    second_taken = begin(lots.take_first(cast("Any", agent), "q"))
    await asyncio.sleep(0.01)
    agent.hang_up()
    with pytest.raises(CallEnded):
        await second_taken
    facts = (await outcomes[1]).facts
    assert {name: facts[name] for name in ("position", "size", "waited", "average", "status")} == {
        "position": "1",
        "size": "2",
        "waited": "0",
        "average": "0",
        "status": "completed",
    }
    assert not lots.talks("first")
    outcomes[2].cancel()


@pytest.mark.parametrize(
    ("language", "words"),
    [("", "You are number 2 in the queue."), ("ro-RO", "Sunteți pe locul 2 în coada de așteptare.")],
)
async def test_the_position_is_said_again_and_again_in_the_language_of_the_flow(
    lots: Lots, language: str, words: str
) -> None:
    order = Enqueue(queue="q", announce_every=0.02, language=language, timeout=0.09)
    front = begin(lots.enqueue(cast("Any", Caller("front")), Enqueue(queue="q")))
    await asyncio.sleep(0)
    waiter = Caller("waiter")
    outcome = await lots.enqueue(cast("Any", waiter), order)
    assert (outcome.exits, outcome.facts["status"], outcome.facts["position"]) == (("failed",), "no-answer", "2")
    assert len(waiter.said) > 1
    assert set(waiter.said) == {words}
    assert waiter.played > len(waiter.said)  # music between
    front.cancel()


async def test_nothing_is_said_unless_it_is_wanted(lots: Lots) -> None:
    waiter = Caller("waiter")
    await lots.enqueue(cast("Any", waiter), Enqueue(queue="q", timeout=0.05))
    assert waiter.said == []


# --- parking lots -----------------------------------------------------------------------------


async def test_a_slot_is_shown_busy_as_long_as_somebody_is_in_it(lots: Lots) -> None:
    parked, other = Caller("parked"), Caller("other")
    waiting = begin(lots.park(cast("Any", parked), Park(slot="711", action="park")))
    await asyncio.sleep(0)
    assert parked.shown == [("711", "busy")]
    await lots.park(cast("Any", other), Park(slot="711", action="park"))  # it is taken
    assert other.shown == []
    parked.hang_up()
    with pytest.raises(CallEnded):
        await waiting
    assert parked.shown == [("711", "busy"), ("711", "idle")]


@pytest.mark.parametrize(("slot", "say", "said"), [("", True, 1), ("", False, 0), ("711", True, 0)])
async def test_who_parks_is_told_the_slot_that_was_chosen(lots: Lots, slot: str, say: bool, said: int) -> None:
    parker = Caller("parker")
    outcome = await lots.park(cast("Any", parker), Park(slot=slot, action="park", timeout=0.02), say=say)
    assert outcome.facts["slot"] == (slot or "700")
    assert parker.said == ["The call is parked in slot 7 0 0."] * said


async def test_a_talk_with_somebody_of_a_queue_that_is_too_short_is_no_success(lots: Lots) -> None:
    agent = Caller("agent")
    there = SimpleNamespace(outside=SimpleNamespace(lots=lots), call=agent)
    for seconds, status in ((60.0, "failed"), (0.0, "completed")):
        waiter = Caller("waiter")
        waiting = begin(lots.enqueue(cast("Any", waiter), Enqueue(queue="q")))
        await asyncio.sleep(0)
        order = Dial(targets=(Target(kind="queue", value="q"),), success_after=seconds)
        dialling = begin(Supervisor.dial(cast("Any", there), order))
        await asyncio.sleep(0.01)
        waiter.hang_up()
        assert (await dialling).facts["status"] == status
        with pytest.raises(CallEnded):
            await waiting


async def test_what_cannot_be_said_is_tried_less_and_less(lots: Lots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "LEAST_PAUSE", 0.03)
    waiter = Caller("waiter")
    waiter.dumb = True
    await lots.enqueue(cast("Any", waiter), Enqueue(queue="q", announce_every=0.01, timeout=0.2))
    assert 1 < len(waiter.said) < 6  # after 10, 40, 100, 220 ms

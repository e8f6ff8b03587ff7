"""Bridges of two live calls: who is taken, who is refused and why, and what becomes of the flows of both."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from waiting_kit import Caller, quiet_lots

from engine.calls import bridging
from engine.calls.bridging import bridge
from engine.calls.calling_back import park
from engine.calls.parking import Lots, Waiting
from flows.call import CallEnded
from flows.graph import Graph, Perform
from flows.orders import BridgeSession, Conference, Dial, Enqueue, Outcome, Park


class Call(Caller):
    """A call that is alone with its flow; what replaces the flow is carried out."""

    def __init__(self, name: str, calls: dict[str, Any], lots: Lots) -> None:
        super().__init__(name)
        self.call = self
        self.plan = SimpleNamespace(account="default")
        self.outside = SimpleNamespace(lots=lots, live_call=lambda account, wanted: calls.get(f"{account}/{wanted}"))
        self.answered_at: float | None = 1.0
        self.ending: object = None
        self.conversation: object = None
        self.doing: object = None
        self.successor: object = None
        self.being_transferred = self.transfer_pending = False
        self.parker = ""
        self.log = SimpleNamespace(info=lambda *_, **__: None)
        self.records: list[Any] = []
        self.append = self.records.append
        self.dialled: list[Dial] = []
        self.comes = Outcome(("failed",), {"status": "busy"}, "busy")
        self.replaced: asyncio.Task[Outcome] | None = None
        calls[f"default/{name}"] = self

    async def dial(self, order: Dial) -> Outcome:
        self.dialled.append(order)
        return self.comes

    def replace(self, graph: Graph, sounds: object) -> None:
        step = graph.steps[graph.start]
        assert isinstance(step, Perform)
        self.replaced = asyncio.create_task(bridge(cast("Any", self), cast("BridgeSession", step.order)))


@pytest.fixture
def lots(monkeypatch: pytest.MonkeyPatch) -> Lots:
    return quiet_lots(monkeypatch)


@pytest.fixture
def two(lots: Lots) -> tuple[Call, Call]:
    calls: dict[str, Any] = {}
    return Call("a", calls, lots), Call("b", calls, lots)


async def wants(call: Call, other: str) -> Outcome:
    return await bridge(cast("Any", call), BridgeSession(session=other))


async def test_both_talk_and_the_one_who_asked_goes_on_when_the_other_hangs_up(two: tuple[Call, Call]) -> None:
    one, other = two
    asking = asyncio.create_task(wants(one, "b"))
    await asyncio.sleep(0.01)
    assert one.outside.lots.talks("a")
    assert one.outside.lots.talks("b")
    assert other.records[0].flow == "bridge"
    other.hang_up()
    assert other.replaced is not None
    with pytest.raises(CallEnded):
        await other.replaced
    outcome = await asyncio.wait_for(asking, 1)
    assert (outcome.exits, outcome.facts["status"]) == ((), "completed")
    assert not one.outside.lots.talks("a")


async def test_the_flow_of_the_other_is_over_when_the_one_who_asked_hangs_up(two: tuple[Call, Call]) -> None:
    one, other = two
    asking = asyncio.create_task(wants(one, "b"))
    await asyncio.sleep(0.01)
    one.hang_up()
    with pytest.raises(CallEnded):
        await asking
    assert other.replaced is not None
    assert (await asyncio.wait_for(other.replaced, 1)).facts["status"] == "completed"
    assert bridging.coming_to("a").steps["end"].verb == "HangUp"


async def test_one_who_waits_in_a_queue_is_taken_and_keeps_its_flow(two: tuple[Call, Call], lots: Lots) -> None:
    one, other = two
    waiting = asyncio.create_task(lots.enqueue(cast("Any", other), Enqueue(queue="q")))
    await asyncio.sleep(0)
    other.doing = Enqueue(queue="q")
    asking = asyncio.create_task(wants(one, "b"))
    await asyncio.sleep(0.01)
    one.hang_up()
    with pytest.raises(CallEnded):
        await asking
    assert (await waiting).facts["status"] == "completed"
    assert other.replaced is None


async def test_two_who_want_each_other_meet(two: tuple[Call, Call]) -> None:
    one, other = two
    asking = asyncio.create_task(wants(one, "b"))
    await asyncio.sleep(0)  # the flow of the other is replaced, and wants the first
    asking_too = asyncio.create_task(wants(other, "a"))
    await asyncio.sleep(0.01)
    assert one.outside.lots.talks("a")
    other.hang_up()
    assert (await asyncio.wait_for(asking, 1)).facts["status"] == "completed"
    await asyncio.gather(asking_too, cast("Any", other.replaced), return_exceptions=True)


def change(**facts: object) -> dict[str, object]:
    return facts


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (change(answered_at=None), "not answered"),
        (change(ending=("caller", "hung up")), "over"),
        (change(conversation=object()), "bridged already"),
        (change(doing=BridgeSession(session="c")), "bridged already"),
        (change(being_transferred=True), "being transferred"),
        (change(successor=object()), "being transferred"),
        (change(doing=Dial(targets=())), "calling others"),
        (change(doing=Conference(room="r")), "in a conference"),
    ],
)
async def test_a_call_that_is_not_alone_with_its_flow_is_refused(
    two: tuple[Call, Call], facts: dict[str, object], why: str
) -> None:
    one, other = two
    for name, value in facts.items():
        setattr(other, name, value)
    outcome = await wants(one, "b")
    assert (outcome.exits, outcome.facts["status"], other.replaced) == (("failed",), "failed", None)
    assert why in outcome.story


async def test_nobody_is_bridged_with_itself_a_stranger_or_a_call_of_another_account(two: tuple[Call, Call]) -> None:
    one, other = two
    assert "it is this one" in (await wants(one, "a")).story
    assert "no call 'nobody' now" in (await wants(one, "nobody")).story
    one.plan.account = "another"
    assert "no call 'b' now" in (await wants(one, "b")).story
    assert other.replaced is None


# --- who has parked a call is called back ---------------------------------------------------------


async def parked(call: Call) -> Outcome:
    return await park(cast("Any", call), Park(action="park", timeout=0.02))


async def test_who_has_parked_a_call_is_called_back(two: tuple[Call, Call]) -> None:
    call, _ = two
    call.parker = "desk"
    call.comes = Outcome((), {"status": "completed", "duration": "9"}, "talked with desk")
    outcome = await parked(call)
    (order,) = call.dialled
    assert [(target.kind, target.value) for target in order.targets] == [("device", "desk")]
    assert order.caller_name == "Parking slot 700"
    assert (outcome.exits, outcome.facts["status"], outcome.facts["duration"]) == ((), "completed", "9")
    assert outcome.facts["slot"] == "700"
    assert call.shown == [("700", "busy"), ("700", "idle")]
    assert call.said == []  # who hears it is not who has parked


async def test_a_parked_call_fails_when_who_parked_it_does_not_answer_or_is_not_known(two: tuple[Call, Call]) -> None:
    call, _ = two
    outcome = await parked(call)
    assert (outcome.exits, call.dialled) == (("failed",), [])
    call.parker = "desk"
    outcome = await parked(call)
    assert (outcome.exits, outcome.facts["status"], len(call.dialled)) == (("failed",), "no-answer", 1)


async def test_a_parked_call_is_kept_where_nothing_follows_until_somebody_comes(two: tuple[Call, Call]) -> None:
    """Nobody answers the callback; the next one has taken the slot meanwhile, so that it is parked in another."""
    call, other = two
    call.parker = "desk"
    third = asyncio.Event()

    def publish(slot: str, state: str) -> None:
        call.shown.append((slot, state))
        if slot == "701":
            third.set()

    call.signalling.publish = publish

    async def dial(order: Dial) -> Outcome:
        call.dialled.append(order)
        if len(call.dialled) == 2:
            call.outside.lots.slots["default", "700"] = Waiting(cast("Any", other), 0.0)
        return call.comes

    call.dial = dial  # type: ignore[method-assign]
    kept = asyncio.create_task(park(cast("Any", call), Park(action="park", timeout=0.02, keep=True)))
    async with asyncio.timeout(5):
        await third.wait()
    assert call.shown[:4] == [("700", "busy"), ("700", "idle")] * 2
    call.hang_up()
    with pytest.raises(CallEnded):
        await kept
    assert call.shown[4:] == [("701", "busy"), ("701", "idle")]

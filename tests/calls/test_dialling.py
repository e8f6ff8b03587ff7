"""Dialling with phones that only pretend: who wins, who is let go, what is left when the caller hangs up."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.calls.dialling import Dialling
from engine.calls.peer import Peer, PeerEnd
from flows.call import CallEnded
from flows.orders import Dial, Target


class Place(str):
    """Where a phone is, by its name."""

    __slots__ = ()
    fallback = False


class Phone(Peer):
    """A peer that answers or refuses when it is called; ``closing`` takes as long as the test says."""

    def __init__(self, name: str, answers: PeerEnd | None) -> None:
        self.id = name
        self.destination = cast("Any", SimpleNamespace(label=name, trunk=""))
        self.state = "new"
        self.end: PeerEnd | None = None
        self.changed = asyncio.Event()
        self._answers = answers

    def ring(self) -> None:
        self.state = "answered" if self._answers is None else "ended"
        self.end = self._answers
        self.changed.set()


class House:
    """``ends``: how each destination ends when it is called, ``None`` to answer, ``...`` to ring on."""

    def __init__(self, ends: dict[str, Any]) -> None:
        self.ends = ends
        self.forgotten: list[str] = []
        self.called: list[str] = []
        self.closing = asyncio.Event()
        self.closing.set()
        self.over = asyncio.Event()
        self.connected: list[str] = []

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def find(self, target: Target, order: Dial) -> list[list[Any]]:
        return [[Place(name) for name in str(target.value).split(",")]]

    async def located(self, destination: Any) -> list[Any]:
        return [destination]

    async def make_peer(self, destination: Any) -> Any:
        end = self.ends[destination]
        if isinstance(end, Exception):
            raise end
        return Phone(destination, end if end is not ... else None)

    def call_peer(self, peer: Any) -> None:
        self.called.append(peer.id)
        if self.ends[peer.id] is not ...:
            peer.ring()

    async def forget(self, peer: Any) -> None:
        await self.closing.wait()
        self.forgotten.append(peer.id)

    def caller_rings(self) -> None: ...

    def caller_hears(self, peer: Any) -> None: ...

    async def connect(self, peer: Any) -> None:
        self.connected.append(peer.id)
        peer.state = "ended"

    def disconnect(self, peer: Any) -> None: ...

    async def ring_back(self, media: str) -> None: ...

    async def wait(self, deadline: float | None) -> str:
        return ""

    async def unless_over(self, work: asyncio.Task[Any]) -> Any:
        over = asyncio.ensure_future(self.over.wait())
        await asyncio.wait([work, over], return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if self.over.is_set():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            raise CallEnded("caller", "hung up")
        return await work


def dial(*names: str, **options: Any) -> Dial:
    return Dial(targets=tuple(Target(kind="device", value=name) for name in names), **options)


BUSY, GONE, FAILED = PeerEnd(486, "Busy"), PeerEnd(404, "Not Found"), PeerEnd(503, "Unavailable")


async def run(order: Dial, house: House) -> Any:
    return await Dialling(order, cast("Any", house)).run()


async def test_the_first_who_answers_is_bridged_and_the_others_are_let_go() -> None:
    house = House({"a": ..., "b": None, "c": ...})
    outcome = await run(dial("a", "b", "c"), house)
    assert outcome.facts["status"] == "completed"
    assert house.connected == ["b"]
    assert sorted(house.forgotten) == ["a", "b", "c"]


@pytest.mark.parametrize(("ends", "cause"), [((GONE, BUSY), "USER_BUSY"), ((BUSY, GONE), "USER_BUSY")])
async def test_of_two_refusals_the_one_that_says_more_counts(ends: tuple[PeerEnd, PeerEnd], cause: str) -> None:
    house = House(dict(zip("ab", ends, strict=True)))
    outcome = await run(dial("a", "b"), house)
    assert (outcome.facts["cause"], outcome.exits[-1]) == (cause, "failed")


async def test_the_next_trunk_is_tried_when_one_fails_and_not_when_somebody_is_busy() -> None:
    house = House({"t1": FAILED, "t2": None})
    assert (await run(dial("t1,t2"), house)).facts["status"] == "completed"
    house = House({"t1": BUSY, "t2": None})
    assert (await run(dial("t1,t2"), house)).facts["status"] == "busy"
    assert house.called == ["t1"]


async def test_one_after_the_other_until_somebody_answers() -> None:
    house = House({"a": BUSY, "b": None, "c": None})
    await run(dial("a", "b", "c", strategy="single"), house)
    assert house.called == ["a", "b"]


async def test_nobody_answers_in_time() -> None:
    house = House({"a": ...})
    outcome = await run(dial("a", timeout=0.05), house)
    assert (outcome.facts["cause"], outcome.facts["status"]) == ("NO_ANSWER", "no-answer")
    assert house.forgotten == ["a"]


async def test_what_cannot_be_sent_fails_that_leg_alone() -> None:
    house = House({"a": ValueError("a header has a line break"), "b": None})
    assert (await run(dial("a", "b"), house)).facts["status"] == "completed"


async def test_a_leg_that_has_just_answered_is_let_go_when_the_caller_hangs_up() -> None:
    """While the streams of those who lost are being closed, the caller leaves: the winner must not stay up."""
    house = House({"a": None, "b": ...})
    house.closing.clear()
    dialling = asyncio.create_task(run(dial("a", "b"), house))
    await asyncio.sleep(0.02)
    house.over.set()
    await asyncio.sleep(0.02)
    house.closing.set()
    with pytest.raises(CallEnded):
        await dialling
    assert sorted(house.forgotten) == ["a", "b"]
    assert house.connected == []

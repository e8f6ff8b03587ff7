"""Paging with phones that only pretend: who hears it, from when on, and until when."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from test_dialling import BUSY, GONE, House, dial

from engine.calls.allowance import NotAllowed
from engine.calls.paging import AUTO_ANSWER, Paging
from flows.call import CallEnded
from flows.orders import Dial, Target


class Office(House):
    """``story`` is what happened, in order; those in ``ends`` hang up when the test says so."""

    def __init__(self, ends: dict[str, Any]) -> None:
        super().__init__(ends)
        self.story: list[str] = []
        self.poked = asyncio.Event()
        self.peers: dict[str, Any] = {}
        self.headers: dict[str, str] = {}

    def find(self, target: Target, order: Dial) -> list[list[Any]]:
        self.headers = dict(order.headers)
        return super().find(target, order)

    async def make_peer(self, destination: Any) -> Any:
        peer = await super().make_peer(destination)
        self.peers[destination.name] = peer
        return peer

    async def begin_page(self) -> None:
        self.story.append("begin")

    def page(self, peer: Any) -> None:
        self.story.append(peer.id)

    def end_page(self) -> None:
        self.story.append("end")

    def poke(self) -> None:
        self.poked.set()

    def hangs_up(self, name: str) -> None:
        self.peers[name].state = "ended"
        self.poke()

    async def wait(self, deadline: float | None) -> str:
        over = asyncio.ensure_future(self.over.wait())
        poked = asyncio.ensure_future(self.poked.wait())
        patience = None if deadline is None else max(0.0, deadline - self.now())
        await asyncio.wait([over, poked], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        poked.cancel()
        self.poked.clear()
        if self.over.is_set():
            raise CallEnded("caller", "hung up")
        return ""


def page(house: Office, *names: str, **options: Any) -> asyncio.Task[Any]:
    return asyncio.create_task(Paging(dial(*names, strategy="page", **options), cast("Any", house)).run())


async def test_all_who_answer_hear_it_until_the_last_has_hung_up() -> None:
    house = Office({"a": None, "b": ..., "c": None, "d": BUSY})
    paging = page(house, "a", "b", "c", "d", timeout=0.3)
    await asyncio.sleep(0.05)
    assert sorted(house.story) == ["a", "begin", "c"]
    assert house.story[0] == "begin"
    house.peers["b"].ring()
    await asyncio.sleep(0.02)
    assert house.story[-1] == "b", "who answers later hears the rest"
    for name in "acb":
        assert not paging.done()
        house.hangs_up(name)
        await asyncio.sleep(0.4 if name == "c" else 0.02)
    outcome = await paging
    assert (outcome.facts["status"], outcome.facts["sip"]) == ("completed", "200")
    assert house.story[-1] == "end"
    assert sorted(house.forgotten) == ["a", "b", "c", "d"]
    assert AUTO_ANSWER.items() <= house.headers.items()


@pytest.mark.parametrize(
    ("ends", "cause"), [({"a": BUSY, "b": GONE}, "USER_BUSY"), ({"a": ...}, "NO_ANSWER"), ({}, "UNALLOCATED_NUMBER")]
)
async def test_a_page_that_nobody_hears_has_a_cause(ends: dict[str, Any], cause: str) -> None:
    house = Office(ends)
    outcome = await page(house, *ends, timeout=0.05)
    assert (outcome.facts["cause"], house.story) == (cause, ["end"])
    assert sorted(house.forgotten) == sorted(ends)


async def test_a_caller_who_hangs_up_ends_the_page_for_all() -> None:
    for ends in ({"a": None, "b": ...}, {"a": ..., "b": ...}):
        house = Office(ends)
        paging = page(house, "a", "b", timeout=30)
        await asyncio.sleep(0.05)
        house.over.set()
        with pytest.raises(CallEnded):
            await paging
        assert sorted(house.forgotten) == ["a", "b"]


async def test_a_page_has_its_time() -> None:
    house = Office({"a": None})
    outcome = await page(house, "a", timeout=5, time_limit=0.05)
    assert outcome.facts["status"] == "completed"
    assert house.forgotten == ["a"]


async def test_whom_the_account_may_not_call_is_left_out_of_a_page() -> None:
    class Bound(Office):
        def find(self, target: Target, order: Dial) -> list[list[Any]]:
            if target.value.startswith("+44"):
                raise NotAllowed("target_refused", f"the account may not call {target.value}")
            return super().find(target, order)

    house = Bound({"a": None, "+441": None})
    paging = page(house, "a", "+441")
    await asyncio.sleep(0.05)
    assert house.story == ["begin", "a"]
    house.hangs_up("a")
    await paging
    assert set(house.peers) == {"a"}
    outcome = await page(Bound({"+441": None}), "+441")
    assert outcome.facts["cause"] == "CALL_REJECTED"

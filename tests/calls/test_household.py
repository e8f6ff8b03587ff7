"""What a caller hears while others ring, before the answer and after it, on a house with nothing behind it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.calls.household import CallHouse
from engine.calls.identity import Caller
from engine.calls.leg import CallerLeg
from engine.log import get_logger
from flows.prompts import Prompt

TONE = "the usual tone"


class Owner:
    """A call, its line and its peers. ``heard`` has what the caller is sent: SIP statuses, and sounds."""

    def __init__(self, *, offer: bool = True, answered: bool = False, early: bool = False) -> None:
        self.heard: list[Any] = []
        self.forgotten: list[Any] = []
        self.records: list[Any] = []
        self.log = get_logger("test")
        self.append = self.records.append
        self.offer = offer
        self.outside = SimpleNamespace(tones=SimpleNamespace(ringback=TONE))
        self.peers = SimpleNamespace(forget=self._forget)
        self.call: Any = SimpleNamespace(
            id="c1", rang=False, answered_at=1.0 if answered else None, stream=SimpleNamespace(worker=None),
            now=lambda: 0.0, prepare=self._prepare, start=lambda prompts, loop: self.heard.append(prompts[0].media),
            play_files=lambda files, loop: self.heard.append(files[0]), stop=lambda: self.heard.append("stopped"),
        )  # fmt: skip
        self.leg = CallerLeg.__new__(CallerLeg)
        self.leg.agreed = cast("Any", SimpleNamespace(codec="PCMU")) if early or answered else None
        self.leg.invited = cast("Any", SimpleNamespace(ringing=lambda now: self.heard.append(180)))
        self.preferred: list[Any] = []
        self.leg.prefer = self.preferred.append  # type: ignore[method-assign]

    def pump(self) -> None: ...

    async def _forget(self, peer: Any) -> None:
        self.forgotten.append(peer)

    async def _prepare(self, prompts: list[Prompt]) -> list[Prompt]:
        return [prompt for prompt in prompts if prompt.media != "missing"]

    def early_media(self) -> str:
        if not self.offer:
            return "the INVITE has no offer"
        self.heard.append(183)
        self.leg.agreed = cast("Any", SimpleNamespace(codec="PCMU"))
        return ""


def house_of(owner: Owner) -> CallHouse:
    return CallHouse(cast("Any", owner), Caller("1"))


def phone(owner: Owner, name: str) -> Any:
    relayed = SimpleNamespace(relay=lambda to: owner.heard.append(f"{name} itself"))
    return SimpleNamespace(leg=SimpleNamespace(codecs=("PCMA",)), stream=relayed)


@pytest.mark.parametrize(
    ("ringback", "state", "heard"),
    [
        ("", {}, [180]),
        ("", {"early": True}, [TONE]),
        ("", {"answered": True}, [TONE]),
        ("music", {}, [183, "music"]),
        ("music", {"early": True}, ["music"]),
        ("music", {"answered": True}, ["music"]),
        ("music", {"offer": False}, [180]),
        ("missing", {}, [180]),
        ("missing", {"answered": True}, [TONE]),
    ],
)
async def test_what_rings(ringback: str, state: dict[str, bool], heard: list[Any]) -> None:
    owner = Owner(**state)
    house = house_of(owner)
    await house.ring_back(ringback)
    if ringback == "music" and state != {"offer": False}:
        assert owner.heard == heard  # before anybody rings
    house.caller_rings()
    if heard != [180]:
        house.caller_rings()
    assert owner.heard == heard
    assert len(owner.records) == ("answered" not in state)  # that it rings was put down, once


@pytest.mark.parametrize(
    ("ringback", "state", "before", "again"),
    [
        ("", {}, [183], TONE),
        ("music", {}, [183, "music", "stopped"], "music"),
        ("", {"answered": True}, [TONE, "stopped"], TONE),
    ],
)
async def test_early_media_takes_over_and_it_rings_again_after_it(
    ringback: str, state: dict[str, bool], before: list[Any], again: str
) -> None:
    owner = Owner(**state)
    house = house_of(owner)
    one, two = phone(owner, "one"), phone(owner, "two")
    await house.ring_back(ringback)
    house.caller_hears(one)
    assert owner.heard == [*before, "one itself"]
    assert owner.preferred == [("PCMA",)]
    house.caller_rings()  # another one does
    await house.forget(two)
    house.caller_rings()
    assert owner.heard == [*before, "one itself"]
    await house.forget(one)
    assert owner.heard == [*before, "one itself"]  # nobody rings yet
    house.caller_rings()
    assert owner.heard == [*before, "one itself", again]
    house.caller_hears(two)
    assert owner.heard == [*before, "one itself", again, "stopped", "two itself"]
    assert owner.forgotten == [two, one]


async def test_early_media_that_cannot_be_heard_is_ringing() -> None:
    owner = Owner(offer=False)
    house = house_of(owner)
    house.caller_hears(phone(owner, "one"))
    assert owner.heard == [180]
    assert owner.call.rang


async def test_nothing_sounds_on_when_the_ringing_is_over() -> None:
    owner = Owner()
    house = house_of(owner)
    await house.ring_back("music")

    async def unless_over(work: asyncio.Task[Any]) -> Any:
        return await work

    async def nobody() -> Any:
        return "nobody"

    owner.call.unless_over = unless_over
    assert await house.unless_over(cast("Any", asyncio.ensure_future(nobody()))) == "nobody"
    assert owner.heard == [183, "music", "stopped"]

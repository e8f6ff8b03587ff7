"""Dialling with phones that only pretend: who wins, who is let go, what is left when the caller hangs up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.calls.dialling import Dialling
from engine.calls.media import MediaError
from engine.calls.peer import LOCAL_FAULT, Claim, NoChannel, Peer, PeerEnd
from engine.sip.redirect import Trail
from engine.sip.uri import Address, Uri
from flows.call import CallEnded
from flows.orders import Dial, Target


@dataclass(frozen=True)
class Place:
    """Where a phone is, by its name; ``desk/1`` is a place of the device ``desk``."""

    name: str
    fallback = False
    trail: Trail | None = None

    @property
    def device(self) -> str:
        return self.name.partition("/")[0] if "/" in self.name else ""


class Phone(Peer):
    """A peer that answers or refuses when it is called; ``closing`` takes as long as the test says."""

    def __init__(self, place: Place, answers: PeerEnd | None) -> None:
        self.id = place.name
        self.destination = cast("Any", SimpleNamespace(label=place.name, trunk=""))
        self.trail = place.trail or Trail(Uri.parse(f"sip:{place.name}@here"))
        self.session = cast("Any", SimpleNamespace(trail=self.trail))
        self.state = "new"
        self.claim = None
        self.end: PeerEnd | None = None
        self.changed = asyncio.Event()
        self._answers = answers

    def hang_up(self, reason: str = "", *, cause: str = "") -> None:
        self.said = reason
        self.state = "ended"

    def ring(self) -> None:
        self.state = "answered" if self._answers is None else "ended"
        self.end = self._answers
        self.changed.set()


class House:
    """``ends``: how each destination ends when it is called, ``None`` to answer, ``...`` to ring on, a list of names to
    redirect there; an exception is raised instead of calling. ``forbidden``: where redirections may not lead.
    """

    forbidden: tuple[str, ...] = ()

    def __init__(self, ends: dict[str, Any]) -> None:
        self.ends = ends
        self.forgotten: list[str] = []
        self.called: list[str] = []
        self.phones: dict[str, Phone] = {}
        self.closing = asyncio.Event()
        self.closing.set()
        self.over = asyncio.Event()
        self.connected: list[str] = []

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def find(self, target: Target, order: Dial) -> list[list[Any]]:
        return [[Place(name) for name in line.split(",")] for line in str(target.value).split("|")]

    def follow(self, destination: Any, uri: Uri, order: Dial) -> list[list[Any]]:
        return [] if uri.user in self.forbidden else [[Place(uri.user or "")]]

    async def located(self, destination: Any) -> list[Any]:
        return [destination]

    async def make_peer(self, destination: Any) -> Any:
        end = self.ends[destination.name]
        if isinstance(end, Exception):
            raise end
        if isinstance(end, list):
            return Phone(destination, PeerEnd(302, "Moved"))
        return Phone(destination, end if end is not ... else None)

    def call_peer(self, peer: Any) -> None:
        self.called.append(peer.id)
        if isinstance(self.ends[peer.id], list):
            peer.trail.redirected(Address(Uri.parse(f"sip:{name}@here")) for name in self.ends[peer.id])
        self.phones[peer.id] = peer
        peer.on_change = lambda: None
        if self.ends[peer.id] is not ...:
            peer.ring()
        else:
            peer.state = "ringing"

    async def forget(self, peer: Any) -> None:
        await self.closing.wait()
        self.forgotten.append(peer.id)

    def caller_rings(self) -> None: ...

    def caller_hears(self, peer: Any) -> None: ...

    def name(self) -> str:
        return "caller"

    def conversing(self, conversation: Any) -> None: ...

    async def connect(self, peer: Any, other: Any = None) -> None:
        self.connected.append(peer.id)
        peer.state = "ended"

    async def disconnect(self) -> None: ...

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


@pytest.mark.parametrize(
    ("after", "status", "exits"), [(0.0, "completed", ()), (0.01, "completed", ()), (60.0, "failed", ("failed",))]
)
async def test_a_bridge_counts_as_a_success_if_it_was_long_enough(
    after: float, status: str, exits: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been a bridge all the same: how long it was, and the SIP status, are told as they are."""
    clock = iter((0.0, 2.0))
    monkeypatch.setattr(House, "now", lambda _: next(clock))
    outcome = await run(dial("a", success_after=after), House({"a": None}))
    assert (outcome.facts["status"], outcome.exits) == (status, exits)
    assert (outcome.facts["sip"], outcome.facts["duration"]) == ("200", "2")


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


@pytest.mark.parametrize("status", [408, 500, 501, 502, 503, 504, 505, 513, 580])
async def test_every_failure_of_a_trunk_lets_the_next_one_try(status: int) -> None:
    house = House({"t1": PeerEnd(status, "No"), "t2": None})
    assert (await run(dial("t1,t2"), house)).facts["status"] == "completed"


@pytest.mark.parametrize(
    ("q850", "cause", "status"),
    [
        (17, "USER_BUSY", "busy"),
        (1, "UNALLOCATED_NUMBER", "failed"),
        (21, "CALL_REJECTED", "failed"),
        (19, "NO_ANSWER", "no-answer"),
    ],
)
async def test_what_the_far_end_says_of_who_was_called_counts_more_than_a_503(
    q850: int, cause: str, status: str
) -> None:
    """RFC 3326: a gateway tells by the Reason header that somebody is busy; no other trunk helps."""
    house = House({"t1": PeerEnd(503, "Unavailable", q850), "t2": None})
    outcome = await run(dial("t1,t2"), house)
    assert house.called == ["t1"]
    assert outcome.exits == (cause, "sip:503", "failed")
    assert [outcome.facts[name] for name in ("status", "cause", "q850", "sip")] == [status, cause, str(q850), "503"]


async def test_a_trunk_that_has_no_way_there_is_passed_over_whatever_its_status() -> None:
    house = House({"t1": PeerEnd(404, "Not Found", 3), "t2": None})
    assert (await run(dial("t1,t2"), house)).facts["status"] == "completed"


async def test_of_two_ends_a_cause_says_more_than_a_status() -> None:
    house = House({"a": GONE, "b": PeerEnd(503, "Unavailable", 17)})
    assert (await run(dial("a", "b"), house)).facts["cause"] == "USER_BUSY"


async def test_who_is_busy_by_the_cause_ends_the_ringing_where_one_refusal_does() -> None:
    house = House({"a": PeerEnd(503, "Unavailable", 17), "b": None})
    await run(dial("a", "b", strategy="single", stop_on_reject=True), house)
    assert house.called == ["a"]


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


async def test_all_places_of_a_device_ring_and_the_first_who_answers_wins() -> None:
    house = House({"desk/1": ..., "desk/2": None, "desk/3": ...})
    outcome = await run(dial("desk/1|desk/2|desk/3"), house)
    assert outcome.facts["status"] == "completed"
    assert house.connected == ["desk/2"]
    assert sorted(house.forgotten) == ["desk/1", "desk/2", "desk/3"]


async def test_one_place_that_is_busy_leaves_the_others_ringing_and_one_that_declines_does_not() -> None:
    """RFC 3261 section 16.7: a 6xx speaks for all places of the device, and of no other."""
    house = House({"desk/1": BUSY, "desk/2": ..., "other/1": ...})
    outcome = await run(dial("desk/1|desk/2", "other/1", timeout=0.05), house)
    assert outcome.facts["cause"] == "NO_ANSWER"
    house = House({"desk/1": PeerEnd(603, "Decline"), "desk/2": ...})
    outcome = await run(dial("desk/1|desk/2", timeout=30), house)
    assert (outcome.facts["cause"], outcome.facts["sip"]) == ("CALL_REJECTED", "603")
    assert sorted(house.forgotten) == ["desk/1", "desk/2"]
    house = House({"desk/1": PeerEnd(603, "Decline"), "other/1": ...})
    outcome = await run(dial("desk/1", "other/1", timeout=0.05), house)
    assert outcome.facts["cause"] == "NO_ANSWER"


async def test_a_redirection_is_followed_in_order_and_not_where_it_may_not_lead() -> None:
    house = House({"a": ["b", "c", "d"], "b": GONE, "d": None})
    house.forbidden = ("c",)
    outcome = await run(dial("a"), house)
    assert outcome.facts["status"] == "completed"
    assert house.called == ["a", "b", "d"]
    assert house.connected == ["d"]
    assert house.forgotten == ["a", "b", "d"]
    house = House({"a": ["b"], "b": None})
    house.forbidden = ("b",)
    outcome = await run(dial("a"), house)
    assert (house.called, outcome.facts["sip"], outcome.facts["status"]) == (["a"], "302", "failed")


async def test_redirections_in_a_circle_and_without_end_come_to_an_end() -> None:
    house = House({"a": ["b"], "b": ["a", "b"]})
    outcome = await run(dial("a"), house)
    assert house.called == ["a", "b"]
    assert outcome.facts["sip"] == "302"
    house = House({str(number): [str(number + 1)] for number in range(100)})
    await run(dial("0"), house)
    assert len(house.called) == 6
    wide = House({"a": [f"b{number}" for number in range(16)], **{f"b{number}": GONE for number in range(16)}})
    await run(dial("a"), wide)
    assert len(wide.called) == 10


async def test_whoever_declines_ends_the_redirection_too() -> None:
    house = House({"a": ["b", "c"], "b": PeerEnd(600, "Busy Everywhere"), "c": None})
    outcome = await run(dial("a"), house)
    assert (house.called, outcome.facts["sip"]) == (["a", "b"], "600")


async def test_a_caller_who_hangs_up_lets_go_who_rings_after_a_redirection() -> None:
    house = House({"a": ["b"], "b": ...})
    dialling = asyncio.create_task(run(dial("a"), house))
    await asyncio.sleep(0.02)
    assert house.called == ["a", "b"]
    house.over.set()
    with pytest.raises(CallEnded):
        await dialling
    assert house.forgotten == ["a", "b"]


async def test_a_trunk_without_a_free_channel_is_passed_over() -> None:
    full = NoChannel("all 2 channels of t1 are in use")
    house = House({"t1": full, "t2": None})
    assert (await run(dial("t1,t2"), house)).facts["status"] == "completed"
    outcome = await run(dial("t1"), House({"t1": full}))
    assert (outcome.facts["cause"], outcome.facts["q850"], outcome.facts["sip"]) == (
        "NORMAL_CIRCUIT_CONGESTION", "34", "",
    )  # fmt: skip
    assert outcome.exits == ("NORMAL_CIRCUIT_CONGESTION", "failed")


async def test_what_breaks_here_is_not_said_to_be_a_person_who_does_not_answer() -> None:
    lost = PeerEnd(503, "the media worker died", by="local", cause=LOCAL_FAULT)
    for end in (lost, MediaError("no ports")):
        outcome = await run(dial("a"), House({"a": end}))
        assert (outcome.facts["cause"], outcome.facts["status"], outcome.facts["sip"]) == (
            "NETWORK_OUT_OF_ORDER", "failed", "",
        )  # fmt: skip
    outcome = await run(dial("a", "b"), House({"a": lost, "b": GONE}))
    assert outcome.facts["cause"] == "UNALLOCATED_NUMBER", "what somebody said counts before that"


async def test_places_of_one_device_ring_in_turn_where_the_flow_wants_that() -> None:
    house = House({"desk/1": BUSY, "desk/2": None, "desk/3": None})
    outcome = await run(dial("desk/1|desk/2|desk/3", strategy="single"), house)
    assert (outcome.facts["status"], house.called) == ("completed", ["desk/1", "desk/2"])


def claimed(house: House, name: str, end: PeerEnd | None, refused: list[int]) -> bool:
    """Somebody called "taker" wants the call that rings at ``name``, and is answered or not."""

    async def take() -> Any:
        taker = Phone(Place("taker"), None)
        taker.state = "answered"
        return taker if end is None else end

    return house.phones[name].claimed(Claim(take, lambda status, _reason: refused.append(status)))


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_call_that_rings_is_picked_up_elsewhere() -> None:
    house, refused = House({"a": ..., "b": ...}), list[int]()
    dialling = asyncio.ensure_future(run(dial("a", "b"), house))
    await settle()
    assert claimed(house, "a", None, refused)
    assert not claimed(house, "a", None, refused)  # one is enough
    outcome = await dialling
    assert (outcome.facts["status"], house.connected, refused) == ("completed", ["taker"], [])
    assert house.phones["a"].said == "Call completed elsewhere"
    assert sorted(house.forgotten) == ["a", "b", "taker"]


async def test_who_cannot_pick_up_leaves_it_ringing() -> None:
    house, refused = House({"a": ...}), list[int]()
    dialling = asyncio.ensure_future(run(dial("a"), house))
    await settle()
    assert claimed(house, "a", PeerEnd(488, "no common media"), refused)
    await settle()
    assert house.phones["a"].state == "ringing"
    house.phones["a"].ring()
    assert (await dialling).facts["status"] == "completed"
    assert house.connected == ["a"]
    assert not claimed(house, "a", None, refused)


@pytest.mark.parametrize(("ends", "status"), [(None, 486), (BUSY, 481)])
async def test_what_ends_at_the_same_moment_is_not_picked_up(ends: PeerEnd | None, status: int) -> None:
    house, refused = House({"a": ...}), list[int]()
    dialling = asyncio.ensure_future(run(dial("a"), house))
    await settle()
    assert claimed(house, "a", None, refused)
    house.phones["a"]._answers = ends
    house.phones["a"].ring()
    await dialling
    assert refused == [status]
    assert "taker" not in house.connected


async def test_the_caller_hangs_up_while_somebody_picks_up() -> None:
    house, refused = House({"a": ...}), list[int]()
    dialling = asyncio.ensure_future(run(dial("a"), house))
    await settle()
    assert claimed(house, "a", None, refused)
    house.over.set()
    with pytest.raises(CallEnded):
        await dialling
    assert (house.connected, refused) == ([], [])
    assert house.forgotten == ["a", "taker"]  # who was answered already is let go

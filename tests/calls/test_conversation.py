"""Who talks with whom while somebody hands somebody on: every way that a transfer can go, on phones that pretend."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.calls.changing import Change, UnderWay
from engine.calls.conversation import Conversation
from engine.calls.media import MediaError
from engine.calls.peer import Peer, PeerEnd
from flows.call import CallEnded

BUSY = PeerEnd(486, "Busy Here")


class Phone(Peer):
    """A peer without anything behind it."""

    def __init__(self, house: House, name: str) -> None:
        self.id = self.name = name
        self.house = house
        self.destination = cast("Any", SimpleNamespace(label=name))
        self.state = "answered"
        self.end: PeerEnd | None = None
        self.changed = asyncio.Event()
        self.on_change = house.poke
        self.stream = cast(
            "Any", SimpleNamespace(worker=None, relay=lambda to: house.log.append(f"{name} is heard early"))
        )
        self.keys = deque()
        self.channel = self.share = None
        self.listening = False
        self.log = cast("Any", SimpleNamespace(error=lambda *_, **__: None))

    def press(self, key: str) -> None:
        if self.listening:
            self.keys.append(key)
            self.house.poke()

    def leaves(self) -> None:
        self.finish(PeerEnd(200, "hung up"))


class House:
    """Alice is on the line, and talks with Bob. ``talks``: who hears whom now."""

    def __init__(self) -> None:
        self.line = "alice"
        self.phones: dict[str, Phone] = {}
        self.talks: frozenset[str] = frozenset()
        self.music_for = self.rings_to = ""
        self.log: list[str] = []
        self.gone: list[str] = []
        self.transfers: list[tuple[tuple[str, str], tuple[str, str], bool]] = []
        self.ended = ""
        self.conversation: Conversation | None = None
        self.no_media = False
        self._wake: asyncio.Event = asyncio.Event()
        self._over: tuple[str, str] | None = None

    def phone(self, name: str) -> Phone:
        return self.phones.setdefault(name, Phone(self, name))

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def name(self) -> str:
        return self.line

    def conversing(self, conversation: Conversation | None) -> None:
        self.conversation = conversation

    async def connect(self, peer: Any, other: Any = None) -> None:
        await self.disconnect()
        if self.no_media:
            raise MediaError("no port")
        self.talks = frozenset((peer.name, other.name if other is not None else self.line))

    async def disconnect(self) -> None:
        self.talks = frozenset()
        self.music_for = self.rings_to = ""

    async def ring_back(self, media: str) -> None:
        self.rings_to = self.line

    def rings_for(self, peer: Any) -> None:
        self.rings_to = peer.name

    def music(self) -> None:
        self.music_for = self.line

    def caller_rings(self) -> None: ...

    def caller_hears(self, peer: Any) -> None:
        self.log.append(f"{self.line} hears {peer.name} early")

    def off_hold(self) -> None: ...

    def exchange(self, peer: Any) -> Any:
        former, self.line = self.phone(self.line), peer.name
        return former

    def give_away(self, peer: Any) -> None:
        self.log.append(f"{peer.name} given away")

    async def moved(self, peer: Any) -> None: ...

    def go_on(self, aim: Any, before: Any, after: Any) -> None:
        self.log.append(f"flow {aim}")

    def transferred(self, peer: Any, before: Any, after: Any, *, attended: bool) -> None:
        self.transfers.append((before, after, attended))

    async def forget(self, peer: Any) -> None:
        if peer.name not in self.gone:
            self.gone.append(peer.name)
        peer.finish(PeerEnd(200, "", by="local"))

    async def wait(self, deadline: float | None) -> str:
        if self._over is None:
            self._wake.clear()
            await self._wake.wait()
        if self._over is not None:
            raise CallEnded("caller", "hung up")
        return ""

    def poke(self) -> None:
        self._wake.set()

    def line_hangs_up(self) -> None:
        """What the supervisor does."""
        if self.conversation is None or not self.conversation.line_left(PeerEnd(200, "hung up")):
            self._over = ("caller", "hung up")
            self.poke()

    async def hang_up(self, reason: str) -> None:
        self.ended = reason
        raise CallEnded("flow", reason)

    async def unless_over(self, work: Any) -> Any:
        return await work


class Scene:
    """Alice and Bob talk; Carol is whom one of them hands the other on to."""

    def __init__(self) -> None:
        self.house = House()
        self.bob, self.carol = self.house.phone("bob"), self.house.phone("carol")
        self.told: list[int] = []
        self.conversation = Conversation(cast("Any", self.house), self.bob)
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.ring: Any = None
        self.cancelled = False
        self.task = asyncio.ensure_future(self.conversation.run())

    async def begin(self, leaves: Any, *, attended: bool = False) -> None:
        await self.settle()
        self.ask(leaves, attended=attended)
        await self.settle()

    def ask(self, leaves: Any, *, attended: bool = False) -> None:

        async def ring(house: Any) -> Any:
            self.ring = house
            try:
                return await asyncio.shield(self.answer)
            except asyncio.CancelledError:
                self.cancelled = True
                raise

        tell: Callable[[int, str], None] = lambda status, _reason: self.told.append(status)  # noqa: E731
        self.conversation.ask(Change(leaves, ring, attended=attended, tell=tell))

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def rings(self) -> None:
        self.ring.caller_rings()
        await self.settle()

    async def answers(self, with_: Any = None) -> None:
        self.answer.set_result(with_ if with_ is not None else self.carol)
        await self.settle()

    async def over(self) -> str:
        """The end of the conversation, in a word."""
        try:
            await asyncio.wait_for(self.task, 1.0)
        except CallEnded:
            return "call over"
        return "flow goes on"


SIDES = [("peer", {"alice", "carol"}, "bob"), ("line", {"bob", "carol"}, "alice")]


@pytest.mark.parametrize(("leaves", "talk", "gone"), SIDES)
async def test_blind(leaves: str, talk: set[str], gone: str) -> None:
    scene = Scene()
    await scene.begin(leaves)
    assert scene.house.talks == {"alice", "bob"}  # until it rings
    await scene.rings()
    assert (scene.house.talks, scene.house.rings_to) == (frozenset(), (talk - {"carol"}).pop())
    await scene.answers()
    assert scene.house.talks == talk
    assert scene.house.gone == [gone]
    assert scene.told == [180, 200]
    after = ("alice", "carol") if leaves == "peer" else ("carol", "bob")
    assert scene.house.transfers == [(("alice", "bob"), after, False)]
    scene.carol.leaves()
    assert await scene.over() == "call over"  # whoever is on the line: the flow was not for this talk
    assert set(scene.house.gone) == {gone, "carol"}


@pytest.mark.parametrize(("leaves", "talk", "gone"), SIDES)
async def test_a_blind_transfer_that_fails(leaves: str, talk: set[str], gone: str) -> None:
    scene = Scene()
    await scene.begin(leaves)
    await scene.rings()
    await scene.answers(BUSY)
    assert (scene.house.talks, scene.house.line) == ({"alice", "bob"}, "alice")
    assert scene.told == [180, 486]
    assert scene.house.transfers == []
    scene.bob.leaves()
    assert await scene.over() == "flow goes on"


@pytest.mark.parametrize(("leaves", "talk", "gone"), SIDES)
@pytest.mark.parametrize("attended", [True, False])
async def test_who_hands_on_hangs_up_at_the_same_moment(leaves: str, talk: set[str], gone: str, attended: bool) -> None:
    """The BYE is read together with what asked for the transfer: the one who stays gets somebody all the same."""
    scene = Scene()
    await scene.settle()
    scene.ask(leaves, attended=attended)
    if leaves == "line":
        scene.house.line_hangs_up()
    else:
        scene.bob.leaves()
    await scene.settle()
    assert not scene.house.talks
    await scene.answers()
    assert scene.house.talks == talk
    assert scene.house.gone == [gone]
    assert scene.told[-1] == 200
    scene.carol.leaves()
    assert await scene.over() == "call over"


@pytest.mark.parametrize("leaves", ["peer", "line"])
async def test_who_stays_hangs_up_at_the_same_moment(leaves: str) -> None:
    """Nobody is rung for nobody, and who asked is told."""
    scene = Scene()
    await scene.settle()
    scene.ask(leaves)
    if leaves == "peer":
        scene.house.line_hangs_up()
    else:
        scene.bob.leaves()
    await scene.over()
    assert scene.told == [487]
    assert scene.ring is None


@pytest.mark.parametrize("side", ["peer", "line"])
async def test_one_is_given_away_though_the_other_has_just_hung_up(side: Any) -> None:
    scene = Scene()
    await scene.settle()
    wanted = scene.conversation.give(side)
    if side == "peer":
        scene.house.line_hangs_up()
    else:
        scene.bob.leaves()
    assert await scene.over() == "call over"
    given = cast("Any", wanted.result())
    assert (given.name, given.state) == ("bob" if side == "peer" else "alice", "answered")


@pytest.mark.parametrize(("leaves", "talk", "gone"), SIDES)
@pytest.mark.parametrize("answers", [True, False])
async def test_who_handed_on_hangs_up_before_the_answer(leaves: str, talk: set[str], gone: str, answers: bool) -> None:
    scene = Scene()
    await scene.begin(leaves)
    scene.house.phone(gone).leaves()
    await scene.settle()
    assert scene.house.rings_to == (talk - {"carol"}).pop()
    await scene.answers(None if answers else BUSY)
    if answers:
        assert scene.house.talks == talk
        scene.carol.leaves()
    # Nobody is left to talk with: the flow of the caller goes on, but not on who was called.
    assert await scene.over() == ("call over" if answers or leaves == "line" else "flow goes on")


@pytest.mark.parametrize(("attended", "heard"), [(False, "alice hears carol early"), (True, "carol is heard early")])
async def test_early_media_is_heard_by_who_waits_for_it(attended: bool, heard: str) -> None:
    scene = Scene()
    await scene.begin("peer", attended=attended)
    scene.ring.caller_hears(scene.carol)
    await scene.settle()
    assert scene.house.log == [heard]
    assert scene.house.talks == frozenset()
    await scene.answers(BUSY)
    assert scene.house.talks == {"alice", "bob"}
    scene.task.cancel()


@pytest.mark.parametrize(("attended", "waits"), [(False, "alice"), (True, "bob")])
async def test_it_rings_again_when_who_was_heard_early_fails(attended: bool, waits: str) -> None:
    scene = Scene()
    await scene.begin("peer", attended=attended)
    scene.ring.caller_hears(scene.carol)
    await scene.settle()
    await scene.rings()
    assert scene.house.rings_to == ""  # Carol is heard
    await scene.ring.forget(scene.carol)
    await scene.settle()
    assert scene.house.rings_to == ""  # nobody else rings yet
    await scene.rings()
    assert scene.house.rings_to == waits
    await scene.answers(BUSY)
    assert scene.house.talks == {"alice", "bob"}
    scene.task.cancel()


async def test_the_call_ends_while_the_target_rings() -> None:
    scene = Scene()
    await scene.begin("peer")
    scene.house.line_hangs_up()
    assert await scene.over() == "call over"
    assert scene.cancelled
    assert scene.told == [487]
    assert scene.house.gone == ["bob"]


async def test_without_media_for_the_new_one_both_talk_again() -> None:
    scene = Scene()
    await scene.begin("peer")
    real = scene.house.connect

    async def once(peer: Any, other: Any = None) -> None:
        scene.house.connect = real  # type: ignore[method-assign]
        raise MediaError("no port")

    scene.house.connect = once  # type: ignore[method-assign]
    await scene.answers()
    assert (scene.house.talks, scene.house.gone, scene.told) == ({"alice", "bob"}, ["carol"], [500])
    scene.task.cancel()


async def test_one_at_a_time() -> None:
    scene = Scene()
    await scene.begin("peer")
    with pytest.raises(UnderWay):
        scene.conversation.ask(Change("line", cast("Any", None)))
    with pytest.raises(UnderWay):
        scene.conversation.give("line")
    scene.task.cancel()


@pytest.mark.parametrize(("leaves", "talk", "gone"), SIDES)
async def test_attended(leaves: str, talk: set[str], gone: str) -> None:
    scene = Scene()
    await scene.begin(leaves, attended=True)
    waits = (talk - {"carol"}).pop()
    assert (scene.house.talks, scene.house.music_for) == (frozenset(), waits)
    await scene.rings()
    assert scene.house.rings_to == gone
    await scene.answers()
    assert (scene.house.talks, scene.house.music_for) == ({gone, "carol"}, waits)
    scene.house.phone(gone).press("5")  # other keys mean nothing
    scene.house.phone(gone).press("*")
    await scene.settle()
    assert scene.house.talks == talk
    assert scene.house.gone == [gone]
    assert scene.told[-1] == 200
    assert scene.house.transfers[0][2]
    scene.carol.leaves()
    assert await scene.over() == "call over"


@pytest.mark.parametrize(("leaves", "talk", "gone"), SIDES)
@pytest.mark.parametrize("how", ["# while it rings", "# while they talk", "carol leaves", "busy"])
async def test_a_consultation_that_comes_to_nothing(leaves: str, talk: set[str], gone: str, how: str) -> None:
    scene = Scene()
    await scene.begin(leaves, attended=True)
    await scene.rings()
    if how == "# while it rings":
        scene.house.phone(gone).press("#")
    elif how == "busy":
        await scene.answers(BUSY)
    else:
        await scene.answers()
        if how == "carol leaves":
            scene.carol.leaves()
        else:
            scene.house.phone(gone).press("#")
    await scene.settle()
    assert (scene.house.talks, scene.house.line) == ({"alice", "bob"}, "alice")
    assert scene.house.transfers == []
    assert scene.told[-1] == (486 if how == "busy" else 487)
    assert scene.cancelled is (how == "# while it rings")
    assert not scene.conversation.changing
    scene.bob.leaves()
    assert await scene.over() == "flow goes on"


@pytest.mark.parametrize(("leaves", "talk", "gone"), SIDES)
@pytest.mark.parametrize("by", ["key", "hanging up"])
async def test_who_consults_completes_before_the_answer(leaves: str, talk: set[str], gone: str, by: str) -> None:
    scene = Scene()
    await scene.begin(leaves, attended=True)
    await scene.rings()
    leaver = scene.house.phone(gone)
    leaver.press("*") if by == "key" else leaver.leaves()
    await scene.settle()
    assert scene.house.rings_to == (talk - {"carol"}).pop()
    await scene.answers()
    assert scene.house.talks == talk
    assert scene.told[-1] == 200
    scene.task.cancel()


@pytest.mark.parametrize(("leaves", "talk", "gone"), SIDES)
@pytest.mark.parametrize("answered", [True, False])
async def test_who_waits_hangs_up(leaves: str, talk: set[str], gone: str, answered: bool) -> None:
    """The two who consult go on talking; without an answer one is left alone."""
    scene = Scene()
    await scene.begin(leaves, attended=True)
    await scene.rings()
    if answered:
        await scene.answers()
    waits = (talk - {"carol"}).pop()
    if scene.house.line == waits:
        scene.house.line_hangs_up()
    await scene.settle()
    assert scene.house.line == gone
    assert scene.told[-1] == 487
    if answered:
        assert scene.house.talks == {gone, "carol"}
        assert scene.house.gone == [waits]
        scene.carol.leaves()
    else:
        assert scene.cancelled
    # The flow was that of Alice.
    assert await scene.over() == ("flow goes on" if gone == "alice" else "call over")


@pytest.mark.parametrize(("side", "left"), [("peer", "alice"), ("line", "bob")])
async def test_one_is_given_to_another_call(side: Any, left: str) -> None:
    scene = Scene()
    await scene.settle()
    wanted = scene.conversation.give(side)
    assert await scene.over() == "call over"
    given = cast("Any", wanted.result())
    assert (given.name, scene.house.line) == ("bob" if side == "peer" else "alice", left)
    assert scene.house.gone == []
    assert given.state == "answered"
    assert scene.house.ended == "transferred"


async def test_a_call_that_ends_gives_nobody() -> None:
    scene = Scene()
    await scene.settle()
    wanted = scene.conversation.give("peer")
    scene.house._over = ("caller", "hung up")
    scene.bob.leaves()
    await scene.over()
    assert wanted.cancelled()


async def test_who_has_been_given_up_is_not_given_away() -> None:
    scene = Scene()
    await scene.settle()
    scene.conversation.give("peer").cancel()
    await scene.settle()
    assert scene.house.talks == {"alice", "bob"}
    scene.bob.leaves()
    assert await scene.over() == "flow goes on"

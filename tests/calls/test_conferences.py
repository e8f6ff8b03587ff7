"""Who may be in a conference how long, and who ends it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from engine.calls.conference import Conferences
from engine.calls.naming import HAS_COME, SAY_NAME
from flows.call import CallEnded
from flows.orders import Conference, Outcome
from media import commands

PLAIN = Conference(room="room", welcome="", entry_tone="", exit_tone="", moderator=True)
ENDING = Conference(room="room", welcome="", entry_tone="", exit_tone="", moderator=True, ends_with_member=True)


class Hold:
    quiet = holding = False

    def watch(self, _: object) -> None: ...

    def unwatch(self, _: object) -> None: ...


class Line:
    """A stream: what is sent to its worker is kept."""

    def __init__(self, worker: object) -> None:
        self.worker = worker
        self.number = 1
        self.sent: list[object] = []
        self.played: list[list[str]] = []

    def send(self, message: object) -> None:
        self.sent.append(message)

    def play(self, files: list[object]) -> None:
        self.played.append([str(file) for file in files])


class Caller:
    """A call, as conferences see it."""

    worker = object()

    def __init__(self, name: str) -> None:
        self.id = name
        self.facts = {"call.account": "default"}
        self.stream = Line(self.worker)
        self.on_hold = Hold()
        self.ended = False
        self.heard: list[str] = []
        self._wake = asyncio.Event()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def poke(self) -> None:
        self._wake.set()

    def hang_up(self) -> None:
        self.ended = True
        self.poke()

    def start(self, prompts: Any, *, loop: bool = False) -> None:
        self.heard += [prompt.text for prompt in prompts]

    async def prepare(self, prompts: Any) -> Any:
        return [prompt for prompt in prompts if prompt.media != "lost.wav"]

    async def sounds_of(self, prompts: Any) -> dict[Any, str]:
        return {prompt: prompt.media or prompt.text for prompt in await self.prepare(prompts)}

    async def played(self) -> None: ...

    def play_files(self, _: object, *, loop: bool = False) -> None: ...

    def stop(self) -> None: ...

    async def key_or_change(self, deadline: float | None) -> str:
        self._check()
        timeout = None if deadline is None else max(0.0, deadline - self.now())
        try:
            await asyncio.wait_for(self._wake.wait(), timeout)
        except TimeoutError:
            return ""
        self._wake.clear()
        self._check()
        return ""

    def _check(self) -> None:
        if self.ended:
            raise CallEnded("caller", "hung up")


class Names:
    """Who says which name: a file; and those that are let go."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}
        self.gone: list[str] = []

    async def ask(self, call: Any) -> Any:
        call.heard.append("asked")
        return self.said.get(call.id)

    def let_go(self, path: Any) -> None:
        self.gone.append(path)


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def rooms(names: Names) -> Conferences:
    tones = type("Tones", (), {"music": "m", "entry": "e", "leaving": "l"})()
    return Conferences(cast("Any", tones), cast("Any", names))


async def join(rooms: Conferences, caller: Caller, order: Conference) -> asyncio.Task[Outcome]:
    """The caller in the room, or waiting in it."""
    joining = asyncio.create_task(rooms.join(cast("Any", caller), order))
    await settle()
    return joining


async def settle() -> None:
    """Let everybody do what can be done now."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_room_is_closed_when_the_member_leaves_who_is_to_end_it(rooms: Conferences) -> None:
    """Whoever else is in it, those who may begin one too."""
    alice, bob, carol = Caller("alice"), Caller("bob"), Caller("carol")
    first, second, third = (
        await join(rooms, alice, ENDING),
        await join(rooms, bob, PLAIN),
        await join(rooms, carol, ENDING),
    )
    bob.hang_up()
    await settle()
    assert (second.done(), first.done(), third.done()) == (True, False, False)
    alice.hang_up()
    assert (await asyncio.wait_for(third, 1)).facts["status"] == "completed"
    await asyncio.gather(first, second, return_exceptions=True)
    assert len(rooms) == 0


async def test_others_may_leave_a_moderator_too(rooms: Conferences) -> None:
    alice, bob = Caller("alice"), Caller("bob")
    first = await join(rooms, alice, PLAIN)
    second = await join(rooms, bob, Conference(room="room", welcome="", entry_tone="", exit_tone=""))
    alice.hang_up()
    await settle()
    assert (first.done(), second.done()) == (True, False)
    bob.hang_up()
    await asyncio.gather(first, second, return_exceptions=True)


async def test_who_waits_for_a_moderator_is_let_go_with_the_room(rooms: Conferences) -> None:
    alice, bob = Caller("alice"), Caller("bob")
    waiting = Conference(room="room", welcome="", wait_for_moderator=True)
    ending = Conference(room="room", welcome="", wait_for_moderator=True, ends_with_member=True)
    first, second = await join(rooms, alice, ending), await join(rooms, bob, waiting)
    alice.hang_up()
    assert (await asyncio.wait_for(second, 1)).facts["status"] == "completed"
    await asyncio.gather(first, return_exceptions=True)


async def test_the_time_that_one_has_ends_the_room_as_well(rooms: Conferences) -> None:
    alice, bob = Caller("alice"), Caller("bob")
    limited = Conference(room="room", welcome="", moderator=True, ends_with_member=True, time_limit=0.05)
    first, second = await join(rooms, alice, limited), await join(rooms, bob, PLAIN)
    await asyncio.wait_for(asyncio.gather(first, second), 1)
    assert len(rooms) == 0


async def test_who_comes_while_a_closed_room_empties_begins_a_new_one(rooms: Conferences) -> None:
    alice, bob, carol = Caller("alice"), Caller("bob"), Caller("carol")
    first, second = await join(rooms, alice, ENDING), await join(rooms, bob, PLAIN)
    alice.hang_up()
    await asyncio.wait([first])
    third = asyncio.create_task(rooms.join(cast("Any", carol), PLAIN))
    await asyncio.wait_for(second, 1)
    await settle()
    assert not third.done()
    assert len(rooms) == 1
    carol.hang_up()
    await asyncio.gather(first, third, return_exceptions=True)
    assert len(rooms) == 0


async def test_those_who_are_left_go_on_when_the_worker_of_the_room_dies(
    rooms: Conferences, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their own workers live: they meet again in a room on one of those."""
    lost: list[Callable[[], None]] = []

    @contextlib.asynccontextmanager
    async def stand_in(stream: Line, worker: object, told: Callable[[], None]) -> AsyncIterator[Line]:
        if stream.worker is not worker:
            lost.append(told)
        yield stream

    monkeypatch.setattr("engine.calls.conference.stand_in", stand_in)
    alice, bob, carol = (Caller(name) for name in ("alice", "bob", "carol"))
    for each in (alice, bob, carol):
        each.stream.worker = each
    joined = [await join(rooms, each, PLAIN) for each in (alice, bob, carol)]
    assert len(lost) == 2, "bob and carol are in the room of alice's worker"
    alice.hang_up()  # her call ends with her worker
    for told in lost[:2]:
        told()
    await settle()
    (room,) = rooms._rooms.values()
    assert (set(room.members), room.worker) == ({"bob", "carol"}, bob)
    assert [each.done() for each in joined] == [True, False, False]
    bob.hang_up()
    carol.hang_up()
    await asyncio.gather(*joined, return_exceptions=True)
    assert len(rooms) == 0


@pytest.mark.parametrize("waits", [False, True])
async def test_who_takes_the_place_of_a_member_is_in_the_room_and_does_not_end_it(
    rooms: Conferences, waits: bool
) -> None:
    moderated = replace(ENDING, moderator=not waits, wait_for_moderator=waits)
    alice, bob = Caller("alice"), Caller("bob")
    first, second = await join(rooms, alice, moderated), await join(rooms, bob, replace(PLAIN, moderator=False))
    before, after = alice.stream, Line(Caller.worker)
    alice.stream, alice.on_hold = after, Hold()
    alice.poke()
    await settle()
    (room,) = rooms._rooms.values()
    assert set(room.members) == {"alice", "bob"}
    assert isinstance(before.sent[-1], commands.Leave)
    assert [type(each) for each in after.sent] == ([] if waits else [commands.Join])
    assert room.members["alice"].stream is after
    alice.hang_up()
    await settle()
    assert room.closed
    assert second.done()
    await asyncio.gather(first, second, return_exceptions=True)


async def test_no_more_come_in_than_there_is_room_for_whoever_is_being_greeted(rooms: Conferences) -> None:
    order = Conference(room="room", welcome="hello.wav", entry_tone="", exit_tone="", moderator=True, most=1)
    greeted = asyncio.Event()

    class Greeted(Caller):
        async def prepare(self, prompts: list[object]) -> list[object]:
            await greeted.wait()
            return []

    joined = [await join(rooms, Greeted(name), order) for name in ("alice", "bob")]
    greeted.set()
    await settle()
    assert [each.done() for each in joined] == [False, True]
    assert joined[1].result().exits == ("failed",)
    joined[0].cancel()
    await asyncio.gather(*joined, return_exceptions=True)


class WhoPresses(Caller):
    """A caller who presses keys as they are asked for, and knows which of them are secret."""

    def __init__(self, keys: str) -> None:
        super().__init__("presses")
        self.keys, self.secret_keys = keys, ""
        self._is_secret = False

    @contextlib.contextmanager
    def secret(self) -> Iterator[None]:
        self._is_secret = True
        yield
        self._is_secret = False

    async def prepare(self, _: object) -> tuple[object, ...]:
        return ()

    async def key_or_change(self, deadline: float | None) -> str:
        if not self._is_secret or not self.keys:
            return await super().key_or_change(deadline)
        key, self.keys = self.keys[0], self.keys[1:]
        self.secret_keys += key
        return key


@pytest.mark.parametrize(("keys", "moderates"), [("4711#", False), ("1#0815", True), ("12#13#14#", None)])
async def test_a_pin_is_asked_for_in_secret(rooms: Conferences, keys: str, moderates: bool | None) -> None:
    caller = WhoPresses(keys)
    order = replace(PLAIN, moderator=False, pins=("4711",), moderator_pins=("0815",))
    joined = await join(rooms, caller, order)
    assert caller.secret_keys == keys.removesuffix("#") or moderates is None
    if moderates is None:
        assert (await joined).story == "the PIN was wrong"
        assert caller.secret_keys == keys
        return
    (room,) = rooms._rooms.values()
    assert room.moderated == moderates
    caller.hang_up()
    await asyncio.gather(joined, return_exceptions=True)


async def test_media_of_the_flow_is_heard_when_somebody_comes_and_goes(rooms: Conferences) -> None:
    """In place of our tones, which are heard when it cannot be had."""
    alice, bob, carol = Caller("alice"), Caller("bob"), Caller("carol")
    own = replace(PLAIN, entry_tone="in.wav", exit_tone="out.wav")
    tasks = [
        await join(rooms, alice, PLAIN),
        await join(rooms, bob, own),
        await join(rooms, carol, replace(own, entry_tone="lost.wav", exit_tone="default")),
    ]
    for caller in (bob, carol):
        caller.hang_up()
        await settle()
    assert alice.stream.played == [["in.wav"], ["e"], ["out.wav"], ["l"]]
    assert bob.stream.played == [["e"]]
    alice.hang_up()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_name_is_asked_for_and_announced_to_those_who_are_there(rooms: Conferences, names: Names) -> None:
    alice, bob, carol = Caller("alice"), Caller("bob"), Caller("carol")
    names.said["bob"] = "bob.wav"
    announced = replace(PLAIN, entry_tone="default", announce_name=True)
    tasks = [
        await join(rooms, alice, PLAIN),
        await join(rooms, bob, announced),
        await join(rooms, carol, announced),
    ]
    assert alice.stream.played == [["e", "bob.wav", HAS_COME], ["e"]], "Carol said no name"
    assert (alice.heard, bob.heard, carol.heard) == ([], [SAY_NAME, "asked"], [SAY_NAME, "asked"])
    assert names.gone == []
    for caller in (alice, bob, carol):
        caller.hang_up()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert names.gone == ["bob.wav"]

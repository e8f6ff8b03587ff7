"""Conferences: rooms on a media worker, who is in them, and who may do what."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engine.calls.links import stand_in
from engine.calls.media import MediaError, Stream, Worker
from engine.calls.naming import HAS_COME, SAY_NAME, Names
from engine.log import get_logger
from flows.call import RecordingOrder
from flows.orders import Conference, Outcome, failed
from flows.prompts import Prompt
from media import commands
from media.tones import Tones

if TYPE_CHECKING:
    from engine.calls.live import LiveCall

log = get_logger(__name__)

PIN_ATTEMPTS = 3
PIN_PATIENCE = 10.0
"""Seconds for a PIN to be entered."""

ASK_PIN = "Please enter the PIN, followed by the hash key."
WRONG_PIN = "That is not the PIN."
FULL = "This conference is full."
WAIT = "Please wait for the moderator."
WELCOME = "You are in the conference."


@dataclass(slots=True)
class Signs:
    """What the others hear when somebody comes and goes; ``name`` is the sound of the name, if that was said."""

    coming: list[Path]
    going: list[Path]
    name: Path | None = None


@dataclass(slots=True)
class Member:
    """Somebody in a room; ``stream`` is theirs, or their stand-in on the room's worker."""

    call: LiveCall
    stream: Stream
    moderator: bool
    signs: Signs
    mixed: bool = False
    """Whether it is heard and hears; others wait for a moderator, with music."""


@dataclass(slots=True)
class Room:
    """A room with its members, on the worker of who came first."""

    name: str
    number: int
    worker: Worker
    members: dict[str, Member] = field(default_factory=dict)
    closed: bool = False
    lost: bool = False
    """Its worker died: those who are left go on in another room of the same name."""

    @property
    def over(self) -> bool:
        return self.closed or self.lost

    def lose(self) -> None:
        """The worker died under somebody whose own lives."""
        self.lost = True
        self.poke()

    @property
    def moderated(self) -> bool:
        return any(member.moderator for member in self.members.values())

    def poke(self) -> None:
        """Something changed that members may wait for."""
        for member in self.members.values():
            member.call.poke()


class Conferences:
    """All rooms of this process, by account and name; a room lives as long as somebody is in it."""

    def __init__(self, tones: Tones, names: Names) -> None:
        self._tones = tones
        self._names = names
        self._rooms: dict[tuple[str, str], Room] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._rooms)

    def number(self) -> int:
        """The number of a room of somebody else's, on any worker."""
        return next(self._numbers)

    async def join(self, call: LiveCall, order: Conference) -> Outcome:
        """Take ``call`` in until it leaves, the room is closed, or the time is up. Raises CallEnded and MediaError."""
        began = call.now()
        account = call.facts.get("call.account", "")
        moderator = order.moderator
        if order.pins or order.moderator_pins:
            with call.secret():
                pin = await self._ask_pin(call, order)
            if pin is None:
                return failed("the PIN was wrong")
            moderator = moderator or pin in order.moderator_pins
        key = (account, f"{'id' if order.stored else 'name'}:{order.room}")
        if self._is_full(key, order):
            await _say(call, FULL)
            return failed("the conference is full")
        signs = await self._signs(call, order)
        if order.welcome == "default":
            await _say(call, WAIT if order.wait_for_moderator and not moderator else WELCOME)
        elif order.welcome:
            await _play(call, [Prompt(media=order.welcome)])
        try:
            story = await self._meet(call, order, key, signs, moderator=moderator)
        finally:
            if signs.name is not None:
                self._names.let_go(signs.name)
        if story:
            return failed(story)
        seconds = call.now() - began
        return Outcome((), {"status": "completed", "duration": str(int(seconds))}, f"conference {order.room}")

    async def _meet(
        self, call: LiveCall, order: Conference, key: tuple[str, str], signs: Signs, *, moderator: bool
    ) -> str:
        """In the room until it is over for the caller; why that could not be, empty if it could."""
        until = call.now() + order.time_limit if order.time_limit else None
        while True:  # once, unless the room's worker dies, or somebody else takes the caller's place
            stream = call.stream
            if stream is None:
                raise MediaError("there is no media stream")
            if self._is_full(key, order):  # others came while we spoke
                await _say(call, FULL)
                return "the conference is full"
            room = self._room(key, order, stream.worker)
            try:
                async with stand_in(stream, room.worker, room.lose) as here:
                    await self._stay(call, order, room, Member(call, here, moderator, signs), stream, until)
            finally:
                if not room.members and self._rooms.get(key) is room:
                    del self._rooms[key]
            if room.closed or not (room.lost or call.stream is not stream):
                break
            log.warning("conference_moves", call_id=call.id, room=room.name)
        return ""

    def _is_full(self, key: tuple[str, str], order: Conference) -> bool:
        room = self._rooms.get(key)
        return room is not None and not room.over and 0 < order.most <= len(room.members)

    def _room(self, key: tuple[str, str], order: Conference, worker: Worker) -> Room:
        """The room of a name; a new one when there is none, or when those in it are on their way out."""
        room = self._rooms.get(key)
        if room is None or room.over:
            room = self._rooms[key] = Room(str(order.room), next(self._numbers), worker)
        return room

    async def _stay(
        self, call: LiveCall, order: Conference, room: Room, member: Member, stream: Stream, until: float | None
    ) -> None:
        """Until it is over for the caller, or ``stream`` is no longer theirs."""
        hold = call.on_hold
        room.members[call.id] = member
        room.poke()
        recording = ""
        if order.record:
            recording = call.background.begin(RecordingOrder(sides="mix"))
        log.info("conference_joined", call_id=call.id, room=room.name, members=len(room.members))
        try:
            if not await self._moderator(call, order, room, member, stream, until):
                return
            hold.watch(call.poke)
            quiet = self._let_speak(order, room, member)
            self._announce(room, call, member.signs.coming)
            member.signs.coming = []  # in another room of the same name they are known
            while not room.over and call.stream is stream and (until is None or call.now() < until):
                await call.key_or_change(until)
                if call.stream is stream and quiet != call.on_hold.quiet:
                    quiet = self._let_speak(order, room, member)
        finally:
            hold.unwatch(call.poke)
            if recording:
                call.background.stop(recording)
            room.members.pop(call.id, None)
            member.stream.send(commands.Leave(member.stream.number))
            self._announce(room, call, member.signs.going)
            if order.ends_with_member and not room.lost and call.stream is stream:
                room.closed = True
            room.poke()
            log.info("conference_left", call_id=call.id, room=room.name, members=len(room.members))

    def _let_speak(self, order: Conference, room: Room, member: Member) -> bool:
        """Into the room with the rights of the moment: of a phone on hold nothing is heard, whatever music it sends.

        Returns whether it is on hold.
        """
        hold = member.call.on_hold
        member.mixed = True
        member.stream.send(
            commands.Join(
                member.stream.number,
                room.number,
                muted=order.muted or hold.quiet,
                deaf=order.deaf or hold.holding,
                gated=False,
            )
        )
        return hold.quiet

    async def _moderator(
        self, call: LiveCall, order: Conference, room: Room, member: Member, stream: Stream, until: float | None
    ) -> bool:
        """Wait, with music, until there is a moderator; false when the time is up before, or the place is another's."""
        if not order.wait_for_moderator or member.moderator:
            return True
        if order.music and (ready := await call.prepare([Prompt(media=order.music)])):
            call.start(ready, loop=True)
        else:
            call.play_files([self._tones.music], loop=True)
        while not room.moderated and not room.over:
            if until is not None and call.now() >= until:
                return False
            await call.key_or_change(until)
            if call.stream is not stream:
                return False
        call.stop()
        return not room.over

    async def _ask_pin(self, call: LiveCall, order: Conference) -> str | None:
        pins = {*order.pins, *order.moderator_pins}
        longest = max(map(len, pins))
        for attempt in range(PIN_ATTEMPTS):
            await _say(call, ASK_PIN if not attempt else f"{WRONG_PIN} {ASK_PIN}", wait=False)
            pin = ""
            until = call.now() + PIN_PATIENCE
            while len(pin) < longest and call.now() < until:
                key = await call.key_or_change(until)
                if key == "#":
                    break
                if key:
                    call.stop()
                    pin += key
                    until = call.now() + PIN_PATIENCE
            call.stop()
            if pin in pins:
                return pin
        return None

    async def _signs(self, call: LiveCall, order: Conference) -> Signs:
        """What those in the room are to hear of the caller, whose name is asked for if it is to be announced.

        Media of the flow's own that cannot be had gives way to our tones.
        """
        signs = Signs(
            await self._tone(call, order.entry_tone, self._tones.entry),
            await self._tone(call, order.exit_tone, self._tones.leaving),
        )
        if order.announce_name:
            await _say(call, SAY_NAME)
            signs.name = await self._names.ask(call)
        if signs.name is not None:
            has_come = await call.sounds_of([Prompt(text=HAS_COME, language="en")])
            signs.coming += [signs.name, *has_come.values()]
        return signs

    @staticmethod
    async def _tone(call: LiveCall, wanted: str, usual: Path) -> list[Path]:
        """The sound when somebody comes or goes: none, ours, or media."""
        if not wanted or wanted == "default":
            return [usual] if wanted else []
        return list((await call.sounds_of([Prompt(media=wanted)])).values()) or [usual]

    def _announce(self, room: Room, about: LiveCall, sounds: list[Path]) -> None:
        """Let the others hear that somebody came or left."""
        if sounds:
            for member in room.members.values():
                if member.mixed and member.call is not about:
                    member.stream.play(sounds)


async def _say(call: LiveCall, text: str, *, wait: bool = True) -> None:
    await _play(call, [Prompt(text=text, language="en")], wait=wait)


async def _play(call: LiveCall, prompts: Sequence[Prompt], *, wait: bool = True) -> None:
    """Play what can be played: without a voice there is none of it."""
    if ready := await call.prepare(prompts):
        call.start(ready)
        if wait:
            await call.played()

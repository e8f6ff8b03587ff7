"""Callers who wait for other callers: parking lots, queues, and bridges between two calls that both came in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from engine.calls.announcements import number_of_slot, place_in_queue
from engine.calls.holding import Side
from engine.calls.links import coupled
from engine.calls.media import MediaError
from engine.log import get_logger
from flows.orders import Enqueue, Outcome, Park, failed
from flows.prompts import Prompt
from media.tones import Tones

if TYPE_CHECKING:
    from engine.calls.live import LiveCall

log = get_logger(__name__)

FIRST_SLOT, LAST_SLOT = 700, 799
"""Slots that are given out when a flow names none."""

LEAST_PAUSE = 1.0
"""Seconds until something is tried again that could not be said; it becomes more each time."""


@dataclass(slots=True)
class Waiting:
    """A caller who waits to be taken; ``taker`` is who did. Both are told by a poke.

    ``expected``: the id of the only call that may come; empty for any.
    """

    call: LiveCall
    since: float
    taker: LiveCall | None = None
    done: bool = False
    expected: str = ""
    taken_at: Place | None = None
    """Where in a queue it was taken."""


class Place(NamedTuple):
    """Where a caller is in a queue: ``position`` from 1, ``size`` with this one, ``waited`` and ``average`` in seconds;
    the average is of all who wait there now.
    """

    queue: str
    position: int
    size: int
    waited: int
    average: int

    def facts(self) -> dict[str, str]:
        """For the flow."""
        return {name: str(getattr(self, name)) for name in ("position", "size", "waited", "average")}


@dataclass(slots=True)
class _Stay:
    """How somebody waits: ``patience`` in seconds (0: for ever), ``story`` and ``facts`` for the outcome.

    ``music``: media, ``None`` for silence, empty for the usual. ``say`` is what is said every ``every`` seconds (0:
    never), ``first`` what is said before the patience begins. ``facts`` are asked for when the wait is over.
    """

    patience: float
    story: str
    music: str | None = ""
    first: Prompt | None = None
    say: Callable[[], Prompt] | None = None
    every: float = 0.0
    facts: Callable[[], dict[str, str]] = dict


@dataclass(slots=True)
class Lots:
    """Who waits where, by account; one for all calls of this process."""

    tones: Tones
    slots: dict[tuple[str, str], Waiting] = field(default_factory=dict)
    queues: dict[tuple[str, str], OrderedDict[str, Waiting]] = field(default_factory=dict)
    expecting: dict[str, Waiting] = field(default_factory=dict)
    """Calls that wait for one other call, by their ids."""
    _talking: set[str] = field(default_factory=set)
    """The ids of all calls that talk with another one."""

    async def park(self, call: LiveCall, order: Park, *, say: bool = False) -> Outcome:
        """Park the caller, or take the one who is parked there. Raises CallEnded and MediaError.

        ``say``: the caller is who parks, and is told the number of a slot that was chosen.
        """
        account = call.facts.get("call.account", "")
        slot = str(order.slot)
        waiting = self.slots.get((account, slot))
        if order.action == "retrieve" or (order.action == "auto" and waiting is not None):
            if waiting is None:
                return failed(f"nobody is parked in {slot}")
            return await self.take(call, waiting)
        if waiting is not None:
            return failed(f"the slot {slot} is taken")
        chosen = not slot
        if chosen and (slot := self._free(account)) == "":
            return failed("all slots are taken")
        waiting = self.slots[account, slot] = Waiting(call, call.now())
        log.info("parked", call_id=call.id, slot=slot)
        call.signalling.publish(slot, "busy")
        stay = _Stay(
            order.timeout,
            f"parked in {slot}",
            first=number_of_slot(slot, str(order.language)) if chosen and say else None,
            facts=lambda: {"slot": slot},
        )
        signalling = call.signalling
        try:
            return await self._wait(call, waiting, stay)
        finally:
            if self.slots.get((account, slot)) is waiting:
                del self.slots[account, slot]
            signalling.publish(slot, "idle")

    async def enqueue(self, call: LiveCall, order: Enqueue) -> Outcome:
        """Wait in a queue until somebody takes the call. Raises CallEnded and MediaError."""
        key = (call.facts.get("call.account", ""), str(order.queue))
        queue = self.queues.setdefault(key, OrderedDict())
        waiting = queue[call.id] = Waiting(call, call.now())
        log.info("queued", call_id=call.id, queue=key[1], position=_place(waiting, key[1], queue).position)

        def here() -> Place:
            taken = waiting.taken_at if waiting.taker is not None else None
            return taken or _place(waiting, key[1], queue)

        stay = _Stay(
            order.timeout,
            f"queue {key[1]}",
            order.music,
            say=lambda: place_in_queue(here().position, str(order.language)),
            every=order.announce_every,
            facts=lambda: here().facts(),
        )
        try:
            return await self._wait(call, waiting, stay)
        finally:
            queue.pop(call.id, None)
            if not queue and self.queues.get(key) is queue:
                del self.queues[key]

    async def take_first(self, call: LiveCall, queue: str) -> Outcome:
        """Bridge ``call`` with whoever has waited longest."""
        account = call.facts.get("call.account", "")
        for waiting in self.queues.get((account, queue), {}).values():
            if waiting.taker is None:
                return await self.take(call, waiting)
        return Outcome(("failed",), {"status": "no-answer", "duration": "0"}, f"nobody waits in {queue}")

    async def expect(self, call: LiveCall, other: str, patience: float) -> Outcome:
        """Wait in silence for the call ``other``, which comes to take this one. Raises CallEnded and MediaError."""
        waiting = self.expecting[call.id] = Waiting(call, call.now(), expected=other)
        try:
            return await self._wait(call, waiting, _Stay(patience, f"bridged with the call {other}", None))
        finally:
            self.expecting.pop(call.id, None)

    def waiting(self, call: LiveCall) -> Waiting | None:
        """How it waits in a slot or a queue, if it does and nobody has taken it."""
        queues = (waiting for queue in self.queues.values() for waiting in queue.values())
        everybody = (*self.slots.values(), *queues)
        return next((each for each in everybody if each.call is call and each.taker is None), None)

    def waits(self, call: LiveCall) -> bool:
        """Whether it is parked or queued, and nobody has taken it."""
        return self.waiting(call) is not None

    def talks(self, call_id: str) -> bool:
        """Whether the call talks with another one."""
        return call_id in self._talking

    def place(self, call: LiveCall) -> Place | None:
        """Where it waits, if it does so in a queue."""
        account = call.facts.get("call.account", "")
        for (owner, name), queue in self.queues.items():
            if owner == account and (found := queue.get(call.id)) is not None and found.taker is None:
                return _place(found, name, queue)
        return None

    async def _wait(self, call: LiveCall, waiting: Waiting, stay: _Stay) -> Outcome:
        began = call.now()
        try:
            if stay.first is not None:
                await self._tell(call, waiting, stay.first, None)
            until = call.now() + stay.patience if stay.patience else None
            every = stay.every
            while not waiting.done:
                await self._music(call, stay.music)
                due = call.now() + every if every else None
                while waiting.taker is None:
                    if until is not None and call.now() >= until:
                        nobody = {**stay.facts(), "status": "no-answer", "duration": "0"}
                        return Outcome(("failed",), nobody, f"{stay.story}: nobody came")
                    if due is not None and call.now() >= due and stay.say is not None:
                        if not await self._tell(call, waiting, stay.say(), until):
                            every = max(2 * every, LEAST_PAUSE)
                        break
                    await call.key_or_change(_sooner(until, due))
                if waiting.taker is None:
                    continue
                call.stop()
                began = call.now()
                while not waiting.done and waiting.taker is not None:  # one who cannot be heard gives the call back
                    await call.key_or_change(None)
            facts = {**stay.facts(), "status": "completed", "duration": str(int(call.now() - began))}
        finally:
            waiting.done = True
            if waiting.taker is not None:
                waiting.taker.poke()
        return Outcome((), facts, stay.story)

    async def _tell(self, call: LiveCall, waiting: Waiting, prompt: Prompt, until: float | None) -> bool:
        """Say something, unless somebody takes the call meanwhile; whether there is a voice for it."""
        if not (ready := await call.prepare([prompt])):
            return False
        call.start(ready)
        while call.playing and waiting.taker is None and (until is None or call.now() < until):
            await call.key_or_change(until)
        return True

    async def take(self, call: LiveCall, waiting: Waiting) -> Outcome:
        """Talk with who waits, until one of both has enough. Raises CallEnded and MediaError."""
        if waiting.taker is not None or waiting.done:
            return failed("somebody else took the call")
        waiting.taken_at, waiting.taker = self.place(waiting.call), call
        both = {call.id, waiting.call.id}
        began = call.now()
        try:
            async with coupled(_side(call), _side(waiting.call), self.tones.music):
                self._talking |= both
                waiting.call.poke()
                while not waiting.done:
                    await call.key_or_change(None)
        except MediaError:
            waiting.taker = None  # the other goes on waiting
            raise
        finally:
            self._talking -= both
            waiting.done = waiting.done or waiting.taker is not None
            waiting.call.poke()
        seconds = str(int(call.now() - began))
        return Outcome((), {"status": "completed", "duration": seconds}, f"talked with {waiting.call.caller}")

    async def _music(self, call: LiveCall, music: str | None) -> None:
        if music is None:
            return
        ready = await call.prepare([Prompt(media=music)]) if music else ()
        if ready:
            call.start(ready, loop=True)
        else:
            call.play_files([self.tones.music], loop=True)

    def _free(self, account: str) -> str:
        numbers = (str(number) for number in range(FIRST_SLOT, LAST_SLOT + 1))
        return next((number for number in numbers if (account, number) not in self.slots), "")


def _place(waiting: Waiting, name: str, queue: OrderedDict[str, Waiting]) -> Place:
    """Those who were taken wait no more; they are in the queue until they have talked."""
    ahead = list(_waiting(queue))
    now = waiting.call.now()
    stays = [int(now - each.since) for each in ahead]
    return Place(name, ahead.index(waiting) + 1, len(ahead), int(now - waiting.since), sum(stays) // len(stays))


def _waiting(queue: OrderedDict[str, Waiting]) -> Iterator[Waiting]:
    return (each for each in queue.values() if each.taker is None)


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _side(call: LiveCall) -> Side:
    if call.stream is None:
        raise MediaError("a media stream is gone")
    return Side(call.stream, call.on_hold)

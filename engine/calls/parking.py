"""Callers who wait for other callers: parking lots, queues, and bridges between two calls that both came in."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.calls.holding import Side
from engine.calls.links import coupled
from engine.calls.media import MediaError
from engine.log import get_logger
from flows.orders import Enqueue, Outcome, Park
from flows.prompts import Prompt
from media.tones import Tones

if TYPE_CHECKING:
    from engine.calls.live import LiveCall

log = get_logger(__name__)

FIRST_SLOT, LAST_SLOT = 700, 799
"""Slots that are given out when a flow names none."""


@dataclass(slots=True)
class Waiting:
    """A caller who waits to be taken; ``taker`` is who did. Both are told by a poke."""

    call: LiveCall
    since: float
    taker: LiveCall | None = None
    done: bool = False


@dataclass(slots=True)
class Lots:
    """Who waits where, by account; one for all calls of this process."""

    tones: Tones
    slots: dict[tuple[str, str], Waiting] = field(default_factory=dict)
    queues: dict[tuple[str, str], OrderedDict[str, Waiting]] = field(default_factory=dict)

    async def park(self, call: LiveCall, order: Park) -> Outcome:
        """Park the caller, or take the one who is parked there. Raises CallEnded and MediaError."""
        account = call.facts.get("call.account", "")
        slot = str(order.slot)
        waiting = self.slots.get((account, slot))
        if order.action == "retrieve" or (order.action == "auto" and waiting is not None):
            if waiting is None:
                return _failed(f"nobody is parked in {slot}")
            return await self._take(call, waiting)
        if waiting is not None:
            return _failed(f"the slot {slot} is taken")
        if not slot and (slot := self._free(account)) == "":
            return _failed("all slots are taken")
        waiting = self.slots[account, slot] = Waiting(call, call.now())
        log.info("parked", call_id=call.id, slot=slot)
        try:
            return await self._wait(call, waiting, order.timeout, "", f"parked in {slot}", {"slot": slot})
        finally:
            if self.slots.get((account, slot)) is waiting:
                del self.slots[account, slot]

    async def enqueue(self, call: LiveCall, order: Enqueue) -> Outcome:
        """Wait in a queue until somebody takes the call. Raises CallEnded and MediaError."""
        key = (call.facts.get("call.account", ""), str(order.queue))
        queue = self.queues.setdefault(key, OrderedDict())
        waiting = queue[call.id] = Waiting(call, call.now())
        log.info("queued", call_id=call.id, queue=key[1], position=len(queue))
        try:
            return await self._wait(call, waiting, order.timeout, order.music, f"queue {key[1]}", {})
        finally:
            queue.pop(call.id, None)
            if not queue and self.queues.get(key) is queue:
                del self.queues[key]

    async def take_first(self, call: LiveCall, queue: str) -> Outcome:
        """Bridge ``call`` with whoever has waited longest."""
        account = call.facts.get("call.account", "")
        for waiting in self.queues.get((account, queue), {}).values():
            if waiting.taker is None:
                return await self._take(call, waiting)
        return Outcome(("failed",), {"status": "no-answer", "duration": "0"}, f"nobody waits in {queue}")

    def waits(self, call: LiveCall) -> bool:
        """Whether it is parked or queued, and nobody has taken it."""
        queues = (waiting for queue in self.queues.values() for waiting in queue.values())
        return any(each.call is call and each.taker is None for each in (*self.slots.values(), *queues))

    def position(self, call: LiveCall, queue: str) -> int:
        """The place of a call in a queue, from 1; 0 when it is not in it."""
        ids = list(self.queues.get((call.facts.get("call.account", ""), queue), ()))
        return ids.index(call.id) + 1 if call.id in ids else 0

    async def _wait(
        self, call: LiveCall, waiting: Waiting, patience: float, music: str, story: str, facts: dict[str, str]
    ) -> Outcome:
        until = call.now() + patience if patience else None
        nobody = Outcome(("failed",), {**facts, "status": "no-answer", "duration": "0"}, f"{story}: nobody came")
        began = call.now()
        try:
            while not waiting.done:
                await self._music(call, music)
                while waiting.taker is None:
                    if until is not None and call.now() >= until:
                        return nobody
                    await call.key_or_change(until)
                call.stop()
                began = call.now()
                while not waiting.done and waiting.taker is not None:  # one who cannot be heard gives the call back
                    await call.key_or_change(None)
        finally:
            waiting.done = True
            if waiting.taker is not None:
                waiting.taker.poke()
        seconds = str(int(call.now() - began))
        return Outcome((), {**facts, "status": "completed", "duration": seconds}, story)

    async def _take(self, call: LiveCall, waiting: Waiting) -> Outcome:
        """Talk with who waits, until one of both has enough."""
        if waiting.taker is not None or waiting.done:
            return _failed("somebody else took the call")
        waiting.taker = call
        began = call.now()
        try:
            async with coupled(_side(call), _side(waiting.call), self.tones.music):
                waiting.call.poke()
                while not waiting.done:
                    await call.key_or_change(None)
        except MediaError:
            waiting.taker = None  # the other goes on waiting
            raise
        finally:
            waiting.done = waiting.done or waiting.taker is not None
            waiting.call.poke()
        seconds = str(int(call.now() - began))
        return Outcome((), {"status": "completed", "duration": seconds}, f"talked with {waiting.call.caller}")

    async def _music(self, call: LiveCall, music: str) -> None:
        ready = await call.prepare([Prompt(media=music)]) if music else ()
        if ready:
            call.start(ready, loop=True)
        else:
            call.play_files([self.tones.music], loop=True)

    def _free(self, account: str) -> str:
        numbers = (str(number) for number in range(FIRST_SLOT, LAST_SLOT + 1))
        return next((number for number in numbers if (account, number) not in self.slots), "")


def _side(call: LiveCall) -> Side:
    if call.stream is None:
        raise MediaError("a media stream is gone")
    return Side(call.stream, call.on_hold)


def _failed(story: str) -> Outcome:
    return Outcome(("failed",), {"status": "failed", "duration": "0"}, story)

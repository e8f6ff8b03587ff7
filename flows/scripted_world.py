"""What is around a scripted caller: dialled legs, answering machines, web servers, recordings.

A statement of the script says how the next of each behaves; without one, legs answer after :data:`RINGING` and talk for
:data:`~flows.script.TALK`, people pick up, and web servers answer as the scenario says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from .call import FetchFailed, Input, RecordingEnded, RecordingOrder, Reply, Request, Unsupported
from .causes import bridge_outcome, cause_of, dial_outcome
from .orders import (
    BridgeSession,
    Conference,
    DetectMachine,
    Dial,
    Enqueue,
    LeaveQueue,
    Order,
    Outcome,
    Park,
    Presence,
    Respond,
    SendDigits,
    StartRecording,
    StopRecording,
    Voicemail,
)
from .prompts import Prompt
from .requests import with_query
from .script import Fail, Leg, Machine

RINGING = 3.0
FETCHING = 0.1
BEEP = 0.3
SLOT = "700"
"""Where callers are parked when a flow names no slot."""
PERSON = 1.5
"""Seconds until a person's voice is known from a machine's."""
MACHINE = 2.0
"""Seconds of a greeting after which it is known to be a machine's."""
SILENCE = 3.0
"""Seconds without a voice after which it is not known who picked up."""
CALL_ENDED = "the call ended"
"""Why a recording is over that nobody had ended."""
LONGEST_GREETING = 30.0
"""Seconds that the end of a machine's greeting is waited for, once it is known to be one."""

_T = TypeVar("_T")


class Stage(Protocol):
    """The scripted call, as its world sees it."""

    def now(self) -> float: ...

    @property
    def answered_at(self) -> float | None: ...

    async def answer(self) -> None: ...

    def take(self, kind: type[_T]) -> _T | None:
        """The next statement of the script, if it is of this kind."""

    async def lasting(self, seconds: float) -> None:
        """Let time pass; the caller may hang up meanwhile."""

    def later(self, at: float, what: Callable[[], None]) -> None: ...

    def put(self, item: Input) -> None: ...

    def voice_until(self) -> float:
        """When the caller last said something, or will have."""

    async def heard_out(self, prompts: Sequence[Prompt]) -> None: ...

    async def finish(self, reason: str) -> None: ...


@dataclass(slots=True)
class Taken:
    """A recording: ``duration`` in seconds, ``reason`` for its end, empty while it runs."""

    id: str
    format: str
    sides: str
    began: float
    blocking: bool
    duration: float = 0.0
    reason: str = ""


def canned(
    replies: Mapping[str, Reply | Sequence[Reply | FetchFailed]], other: Callable[[Request], Reply] | None = None
) -> Callable[[Request], Reply]:
    """Answers by ``METHOD URL``, URL with query, or URL alone. Of several each is given once, the last one for ever.

    ``other`` answers what ``replies`` do not know.
    """
    asked: dict[str, int] = {}

    def reply(request: Request) -> Reply:
        full = with_query(request.url, request.query)
        for key in (f"{request.method} {full}", full, f"{request.method} {request.url}", request.url):
            if key in replies:
                found = replies[key]
                if isinstance(found, Reply):
                    return found
                at = asked.get(key, 0)
                asked[key] = at + 1
                answer = found[min(at, len(found) - 1)]
                if isinstance(answer, FetchFailed):
                    raise answer
                return answer
        return (other or nothing_known)(request)

    return reply


def nothing_known(request: Request) -> Reply:
    raise FetchFailed(f"no answer from {with_query(request.url, request.query)} is known")


class World:
    """Carries out what a flow asks of others than the caller."""

    def __init__(self, stage: Stage, fetcher: Callable[[Request], Reply]) -> None:
        self.recordings: list[Taken] = []
        self.picked_up: Machine | None = None
        """Who picked up the call, where that was known from the beginning."""
        self._stage = stage
        self._fetcher = fetcher

    async def fetch(self, request: Request) -> Reply:
        failing = self._stage.take(Fail)
        await self._stage.lasting(FETCHING)
        if failing is None:
            return self._fetcher(request)
        if not failing.status:
            raise FetchFailed("no answer came")
        return Reply(failing.status, "text/plain", b"", request.url)

    async def perform(self, order: Order) -> Outcome:
        act = _ACTS.get(type(order))
        if act is None:
            raise Unsupported(f"the simulator knows no {type(order).__name__}")
        return await act(self, order)

    # --- legs ---------------------------------------------------------------------------

    async def _dial(self, order: Dial) -> Outcome:
        """Recorded, if it is, for as long as it takes: a file for each voice."""
        files = [self._take("wav", sides, blocking=False) for sides in order.recorded]
        try:
            return await self._ring(order)
        finally:
            for taken in files:
                if not taken.reason:
                    self._end(taken, "stopped")

    async def _ring(self, order: Dial) -> Outcome:
        leg = self._stage.take(Leg) or Leg(200)
        names = ", ".join(str(target.value) for target in order.targets)
        if leg.status == 0:
            await self._stage.lasting(order.timeout or RINGING)
            return dial_outcome(cause_of(0, name="NO_ANSWER"), story=f"{names}: nobody answered")
        await self._stage.lasting(RINGING)
        cause = cause_of(leg.status)
        if leg.status != 200:
            return dial_outcome(cause, sip=leg.status, story=f"{names}: {cause.name} ({leg.status})")
        await self._stage.answer()
        seconds = min(leg.seconds, order.time_limit) if order.time_limit else leg.seconds
        await self._stage.lasting(seconds)
        return bridge_outcome(order, duration=seconds, leg="leg", story=f"talked with {names} for {seconds:g} s")

    async def _join(self, order: Conference | Enqueue | Park | BridgeSession) -> Outcome:
        """Who waits is the only one, and taken at once, or not at all."""
        leg = self._stage.take(Leg) or Leg(200)
        name = type(order).__name__.lower()
        if leg.status != 200:
            patience = getattr(order, "timeout", 0.0) or RINGING
            await self._stage.lasting(patience)
            status = "no-answer" if isinstance(order, Enqueue | Park) else "failed"
            facts = {"status": status, "duration": "0", **_of_waiting(order, patience)}
            return Outcome(("failed",), facts, f"{name}: nobody came")
        await self._stage.lasting(leg.seconds)
        facts = {"status": "completed", "duration": str(int(leg.seconds)), **_of_waiting(order, 0.0)}
        return Outcome((), facts, f"{name}: {leg.seconds:g} s")

    async def _voicemail(self, order: Voicemail) -> Outcome:
        leg = self._stage.take(Leg) or Leg(200)
        if leg.status != 200:
            return Outcome(("failed",), {"status": "failed"}, "voicemail: the box could not be used")
        seconds = min(leg.seconds, order.limit) if order.limit else leg.seconds
        await self._stage.lasting(seconds)
        return Outcome((), {"status": "completed", "duration": str(int(seconds))}, f"voicemail ({order.action})")

    async def _leave(self, order: LeaveQueue) -> Outcome:
        return Outcome()

    # --- the line -----------------------------------------------------------------------

    async def _send(self, order: SendDigits) -> Outcome:
        digits = str(order.digits)
        await self._stage.lasting(len(digits) * (order.tone + order.gap))
        return Outcome((), {}, f"sent the keys {digits}")

    async def _presence(self, order: Presence) -> Outcome:
        return Outcome((), {}, f"{order.entity} is {order.state}")

    async def _respond(self, order: Respond) -> Outcome:
        await self._stage.heard_out([prompt for prompt in order.prompts if isinstance(prompt, Prompt)])
        await self._stage.finish(f"{order.final} {order.reason}".rstrip())
        return Outcome()

    async def _detect(self, order: DetectMachine) -> Outcome:
        """Who picked up: one whose greeting goes on (from the answer of a call that was made, else from now) is a
        machine, which is known after :data:`MACHINE` or the order's patience. Waiting ends with the greeting's beep.
        """
        stage = self._stage
        machine = self.picked_up or stage.take(Machine) or Machine(0.0)
        if not machine.seconds:
            await stage.lasting(min(PERSON, order.patience))
            return Outcome((), {"result": "human"}, "a person picked up")
        began = (stage.answered_at or 0.0) if self.picked_up is not None else stage.now()
        beeped = began + machine.seconds + BEEP
        if beeped <= stage.now():
            await stage.lasting(min(SILENCE, order.patience))
            return Outcome((), {"result": "unsure"}, "unsure picked up")
        await stage.lasting(min(MACHINE, order.patience))
        if order.wait:
            await stage.lasting(max(0.0, min(beeped - stage.now(), LONGEST_GREETING)))
        return Outcome(("machine",), {"result": "machine"}, "a machine picked up")

    # --- recordings ---------------------------------------------------------------------

    async def _start(self, order: StartRecording) -> Outcome:
        begun = [self._take(order.format, sides, blocking=False).id for sides, _ in order.each]
        return Outcome((), {"id": " ".join(begun)}, "recording")

    async def _stop(self, order: StopRecording) -> Outcome:
        running = [taken for taken in self.recordings if not taken.blocking and not taken.reason]
        for taken in running:
            self._end(taken, "stopped")
        return Outcome((), {}, "recording stopped" if running else "")

    def record(self, order: RecordingOrder) -> str:
        taken = self._take(order.format, order.sides, blocking=True)
        if order.beep:
            taken.began += BEEP
        if order.limit:
            self._stage.later(taken.began + order.limit, lambda: self._over(taken, "limit"))
        if order.silence:
            self._stage.later(taken.began + order.silence, lambda: self._silent(taken, order.silence))
        return taken.id

    def stop_recording(self, recording: str) -> None:
        for taken in self.recordings:
            if taken.id == recording and not taken.reason:
                self._over(taken, "stopped")

    def recording_end(self, recording: str) -> RecordingEnded:
        """Of one that is over, with the call or before."""
        (taken,) = (each for each in self.recordings if each.id == recording)
        if not taken.reason:
            self._end(taken, "stopped")
        return RecordingEnded(taken.id, taken.duration, taken.reason, self._stage.now(), f"sim:{taken.id}")

    def end_later(self, recording: str, seconds: float, reason: str) -> None:
        """Have a recording end by itself when it is ``seconds`` long."""
        for taken in self.recordings:
            if taken.id == recording:
                self._stage.later(taken.began + seconds, partial(self._over, taken, reason))

    def close(self) -> None:
        """The call is over, and with it all recordings."""
        for taken in self.recordings:
            if not taken.reason:
                self._end(taken, CALL_ENDED)

    def _take(self, form: str, sides: str, *, blocking: bool) -> Taken:
        taken = Taken(f"recording-{len(self.recordings) + 1}", form, sides, self._stage.now(), blocking)
        self.recordings.append(taken)
        return taken

    def _silent(self, taken: Taken, silence: float) -> None:
        """Look whether the caller has been silent for long enough."""
        quiet_since = max(taken.began, self._stage.voice_until())
        if quiet_since + silence > self._stage.now() and not taken.reason:
            self._stage.later(quiet_since + silence, lambda: self._silent(taken, silence))
        else:
            self._over(taken, "silence")

    def _over(self, taken: Taken, reason: str) -> None:
        if not taken.reason:
            self._end(taken, reason)
            self._stage.put(RecordingEnded(taken.id, taken.duration, reason, self._stage.now(), f"sim:{taken.id}"))

    def _end(self, taken: Taken, reason: str) -> None:
        taken.duration = round(max(0.0, self._stage.now() - taken.began), 3)
        taken.reason = reason


def _of_waiting(order: Order, seconds: float) -> dict[str, str]:
    """What is known of somebody who has waited so long."""
    waited = str(int(seconds))
    match order:
        case Enqueue():
            return {"position": "1", "size": "1", "waited": waited, "average": waited}
        case Park():
            return {"slot": str(order.slot) or SLOT}
        case _:
            return {}


_ACTS: dict[type[Order], Callable[[World, Any], Awaitable[Outcome]]] = {
    Dial: World._dial,
    Conference: World._join,
    Enqueue: World._join,
    Park: World._join,
    BridgeSession: World._join,
    Voicemail: World._voicemail,
    LeaveQueue: World._leave,
    SendDigits: World._send,
    Presence: World._presence,
    Respond: World._respond,
    DetectMachine: World._detect,
    StartRecording: World._start,
    StopRecording: World._stop,
}

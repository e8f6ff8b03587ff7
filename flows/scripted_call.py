"""The :class:`~flows.call.Call` of a simulation: a scripted caller under a virtual clock.

Rules of the clock, all of them deterministic:

- The call is answered at 0; one that goes out, before its flow begins. A text takes :data:`LETTER` seconds a letter,
  :data:`DIGIT` a digit and :data:`BREATH` more; a sound :data:`MEDIA` seconds (of a file that is not looked at).
- What the caller says takes as long as a prompt of the same text. It begins an utterance, whose first vocabulary
  word, when it is out, stops a prompt; :data:`TRAILING_SILENCE` after the last word, or after eight seconds,
  the utterance ends. Words that are not in the vocabulary are not heard.
- ``say`` and ``press`` wait until a step listens and its prompt is over; ``say!`` and ``press!`` do not. The next
  statement is looked at when the utterance has ended, or after the last key.
- On a call that goes out the first statement, if it is one of others than the caller, says how it is answered.
- After the last statement the caller is silent until the flow ends.
- What others do, and how long that takes, is said in :mod:`flows.scripted_world`.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

from .call import (
    ALL_SHOWN,
    BargeIn,
    CallEnded,
    EndedBy,
    Input,
    Key,
    Note,
    PromptEnded,
    RecordingEnded,
    RecordingOrder,
    Reply,
    Request,
    SpeechStarted,
    TransferOutcome,
    Vocabulary,
    Words,
)
from .causes import cause_of, remedy_of
from .graph import Graph
from .keywords import canonical
from .orders import Order, Outcome
from .prompts import Prompt
from .script import KEY_OFF, KEY_ON, OTHERS, Hangup, Leg, Machine, Press, Say, Statement, Wait
from .scripted_world import World, nothing_known

LETTER = 0.065
DIGIT = 0.3
BREATH = 0.2
MEDIA = 3.0
TRAILING_SILENCE = 0.3
LONGEST_UTTERANCE = 8.0

_UNANSWERED: tuple[EndedBy, str] = ("limit", "nobody answered")

_FOREVER = float("inf")
_T = TypeVar("_T")
_ACCEPTED = TransferOutcome(accepted=True, status=200, reason="OK")


def speaking_time(text: str) -> float:
    """Seconds that ``text`` is taken to last when it is spoken."""
    letters = sum(1 for c in text if c.isalpha())
    digits = sum(1 for c in text if c.isdigit())
    return round(BREATH + letters * LETTER + digits * DIGIT, 3)


def _refused(status: int) -> tuple[EndedBy, str]:
    """How a call ends that was made and not answered."""
    if status >= 400 and remedy_of(status) != "way":
        return "caller", f"refused: {status} {cause_of(status).name}"
    return "error", f"not connected: {status} {cause_of(status).name}"


@dataclass(slots=True)
class Spoken:
    """A prompt that was started: when it began, how many seconds of it were heard, and whether that was all."""

    prompt: Prompt
    at: float
    heard: float = 0.0
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """Who calls whom, and how the world behaves. Times in seconds."""

    call_id: str = "simulated"
    caller: str = "caller"
    callee: str = "callee"
    transfer: TransferOutcome = _ACCEPTED
    """How every transfer ends."""
    answered: bool = True
    """False: the caller gives up before the call is answered."""
    outbound: bool = False
    """The call was made: the callee is whom the flow talks to, and the script says who picks up."""
    max_duration: float = 7200.0
    media_length: Callable[[str], float | None] = lambda media: None
    """How long a sound is; ``None`` when it is not known."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """More that is known of the call (:data:`flows.templates.CALL_VARIABLES`)."""
    fetch: Callable[[Request], Reply] = nothing_known
    """What web servers answer; it raises :class:`~flows.call.FetchFailed` where none does."""
    flows: Mapping[str, Graph] = field(default_factory=dict)
    """Stored flows by id."""


_USUAL = Scenario()


class ScriptedCall:
    """One simulated call. None of its awaitables ever waits for real."""

    def __init__(self, script: Sequence[Statement] = (), scenario: Scenario = _USUAL) -> None:
        self.id = scenario.call_id
        self.caller = scenario.caller
        self.callee = scenario.callee
        self.answered_at: float | None = None
        self.notes: list[tuple[Note, float]] = []
        self.spoken: list[Spoken] = []
        self.left: deque[Statement] = deque(script)
        self._scenario = scenario
        self._now = 0.0
        self._ended: tuple[EndedBy, str] | None = None
        self._inputs: deque[Input] = deque()
        self._happenings: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ready_at = 0.0  # when the next statement is looked at
        self._playing: list[tuple[Spoken, float]] = []  # with the end of each
        self._vocabulary: dict[str, str] | None = None  # canonical form to the word
        self._language = "en"
        self._utterance: list[str] | None = None
        self._voice_until = 0.0
        self._told: Callable[[], None] = lambda: None
        self.world = World(self, scenario.fetch)
        if scenario.outbound:
            self._be_picked_up()
        self.facts: Mapping[str, str] = {
            "call.account": "simulated",
            "call.direction": "outbound" if scenario.outbound else "inbound",
            "call.status": "queued" if scenario.outbound else "ringing",
            "call.request": scenario.callee,
            **scenario.facts,
        }

    def _be_picked_up(self) -> None:
        """A call that was made is answered, or is over, when its flow begins."""
        first = self.left.popleft() if self.left and isinstance(self.left[0], Leg | Machine) else Machine(0.0)
        if isinstance(first, Leg) and first.status != 200:
            self._ended = _UNANSWERED if first.status == 0 else _refused(first.status)
            return
        self.answered_at = self._now
        self.world.picked_up = first if isinstance(first, Machine) else Machine(0.0)

    # --- what the executor awaits -------------------------------------------------------

    def now(self) -> float:
        return self._now

    def tell(self, note: Note) -> None:
        self.notes.append((note, self._now))

    def when_answered(self, told: Callable[[], None]) -> None:
        self._told = told

    async def answer(self) -> None:
        self._raise_if_ended()
        if not self._scenario.answered:
            self._end("caller", "the caller gave up before the answer")
        if self.answered_at is None:
            self.answered_at = self._now
            self._ready_at = max(self._ready_at, self._now)
            self._told()

    async def early_media(self) -> None:
        self._raise_if_ended()

    async def prepare(self, prompts: Sequence[Prompt], shown: Mapping[Prompt, Prompt] = ALL_SHOWN) -> Sequence[Prompt]:
        self._raise_if_ended()
        return prompts

    def start(self, prompts: Sequence[Prompt]) -> None:
        if self._ended is not None:
            return
        self.stop()
        self._inputs = deque(item for item in self._inputs if isinstance(item, Key))
        at = self._now
        for prompt in prompts:
            end = at + self._length(prompt)
            self._playing.append((Spoken(prompt, at), end))
            at = end
        self.spoken += [spoken for spoken, _ in self._playing]
        if not prompts:
            self._inputs.append(PromptEnded(at))

    def stop(self) -> None:
        for spoken, end in self._playing:
            spoken.heard = max(0.0, min(self._now, end) - spoken.at)
            spoken.at = min(spoken.at, self._now)
            spoken.complete = self._now >= end
        self._playing = []

    async def played(self) -> None:
        self._raise_if_ended()
        while self._playing:
            self._advance(self._playing[-1][1], listening=False)
        self._inputs = deque(item for item in self._inputs if not isinstance(item, PromptEnded))

    def hear(self, vocabulary: Vocabulary | None) -> None:
        self._utterance = None
        self._inputs = deque(item for item in self._inputs if isinstance(item, Key | PromptEnded))
        self._vocabulary = None
        if vocabulary is not None:
            self._language = vocabulary.language
            self._vocabulary = {canonical(word, self._language): word for word in vocabulary.words}

    async def next(self, deadline: float | None) -> Input | None:
        self._raise_if_ended()
        while True:
            if self._inputs:
                return self._inputs.popleft()
            if deadline is not None and self._now >= deadline:
                return None
            if not self._advance(_FOREVER if deadline is None else deadline, listening=not self._playing):
                self._wait_in_vain()

    async def pause(self, seconds: float) -> None:
        self._raise_if_ended()
        until = self._now + seconds
        while self._now < until:
            self._advance(until, listening=False)

    async def transfer(self, target: str) -> TransferOutcome:
        self._raise_if_ended()
        return self._scenario.transfer

    async def fetch(self, request: Request) -> Reply:
        self._raise_if_ended()
        return await self.world.fetch(request)

    async def compute(self, work: Callable[[], _T], size: int) -> _T:
        self._raise_if_ended()
        return work()

    async def stored_flow(self, flow: str) -> Graph | None:
        self._raise_if_ended()
        return self._scenario.flows.get(flow)

    async def perform(self, order: Order) -> Outcome:
        self._raise_if_ended()
        return await self.world.perform(order)

    @contextmanager
    def secret(self, ahead: Iterable[Key] = ()) -> Iterator[None]:
        yield

    def record(self, order: RecordingOrder) -> str:
        return self.world.record(order)

    def stop_recording(self, recording: str) -> None:
        self.world.stop_recording(recording)

    async def recording_end(self, recording: str) -> RecordingEnded:
        return self.world.recording_end(recording)

    async def hangup(self, reason: str) -> NoReturn:
        self._raise_if_ended()
        self._end("flow", reason)

    # --- what its world asks of it ------------------------------------------------------

    def take(self, kind: type[_T]) -> _T | None:
        if self.left and isinstance(self.left[0], kind):
            taken = self.left.popleft()
            assert isinstance(taken, kind)
            return taken
        return None

    async def lasting(self, seconds: float) -> None:
        await self.pause(seconds)

    def later(self, at: float, what: Callable[[], None]) -> None:
        """Have ``what`` happen at ``at``."""
        heapq.heappush(self._happenings, (max(at, self._now), next(self._order), what))

    def put(self, item: Input) -> None:
        self._inputs.append(item)

    def voice_until(self) -> float:
        return self._voice_until

    async def heard_out(self, prompts: Sequence[Prompt]) -> None:
        if prompts:
            self.start(prompts)
            await self.played()

    async def finish(self, reason: str) -> None:
        await self.hangup(reason)

    # --- the clock ----------------------------------------------------------------------

    def _advance(self, limit: float, *, listening: bool) -> bool:
        """Go on to the next thing that happens, or to ``limit``. False when nothing will ever happen."""
        prompt = self._playing[-1][1] if self._playing else _FOREVER
        event = self._happenings[0][0] if self._happenings else _FOREVER
        statement = self._next_statement(listening=listening)
        at = min(prompt, event, statement)
        if at == limit == _FOREVER:
            return False
        longest = self._scenario.max_duration
        if min(at, limit) > longest:
            self._now = max(self._now, longest)
            self._end("limit", f"the call lasted {longest:g} s")
        self._now = max(self._now, min(at, limit))
        if at > limit:
            return True
        if at == prompt:
            self.stop()
            self._inputs.append(PromptEnded(self._now))
        elif at == event:
            heapq.heappop(self._happenings)[2]()
        else:
            self._go_on()
        return True

    def _next_statement(self, *, listening: bool) -> float:
        if not self.left:
            return _FOREVER
        statement = self.left[0]
        if isinstance(statement, OTHERS) or (self.answered_at is None and not isinstance(statement, Wait | Hangup)):
            return _FOREVER
        waits = isinstance(statement, Say | Press) and not statement.now
        return max(self._ready_at, self._now) if listening or not waits else _FOREVER

    def _go_on(self) -> None:
        """Make the next statement."""
        at = self._now
        match self.left.popleft():
            case Wait(seconds=seconds):
                self._ready_at = at + seconds
            case Hangup():
                self._end("caller", "the caller hung up")
            case Press(keys=keys):
                for number, key in enumerate(keys):
                    self.later(at + number * (KEY_ON + KEY_OFF), _Pressing(self, key))
                self._ready_at = at + len(keys) * (KEY_ON + KEY_OFF)
            case Say(text=text):
                self._ready_at = self._speak(text, at)

    def _speak(self, text: str, at: float) -> float:
        """Lay out an utterance (several, if it is too long for one); when it is over."""
        for words in _utterances(text):
            self.later(at, self._speech)
            for word, length in words:
                at += length
                self.later(at, _Speaking(self, word))
            self._voice_until = at
            at += TRAILING_SILENCE
            self.later(at, self._silence)
        return at

    # --- the caller ---------------------------------------------------------------------

    def press(self, key: str) -> None:
        self._inputs.append(Key(key, self._now))

    def _speech(self) -> None:
        if self._vocabulary is not None:
            self._utterance = []
            self._inputs.append(SpeechStarted(self._now))

    def speak(self, word: str) -> None:
        """A word of the caller's is out."""
        if self._vocabulary is None:
            return
        if self._utterance is None:  # the step began to listen in the middle of it
            self._speech()
        known = self._vocabulary.get(canonical(word, self._language))
        if known is not None and self._utterance is not None:
            if not self._utterance:
                self._inputs.append(BargeIn(known, self._now))
            self._utterance.append(known)

    def _silence(self) -> None:
        if self._utterance is not None:
            self._inputs.append(Words(tuple(self._utterance), self._now))
            self._utterance = None

    # --- the end ------------------------------------------------------------------------

    def _wait_in_vain(self) -> NoReturn:
        """Nothing will ever happen: a recording goes on until the call may last no longer, all else is a fault."""
        if any(not taken.reason for taken in self.world.recordings if taken.blocking):
            self._now = max(self._now, self._scenario.max_duration)
            self._end("limit", f"the call lasted {self._scenario.max_duration:g} s")
        self._end("error", "the flow waits for something that cannot come")

    def _end(self, by: EndedBy, reason: str) -> NoReturn:
        self.stop()
        self.world.close()
        self._ended = (by, reason)
        raise CallEnded(by, reason)

    def _raise_if_ended(self) -> None:
        if self._ended is not None:
            raise CallEnded(*self._ended)

    def _length(self, prompt: Prompt) -> float:
        if not prompt.media:
            return speaking_time(prompt.text)
        length = self._scenario.media_length(prompt.media)
        return MEDIA if length is None else length


@dataclass(frozen=True, slots=True)
class _Pressing:
    call: ScriptedCall
    key: str

    def __call__(self) -> None:
        self.call.press(self.key)


@dataclass(frozen=True, slots=True)
class _Speaking:
    call: ScriptedCall
    word: str

    def __call__(self) -> None:
        self.call.speak(self.word)


def _utterances(text: str) -> Iterator[list[tuple[str, float]]]:
    """The words of a text with how long each takes, cut where an utterance would get too long."""
    utterance: list[tuple[str, float]] = []
    lasting = BREATH
    extra = BREATH
    for word in text.split():
        length = speaking_time(word) - BREATH + extra
        extra = 0.0
        if utterance and lasting + length > LONGEST_UTTERANCE:
            yield utterance
            utterance, lasting = [], 0.0
        utterance.append((word, length))
        lasting += length
    if utterance:
        yield utterance

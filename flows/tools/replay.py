"""The inputs of a call that is over, run against a flow: its own, or a changed one.

The caller does what he did (:mod:`flows.tools.caller`), web servers answer what they answered, dialled legs do what
they did, prompts last as long as they lasted. What the call has no word of is simulated, and told as trouble.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from flows.call import (
    FellSilent,
    Fetched,
    FetchFailed,
    Note,
    Performed,
    Reached,
    Recorded,
    RecordingOrder,
    Reply,
    Request,
    Spoke,
    Took,
    TransferOutcome,
    Trouble,
    Unsupported,
)
from flows.graph import UNSUPPORTED, Fetch, Graph, Transfer
from flows.listening import Settings
from flows.orders import (
    LeaveQueue,
    Order,
    Outcome,
    Presence,
    Respond,
    SendDigits,
    StartRecording,
    StopRecording,
)
from flows.prompts import Prompt
from flows.requests import with_query
from flows.scripted_call import LONGEST_UTTERANCE, TRAILING_SILENCE, Scenario, ScriptedCall, speaking_time
from flows.scripted_world import CALL_ENDED
from flows.secrets import HIDDEN
from flows.simulate import Simulation, run_call

from .caller import Act, Happened, acts_of
from .calllog import CallLog

_OURS = (Respond, SendDigits, StartRecording, StopRecording, Presence, LeaveQueue)
"""Orders whose outcome depends on nobody else."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A replayed call; ``not_made`` is what the caller never got to do again."""

    simulation: Simulation
    scenario: Scenario
    not_made: tuple[Act, ...]


def replay(
    log: CallLog,
    graph: Graph,
    *,
    settings: Settings | None = None,
    max_duration: float = 7200.0,
    fetch: Callable[[Request], Reply] | None = None,
    flows: Mapping[str, Graph] | None = None,
) -> Replay:
    """Walk ``graph`` with the inputs of ``log``, and its ``settings`` if there are no others.

    ``fetch`` answers what the call did not ask for (without it, such a request fails), ``flows`` are stored.
    """
    began = log.began
    settings = settings or Settings(listen=began.listen, repeats=began.repeats)
    scenario = Scenario(
        log.call_id,
        log.caller,
        log.callee,
        max_duration=max_duration,
        facts=began.facts,
        flows=flows or {},
        fetch=fetch or _unknown,
    )
    call = ReplayedCall(log, scenario)
    return Replay(run_call(graph, call, settings), scenario, tuple(call.acts))


def _unknown(request: Request) -> Reply:
    raise FetchFailed(f"the call has no answer from {with_query(request.url, request.query)}")


class ReplayedCall(ScriptedCall):
    """A call with the caller and the world of a log."""

    def __init__(self, log: CallLog, scenario: Scenario) -> None:
        super().__init__((), scenario)
        self.acts = deque(acts_of(log))
        self._past = _past(log)
        self._done_at: float | None = None  # when the last act was over
        self._happened: list[Happened] = []
        self._hears = False
        self._busy = False  # in the middle of an utterance

    def tell(self, note: Note) -> None:
        super().tell(note)
        match note:
            case Reached():
                self._hears = note.hears
            case Spoke() if self._hears and self._happened[-1:] != [("asked", self._now)]:
                self._happened.append(("asked", self._now))
            case FellSilent(turn=True):
                self._happened.append(("turn", self._now))

    # --- the caller ---------------------------------------------------------------------

    def _next_statement(self, *, listening: bool) -> float:
        if not self.acts or self._busy:
            return float("inf")
        before = self._done_at if self._done_at is not None else self.answered_at or 0.0
        due = self.acts[0].due(before, self._happened)
        return float("inf") if due is None else max(due, self._now)

    def _go_on(self) -> None:
        act = self.acts.popleft()
        if act.kind == "hangup":
            self._end("caller", "the caller hung up")
        if HIDDEN in act.values:
            self.tell(Trouble("", "what the caller did is secret, and not done again"))
            self._made()
            return
        if act.kind == "key":
            self.press(act.values[0])
            self._made()
            return
        self._busy = True
        if self._vocabulary is None and act.values:
            self.tell(Trouble("", f"nobody listened when the caller said: {' '.join(act.values)}"))
        lasting = act.lasting or LONGEST_UTTERANCE
        self._speech()
        words_at = min(act.first_word or lasting - TRAILING_SILENCE, lasting)
        self.later(self._now + max(0.0, words_at), lambda: self._words(act))
        self._voice_until = self._now + lasting
        self.later(self._now + lasting, self._fall_silent)

    def _words(self, act: Act) -> None:
        for word in act.values:
            self.speak(word)

    def _fall_silent(self) -> None:
        self._silence()
        self._busy = False
        self._made()

    def _made(self) -> None:
        self._done_at = self._now
        self._happened.clear()

    def _length(self, prompt: Prompt) -> float:
        known = self._past.lengths.get(prompt.media or prompt.text)
        return super()._length(prompt) if known is None else known

    # --- the others ---------------------------------------------------------------------

    async def fetch(self, request: Request) -> Reply:
        self._raise_if_ended()
        answer = self._past.answer(request)
        if answer is None:
            await self._until_the_end(Fetch.__name__)
            return await super().fetch(request)
        await self.lasting(answer.seconds)
        if isinstance(answer.reply, FetchFailed):
            raise answer.reply
        return answer.reply

    async def perform(self, order: Order) -> Outcome:
        self._raise_if_ended()
        name = type(order).__name__
        past = None if isinstance(order, _OURS) else self._past.outcome(name)
        if past is None:
            if not isinstance(order, _OURS):
                await self._until_the_end(name)
                self.tell(Trouble("", f"the call has no word of this {name}: it is simulated"))
            return await super().perform(order)
        if past.performed.exits[:1] == (UNSUPPORTED,):
            raise Unsupported(f"{name} was not possible on the call")
        talked = _number(past.performed.facts.get("duration", ""))
        await self.lasting(max(0.0, past.seconds - talked))
        if past.performed.facts.get("sip") == "200":
            await self.answer()
        await self.lasting(min(talked, past.seconds))
        return Outcome(past.performed.exits, past.performed.facts, past.performed.story)

    async def transfer(self, target: str) -> TransferOutcome:
        self._raise_if_ended()
        past = self._past.outcome(Transfer.__name__)
        if past is None:
            await self._until_the_end(Transfer.__name__)
            self.tell(Trouble("", f"the call has no word of a transfer to {target}: it is simulated"))
            return await super().transfer(target)
        await self.lasting(past.seconds)
        facts = past.performed.facts
        return TransferOutcome(not past.performed.exits, int(_number(facts.get("status", ""))), facts.get("reason", ""))

    async def _until_the_end(self, verb: str) -> None:
        """What was under way when the call ended is so until the end."""
        if verb == self._past.unfinished:
            await self.lasting(self._scenario.max_duration)

    def record(self, order: RecordingOrder) -> str:
        past = self._past.recorded.popleft() if self._past.recorded else None
        if past is None or past.reason in ("stopped", CALL_ENDED):  # by the caller, who does so again
            return super().record(order)
        recording = super().record(replace(order, silence=0.0))
        self.world.end_later(recording, past.duration, past.reason)
        return recording


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


# --- what the log says of the others ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of a request, and after how long."""

    reply: Reply | FetchFailed
    seconds: float


@dataclass(frozen=True, slots=True)
class _Outcome:
    performed: Performed
    seconds: float


@dataclass(slots=True)
class _Past:
    """Answers, outcomes and recordings of a call, each in order; what it takes to hear a prompt."""

    answers: dict[str, deque[_Answer]] = field(default_factory=dict)
    outcomes: dict[str, deque[_Outcome]] = field(default_factory=dict)
    recorded: deque[Recorded] = field(default_factory=deque)
    lengths: dict[str, float] = field(default_factory=dict)
    unfinished: str = ""
    """The verb of what depends on others and was under way when the call ended."""

    def answer(self, request: Request) -> _Answer | None:
        """The next answer to the same request, or one that differs in its query only; the last stays for ever."""
        full = with_query(request.url, request.query)
        for key in (f"{request.method} {full}", f"{request.method} {_bare(full)}"):
            if answers := self.answers.get(key):
                return answers.popleft() if len(answers) > 1 else answers[0]
        return None

    def outcome(self, name: str) -> _Outcome | None:
        return self.outcomes[name].popleft() if self.outcomes.get(name) else None


def _past(log: CallLog) -> _Past:
    past = _Past()
    since = 0.0  # when the step under way began
    playing: list[Prompt] = []
    spoke_at = 0.0
    for note, at in log.notes:
        if isinstance(note, Fetched | Performed):
            past.unfinished = ""
        match note:
            case Reached():
                since, playing, past.unfinished = at, [], note.verb
            case Took(kind="key" | "word"):
                playing = []
            case Spoke(prompt=prompt):
                playing = [*playing, prompt] if at == spoke_at else [prompt]
                spoke_at = at
            case FellSilent():
                _learn_lengths(past.lengths, playing, at - spoke_at)
                playing = []
            case Fetched():
                answer = _Answer(_reply(note), at - since)
                past.answers.setdefault(f"{note.method} {note.url}", deque()).append(answer)
                if (bare := _bare(note.url)) != note.url:
                    past.answers.setdefault(f"{note.method} {bare}", deque()).append(answer)
            case Performed():
                past.outcomes.setdefault(note.order, deque()).append(_Outcome(note, at - since))
            case Recorded():
                past.recorded.append(note)
    return past


def _learn_lengths(lengths: dict[str, float], prompts: list[Prompt], seconds: float) -> None:
    """How long each of ``prompts`` is, which together took ``seconds``."""
    supposed = [speaking_time(prompt.text or "media") for prompt in prompts]
    for prompt, share in zip(prompts, supposed, strict=True):
        lengths[prompt.media or prompt.text] = seconds * share / sum(supposed)


def _reply(note: Fetched) -> Reply | FetchFailed:
    if not note.status:
        return FetchFailed(note.problem or "no answer came")
    if note.size and not note.body:
        return FetchFailed(f"the answer from {note.url} ({note.size} octets) was not kept with the call")
    return Reply(note.status, note.content_type, note.body.encode(), note.source or note.url)


def _bare(url: str) -> str:
    return url.partition("?")[0]

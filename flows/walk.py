"""One call on its way through a graph: where it is, what it knows, what is under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from .call import (
    BargeIn,
    Call,
    Callback,
    FellSilent,
    Input,
    Key,
    PromptEnded,
    Reached,
    SpeechStarted,
    Spoke,
    Took,
    Trouble,
    Words,
)
from .events import Narrator
from .graph import Graph, SetVariables, Step, Tell
from .listening import Settings
from .orders import Needs, Upload, filled
from .prompts import Draft, Prompt
from .requests import LastGood
from .secrets import HIDDEN, Secrets
from .templates import MAX_FILLED, UnsafeUrl, Variables

MAX_VARIABLES = 1000
OWN = ("var.", "flow.")
"""How the names begin that flows give to variables of their own."""
MAX_LEARNED = 1024
"""Characters of a variable that are kept beyond the call."""
MAX_FRAMES = 1000
"""Flows that wait for one that they called."""
MAX_WAITING = 500_000
"""Steps of all of them together."""
MAX_LAST_WORDS = 16
"""Steps that a flow may make after the end of its call."""


class LimitReached(Exception):
    """The flow went on and on."""


class Walk:
    """What the verbs (:mod:`flows.verbs`) work on."""

    def __init__(self, graph: Graph, settings: Settings, call: Call, last_good: LastGood) -> None:
        self.graph = graph
        self.settings = settings
        self.call = call
        self.last_good = last_good
        self.narrator = Narrator(call.id, call.caller, call.callee)
        self.step: Step = graph.steps[graph.start]
        self.opened = False  # have the URLs been told that the call was answered
        self.because = ""  # what the last step came to, in words
        self.last_words = ""  # the step whose telling is owed although the call is over
        self.waiting: deque[Key] = deque()  # pressed, taken from the call, not yet used
        self.variables: dict[str, str] = {
            "call.id": call.id,
            "call.caller": call.caller,
            "call.callee": call.callee,
            **call.facts,
        }
        self.secrets = Secrets()
        self.hidden = False  # whether what the caller does in this step is secret
        self._shown: dict[Prompt, Prompt] = {}  # what is put down of prompts with something secret in them
        self._given = dict(self.variables)
        self._stopped_by: tuple[Key, str] | None = None  # the key that stopped a prompt, and its collection
        self._frames: list[tuple[Graph, int, Step | None]] = []
        self._goto: Step | None = None
        self._taken = self._lately = self._fetches = 0
        self._recordings = 0  # that were begun
        self.keeps_fetches = False  # whether all of them is put down
        self.records_owed: set[str] = set()  # URLs that the call's record is told to
        self._since = call.now()
        self._flow = self._flows = 0  # the number of the graph, and the highest there was
        self._way = ""  # the exit that was last taken
        call.when_answered(self._answered)

    # --- where it is --------------------------------------------------------------------

    def enter(self, graph: Graph, *, back_to: str | None = None) -> None:
        """Go on with ``graph``; when it has ended, with the exit ``back_to`` of this step."""
        if back_to is not None:
            waiting = sum(len(graph.steps) for graph, _, _ in self._frames)
            if len(self._frames) == MAX_FRAMES or waiting > MAX_WAITING:
                raise LimitReached("too many flows called one another")
            self._frames.append((self.graph, self._flow, self.graph.follow(self.step, back_to)))
        self._take_over(graph)

    def replace(self, graph: Graph) -> None:
        """Go on with ``graph`` and nothing else."""
        self._frames.clear()
        self.waiting.clear()
        self._take_over(graph)

    def _take_over(self, graph: Graph) -> None:
        self.graph = graph
        self._flows += 1
        self._flow = self._flows
        self._goto = graph.steps[graph.start]

    def begin(self, step: Step) -> None:
        """``step`` is the one that comes now."""
        self.step = step
        self.hidden = self.graph.is_secret(step)
        if not step.quiet:
            self.call.tell(Reached(step.id, step.verb, step.origin, self._way, self._flow, step.hears))

    def after(self, exit_name: str) -> Step | None:
        """The step that comes next; ``None`` at the end of the last flow."""
        if not self.step.quiet:
            self._way = exit_name
        step = self._goto or self.graph.follow(self.step, exit_name)
        self._goto = None
        while step is None and self._frames:
            self.graph, self._flow, step = self._frames.pop()
        return step

    def farewell(self) -> Iterator[Step]:
        """The steps that are carried out although the call is over: what is to be told of its end, and nothing else."""
        step = self.graph.steps.get(self.last_words)
        self.last_words = ""
        self.variables["call.status"] = "completed"
        for _ in range(MAX_LAST_WORDS):
            if not isinstance(step, Tell | SetVariables):
                return
            self.step = step
            yield step
            step = self.graph.follow(step)

    # --- what it knows ------------------------------------------------------------------

    @property
    def shown(self) -> Variables:
        """The variables as they may be put down."""
        return self.secrets.shown(self.variables)

    def set(self, name: str, value: str, *, secret: bool = False) -> None:
        """Set a variable; beyond :data:`MAX_VARIABLES` new ones are refused."""
        if name not in self.variables and len(self.variables) >= MAX_VARIABLES:
            raise LimitReached(f"more than {MAX_VARIABLES} variables")
        self.variables[name] = value[:MAX_FILLED]
        self.secrets.note(name, secret=secret)

    def learn(self, prefix: str, facts: Mapping[str, str]) -> None:
        """Take over what an order or a recording came to."""
        if prefix:
            for name, value in facts.items():
                self.set(f"{prefix}.{name}", value)

    def learned(self) -> dict[str, str]:
        """The variables of the flow's own that are not what they were when it began; those that are gone are empty.

        Long values are cut at :data:`MAX_LEARNED`. What is secret is not kept.
        """
        every = self.variables | self._given
        names = [name for name in every if name.startswith(OWN) and name not in self.secrets]
        now, given = self.variables, self._given
        return {name: now.get(name, "")[:MAX_LEARNED] for name in names if now.get(name, "") != given.get(name, "")}

    def upload(self, upload: Upload | None) -> Upload | None:
        """Where the next recording is sent; its number is the one that it will have on this call.

        Raises :class:`~flows.templates.UnsafeUrl`.
        """
        return None if upload is None else replace(filled(upload, self.variables), number=self._recordings + 1)

    def recorded(self, files: int = 1) -> None:
        """So many recordings were begun."""
        self._recordings += files

    def forget(self, name: str) -> None:
        """Empty a variable; a name that ends with a dot stands for all that begin with it."""
        if not name.endswith("."):
            self.variables.pop(name, None)
        else:
            for known in [known for known in self.variables if known.startswith(name)]:
                del self.variables[known]

    # --- what it does -------------------------------------------------------------------

    def tell(self, callbacks: Sequence[Callback]) -> None:
        for callback in callbacks:
            self.call.tell(callback)

    def count(self) -> None:
        """A step, or a step once more: :class:`LimitReached` when there were too many, in all or within a second."""
        self._taken += 1
        self._lately += 1
        if (now := self.call.now()) - self._since > 1.0:
            self._lately, self._since = 0, now
        settings = self.settings
        if self._taken > settings.max_steps or self._lately > settings.max_steps_per_second:
            raise LimitReached("the flow went round in circles")

    def count_fetch(self) -> None:
        """One more flow is asked for: :class:`LimitReached` when there were too many."""
        self._fetches += 1
        if self._fetches > self.settings.max_fetches:
            what = f"the flow asked web servers for more than {self.settings.max_fetches} flows (calls.max_fetches)"
            self.trouble(what)
            raise LimitReached(what)

    def trouble(self, what: str) -> None:
        self.call.tell(Trouble(self.step.id, what))

    async def ready(self, needs: Needs) -> None:
        """Have what a step needs: a media path, an answered call."""
        if self.opened or needs == "nothing":
            return
        if needs == "answer":
            await self.answer()
        else:
            await self.call.early_media()

    async def answer(self) -> None:
        """Answer the call. One that was answered before the flow began is open from here on."""
        await self.call.answer()
        self._answered()

    def _answered(self) -> None:
        """The call is answered: by us, or by a leg that was dialled for it."""
        if self.opened:
            return
        self.opened = True
        self.variables["call.status"] = "in-progress"
        self.tell(self.narrator.open(self.call.answered_at, self.call.now()))

    async def prepare(self, prompts: Sequence[Prompt | Draft]) -> Sequence[Prompt]:
        """``prompts`` with their variables filled in, in the call's language, ready to be heard."""
        if not prompts:
            return ()
        known = [final for prompt in prompts if (final := self._final(prompt)) is not None]
        return await self.call.prepare(known, self._shown)

    def _final(self, prompt: Prompt | Draft) -> Prompt | None:
        if isinstance(prompt, Draft):
            try:
                prompt = self._filled(prompt)
            except UnsafeUrl as error:
                self.trouble(f"{str(prompt.media)[:200]!r} is not heard: {error}")
                return None
        return self._spoken(prompt)

    def _filled(self, draft: Draft) -> Prompt:
        """Raises :class:`~flows.templates.UnsafeUrl`."""
        prompt, shown = draft.fill(self.variables), draft.fill(self.shown)
        if shown != prompt:
            self._shown[self._spoken(prompt)] = self._spoken(shown)
        return prompt

    def _spoken(self, prompt: Prompt) -> Prompt:
        """In the call's language."""
        language = self.variables.get("call.language")
        if language and prompt.text and not prompt.language:
            return Prompt(prompt.text, prompt.media, prompt.voice, language)
        return prompt

    def speak(self, prompts: Sequence[Prompt]) -> None:
        if prompts:
            self.call.start(prompts)
            for prompt in prompts:
                self.call.tell(Spoke(self._shown.get(prompt, prompt)))

    async def played(self) -> None:
        """Wait until what is spoken was heard. Keys wait meanwhile."""
        await self.call.played()
        self.fell_silent(turn=False)

    def fell_silent(self, *, turn: bool) -> None:
        """Nothing plays any more, or nothing did. ``turn``: from now on the caller is waited for."""
        self.call.tell(FellSilent(turn))

    # --- what comes ---------------------------------------------------------------------

    async def next(self, deadline: float | None) -> Input | None:
        """The next input, those first that wait."""
        return self.waiting.popleft() if self.waiting else await self.take(deadline)

    async def take(self, deadline: float | None, *, turn: bool = True) -> Input | None:
        """The next input, put down. ``turn``: at the end of the prompts it is for the caller to do something."""
        heard = await self.call.next(deadline)
        if isinstance(heard, PromptEnded):
            self.fell_silent(turn=turn)
        elif (taken := _taken(heard, self.call.now())) is not None:
            self.call.tell(replace(taken, values=(HIDDEN,)) if self.hidden and taken.values else taken)
        return heard

    async def gather(self) -> None:
        """Take the keys that were pressed until now into :attr:`waiting`."""
        while (heard := await self.take(float("-inf"))) is not None:
            if isinstance(heard, Key):
                self.waiting.append(heard)

    def stopped_by(self, key: Key, collection: str) -> None:
        """``key`` stopped a prompt: it waits, and is put at the end of the variable ``collection``."""
        self.waiting.append(key)
        if collection:
            hidden = self.hidden or collection in self.secrets
            self.set(collection, self.variables.get(collection, "") + key.digit, secret=hidden)
            self._stopped_by = (key, collection)

    def use(self, key: Key) -> None:
        """A step takes ``key``: it is no longer in the collection that it was put in when it stopped a prompt."""
        if self._stopped_by is not None and self._stopped_by[0] is key:
            collection = self._stopped_by[1]
            self.variables[collection] = self.variables.get(collection, "").removesuffix(key.digit)
            self._stopped_by = None
            if not self.variables[collection]:
                del self.variables[collection]


def _taken(heard: Input | None, now: float) -> Took | None:
    match heard:
        case Key(digit=digit, at=at):
            return Took("key", (digit,), _ago(at, now))
        case SpeechStarted(at=at):
            return Took("speech", (), _ago(at, now))
        case BargeIn(word=word, at=at):
            return Took("word", (word,), _ago(at, now))
        case Words(words=words, at=at):
            return Took("words", words, _ago(at, now))
        case _:
            return None


def _ago(at: float, now: float) -> float:
    return round(max(0.0, now - at), 4)

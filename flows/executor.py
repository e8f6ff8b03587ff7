"""The executor: walks a step graph on a :class:`~flows.call.Call`."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import graph as g
from .call import Call, Callback, CallEnded, EndedBy, Entered, Forwarding, Input, Key, Spoke
from .events import Narrator
from .listening import Chosen, Listening, Missed, Settings
from .prompts import Prompt

__all__ = ["Ending", "Executor", "Settings"]

_DEFAULTS = Settings()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended, seen from its flow. ``path`` is where it was."""

    by: EndedBy
    reason: str
    path: str
    step: str = ""


class _LimitReached(Exception):
    """The flow went on and on."""


class Executor:
    """Walks ``graph``; one executor may serve any number of calls."""

    def __init__(self, graph: g.Graph, settings: Settings = _DEFAULTS) -> None:
        self.graph = graph
        self.settings = settings

    async def run(self, call: Call) -> Ending:
        """Walk the graph until the call has ended, whoever ended it.

        Raises nothing (a cancelled task aside). Every subscribed URL has been told ``close`` when it returns.
        """
        return await _Walk(self.graph, self.settings, call).run()


class _Walk:
    """One call on its way through the graph."""

    def __init__(self, graph: g.Graph, settings: Settings, call: Call) -> None:
        self.graph = graph
        self.settings = settings
        self.call = call
        self.narrator = Narrator(call.id, call.caller, call.callee)
        self.step: g.Step = graph.steps[graph.start]
        self.opened = False  # have the URLs been told that the call was answered
        self.because = ""  # what the last step came to, in words
        self.waiting: deque[Key] = deque()  # pressed, taken from the call, not yet used

    async def run(self) -> Ending:
        by: EndedBy = "flow"
        reason = ""
        try:
            try:
                await self._walk()
            except _LimitReached as limit:
                by, reason = "limit", str(limit)
                await self.call.hangup(reason)
            except CallEnded:
                raise
            except Exception as error:  # noqa: BLE001 - whatever is wrong, the caller must not be left in the line
                by, reason = "error", f"internal error: {type(error).__name__}: {error}"
                await self.call.hangup("internal error")
        except CallEnded as ended:
            if by == "flow":
                by, reason = ended.by, ended.reason
        except Exception as error:  # noqa: BLE001 - not even hanging up worked; the supervisor will
            by, reason = "error", reason or f"internal error: {type(error).__name__}: {error}"
        finally:
            self._tell(self.narrator.close(self.call.answered_at, self.call.now()))
        return Ending(by, reason or self.because, self.narrator.path, self.step.id)

    async def _walk(self) -> None:
        taken = lately = 0
        since = self.call.now()
        step: g.Step | None = self.step
        while step is not None:
            self.step = step
            taken += 1
            lately += 1
            if (now := self.call.now()) - since > 1.0:
                lately, since = 0, now
            if taken > self.settings.max_steps or lately > self.settings.max_steps_per_second:
                raise _LimitReached("the flow went round in circles")
            exit_name = await _VERBS[type(step)](self, step)
            step = self.graph.follow(step, exit_name)
        await self.call.hangup(self.because or "end of the flow")

    def _tell(self, callbacks: Sequence[Callback]) -> None:
        for callback in callbacks:
            self.call.tell(callback)

    # --- verbs: each returns the exit that it takes -------------------------------------

    async def answer(self, step: g.Answer) -> str:
        await self.call.answer()
        if not self.opened:
            self.opened = True
            self._tell(self.narrator.open(self.call.answered_at, self.call.now()))
        return g.NEXT

    async def enter(self, step: g.Enter) -> str:
        self.narrator.path = step.path
        self.because = ""
        self.call.tell(Entered(step.path, step.id))
        return g.NEXT

    async def notify(self, step: g.Notify) -> str:
        self._tell(self.narrator.tree(self.call.answered_at, self.call.now()))
        return g.NEXT

    async def subscribe(self, step: g.Subscribe) -> str:
        note = self.narrator.subscribe(step.url)
        if note is not None:
            self.call.tell(note)
            if self.opened:  # whoever comes before gets `open` instead
                self._tell(self.narrator.tree(self.call.answered_at, self.call.now(), to=step.url))
        return g.NEXT

    async def forward(self, step: g.Forward) -> str:
        self.call.tell(Forwarding(step.url))
        return g.NEXT

    async def say(self, step: g.Say) -> str:
        self._speak(step.prompts)
        await self.call.played()
        return g.NEXT

    async def transfer(self, step: g.Transfer) -> str:
        outcome = await self.call.transfer(step.target)
        if outcome.accepted:
            self.because = f"transferred to {step.target}"
            return g.NEXT
        status = f" {outcome.status}" if outcome.status else ""
        self.because = f"the transfer to {step.target} failed:{status} {outcome.reason or 'no answer'}".rstrip()
        return g.FAILED

    async def hang_up(self, step: g.HangUp) -> str:
        await self.call.hangup(step.reason or self.because or "end of the flow")
        return g.NEXT

    async def listen(self, step: g.Listen) -> str:
        listening = Listening(step.choices, self.settings, seconds=step.seconds, repeats=step.repeats)
        verdict = await self._until(listening)  # keys pressed ahead decide without the prompt
        prompts = step.prompts
        try:
            if verdict is None:
                self.call.hear(step.choices.vocabulary)
            while not isinstance(verdict, Chosen):
                self._speak(prompts)
                listening.begin(self.call.now(), playing=bool(prompts))
                verdict = await self._until(listening)
                if isinstance(verdict, Missed):
                    if verdict.heard is not None:
                        self.call.tell(verdict.heard)
                    if not verdict.again:
                        self.because = "nothing matched" if verdict.why == "nomatch" else "the caller said nothing"
                        return g.NOMATCH if verdict.why == "nomatch" else g.SILENCE
                prompts = step.again
        finally:
            self.call.hear(None)
        self.waiting.extendleft(reversed(verdict.unused))
        self.call.tell(verdict.heard)
        return verdict.exit

    async def _until(self, listening: Listening) -> Chosen | Missed | None:
        """Feed inputs until an attempt is decided; ``None`` when no keys that were pressed ahead are left."""
        while True:
            deadline = listening.deadline
            heard = await self._next(self.call.now() if deadline == float("-inf") else deadline)
            playing = listening.playing
            if heard is None:
                verdict = listening.expire()
                if verdict is None:
                    return None
            else:
                verdict = listening.feed(heard)
            if verdict is not None and playing:
                self.call.stop()
            if isinstance(verdict, Chosen | Missed):
                return verdict

    async def _next(self, deadline: float | None) -> Input | None:
        return self.waiting.popleft() if self.waiting else await self.call.next(deadline)

    def _speak(self, prompts: Sequence[Prompt]) -> None:
        if prompts:
            self.call.start(prompts)
            for prompt in prompts:
                self.call.tell(Spoke(prompt))


_VERBS: dict[type[g.Step], Callable[[_Walk, Any], Awaitable[str]]] = {
    g.Answer: _Walk.answer,
    g.Enter: _Walk.enter,
    g.Notify: _Walk.notify,
    g.Subscribe: _Walk.subscribe,
    g.Forward: _Walk.forward,
    g.Say: _Walk.say,
    g.Listen: _Walk.listen,
    g.Transfer: _Walk.transfer,
    g.HangUp: _Walk.hang_up,
}

"""A call without a phone: the real executor on a scripted caller, in milliseconds.

How long things take is said in :mod:`flows.scripted_call`; nothing depends on the machine or the day.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .call import Callback, Entered, Fetched, Forwarding, Heard, Note, Performed, Spoke, Trouble
from .executor import Ending, Executor, Settings
from .findings import printable
from .graph import Graph
from .script import OTHERS, Statement, parse_script
from .scripted_call import Scenario, ScriptedCall, Spoken
from .scripted_world import Taken
from .story import event_in_words

__all__ = ["Scenario", "Simulation", "run_call", "run_sync", "simulate"]

_T = TypeVar("_T")
_N = TypeVar("_N", bound=Note)
_BY = {"caller": "the caller", "flow": "the flow", "limit": "a limit", "error": "an error"}


@dataclass(frozen=True, slots=True)
class Simulation:
    """What came of a simulated call. Times are seconds since it began; it is answered at once."""

    path: str
    spoken: tuple[Spoken, ...]
    notes: tuple[tuple[Note, float], ...]
    """All that the flow told of itself, each with its time."""
    ending: Ending
    duration: float
    """Seconds since the answer; 0 when there was none."""
    not_reached: tuple[Statement, ...] = ()
    """Statements of the script that nothing came of, from the first one on."""
    recordings: tuple[Taken, ...] = ()
    answered_at: float | None = None
    ended_at: float = 0.0

    def noted(self, kind: type[_N]) -> list[tuple[_N, float]]:
        """The notes of one kind, each with its time."""
        return [(note, at) for note, at in self.notes if isinstance(note, kind)]

    @property
    def heard(self) -> list[tuple[Heard, float]]:
        return self.noted(Heard)

    @property
    def callbacks(self) -> list[tuple[Callback, float]]:
        return self.noted(Callback)

    def to_json(self) -> dict[str, Any]:
        """The form of ``ivrea simulate --json``."""
        return {
            "path": self.path,
            "spoken": [
                {**_what(spoken), "at": _seconds(spoken.at), "heard": _seconds(spoken.heard)} for spoken in self.spoken
            ],
            "heard": [{"kind": heard.kind, "value": heard.value, "at": _seconds(at)} for heard, at in self.heard],
            "callbacks": [
                {"method": each.method, "url": each.url, "params": dict(each.params), "at": _seconds(at)}
                for each, at in self.callbacks
            ],
            "recordings": [
                {"format": each.format, "sides": each.sides, "at": _seconds(each.began), "duration": each.duration}
                for each in self.recordings
            ],
            "fetches": [
                {"method": each.method, "url": each.url, "status": each.status, "problem": each.problem}
                | {"at": _seconds(at)}
                for each, at in self.noted(Fetched)
            ],
            "orders": [
                {"order": each.order, "story": each.story, "at": _seconds(at)}
                for each, at in self.noted(Performed)
                if each.story
            ],
            "trouble": [{"what": each.what, "at": _seconds(at)} for each, at in self.noted(Trouble)],
            "end": {"by": self.ending.by, "reason": self.ending.reason},
            "not_reached": [str(statement) for statement in self.not_reached],
            "duration": _seconds(self.duration),
        }

    def render(self) -> str:
        """The call as a story, a line for each thing that happened."""
        spoken = iter(self.spoken)
        lines: list[tuple[float, str]] = []
        for note, at in self.notes:
            if isinstance(note, Spoke):
                prompt = next(spoken)
                lines.append((prompt.at, _line(prompt)))
            elif text := _tell(note):
                lines.append((at, text))
        lines.sort(key=lambda line: line[0])  # of prompts started together, the second begins later
        lines.append((self.duration, f"ended by {_BY[self.ending.by]}: {self.ending.reason}"))
        story = [f"{at:7.1f} s  {printable(text)}" for at, text in lines]
        story.append(f"path: {self.path or '(the root)'}")
        story += self._left_over()
        return "\n".join(story)

    def _left_over(self) -> list[str]:
        """What the script has that nothing came of, in lines."""
        others = isinstance(self.not_reached[0], OTHERS) if self.not_reached else False
        own = self.not_reached[1:] if others else self.not_reached
        lines = [f"the flow never came to what the script says of others: {self.not_reached[0]}"] if others else []
        return [*lines, f"the caller never got to: {'; '.join(map(str, own))}"] if own else lines


def _what(spoken: Spoken) -> dict[str, str]:
    return {"media": spoken.prompt.media} if spoken.prompt.media else {"text": spoken.prompt.text}


def _line(spoken: Spoken) -> str:
    cut = "" if spoken.complete else f" … interrupted after {spoken.heard:.1f} s"
    verb = "plays" if spoken.prompt.media else "speaks"
    return f"the flow {verb}: {spoken.prompt.media or spoken.prompt.text}{cut}"


def _tell(note: Note) -> str:
    """A note in words; empty for those that say nothing to a reader."""
    match note:
        case Heard(kind="key", value=value):
            return f"the caller pressed: {value}"
        case Heard(value=value):
            return f"the caller said: {value}"
        case Entered(path=path) if path:
            return f"now at: {path}"
        case Forwarding(url=url):
            return f"the list of calls goes to {url}"
        case _:
            return event_in_words(note)


def _seconds(seconds: float) -> float:
    return round(seconds, 3)


def run_sync(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine that waits for nothing outside of itself. ``RuntimeError`` when it does."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    coroutine.close()
    raise RuntimeError("the coroutine waited for something real")


def simulate(
    graph: Graph,
    script: str | Sequence[Statement] = (),
    *,
    settings: Settings | None = None,
    scenario: Scenario | None = None,
) -> Simulation:
    """Walk ``graph`` with a caller who follows ``script``. :class:`~flows.script.ScriptError` for a bad script."""
    statements = parse_script(script) if isinstance(script, str) else tuple(script)
    return run_call(graph, ScriptedCall(statements, scenario or Scenario()), settings or Settings())


def run_call(graph: Graph, call: ScriptedCall, settings: Settings) -> Simulation:
    """Walk ``graph`` on a call that nobody waits for."""
    ending = run_sync(Executor(graph, settings).run(call))
    duration = call.now() - call.answered_at if call.answered_at is not None else 0.0
    return Simulation(
        ending.path,
        tuple(call.spoken),
        tuple(call.notes),
        ending,
        duration,
        tuple(call.left),
        tuple(call.world.recordings),
        call.answered_at,
        call.now(),
    )

"""What is left of a call: its notes with their times, and the way that it went.

A simulated call and a real one leave the same behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote

from flows.call import (
    Began,
    Callback,
    EndedBy,
    Entered,
    FellSilent,
    Heard,
    Note,
    Reached,
    Spoke,
    Trouble,
)
from flows.simulate import Scenario, Simulation
from flows.story import event_in_words


@dataclass(frozen=True, slots=True)
class CallLog:
    """A call that is over. All times are seconds since it came."""

    call_id: str
    caller: str
    callee: str
    notes: tuple[tuple[Note, float], ...]
    ended_at: float
    answered_at: float | None = None
    by: EndedBy = "flow"
    reason: str = ""

    @property
    def began(self) -> Began:
        """The flow that the call began with, and what was known then."""
        return next((note for note, _ in self.notes if isinstance(note, Began)), Began(""))

    @property
    def has_steps(self) -> bool:
        """Whether the steps were put down, which earlier versions did not."""
        return any(isinstance(note, Reached) for note, _ in self.notes)

    @property
    def path(self) -> str:
        return next((note.path for note, _ in reversed(self.notes) if isinstance(note, Entered)), "")


def log_of(simulation: Simulation, scenario: Scenario) -> CallLog:
    """What a simulated call left."""
    return CallLog(
        scenario.call_id,
        scenario.caller,
        scenario.callee,
        simulation.notes,
        simulation.ended_at,
        simulation.answered_at,
        simulation.ending.by,
        simulation.ending.reason,
    )


@dataclass(slots=True)
class Visit:
    """One step on the way of a call: ``exit`` led to it, ``way`` was taken from it, empty when the call ended there."""

    step: str
    verb: str
    origin: str
    flow: int
    exit: str
    began: float
    ended: float
    path: str
    way: str = ""
    asked: int = 0
    """How often prompts were started."""
    said: list[str] = field(default_factory=list)
    heard: list[tuple[str, float]] = field(default_factory=list)
    """What was pressed or said and had a say in it, with its time."""
    events: list[str] = field(default_factory=list)
    """Fetches, orders, recordings and troubles, in words."""

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def visits(log: CallLog) -> list[Visit]:
    """The steps of a call in the order in which it came by; empty for logs of versions that did not put them down."""
    found: list[Visit] = []
    ahead: list[Note] = []  # of the plumbing before the step that comes next
    path = ""
    entered = False
    spoke_at: float | None = None
    for note, at in log.notes:
        if isinstance(note, Entered):
            path, entered = note.path, True
        elif isinstance(note, Reached):
            if found:
                found[-1].ended = at
                found[-1].way = note.exit
            found.append(Visit(note.step, note.verb, note.origin, note.flow, note.exit, at, log.ended_at, path))
            spoke_at, entered = None, False
            for earlier in ahead:
                _add(found[-1], earlier, at, None)
            ahead.clear()
        elif entered and isinstance(note, Callback):
            ahead.append(note)
        elif found:
            spoke_at = _add(found[-1], note, at, spoke_at)
    return found


def _add(visit: Visit, note: Note, at: float, spoke_at: float | None) -> float | None:
    """Put a note into the visit that it belongs to; when the prompts under way were started."""
    match note:
        case Spoke(prompt=prompt):
            if at != spoke_at:
                visit.asked += 1
            visit.said.append(prompt.text or prompt.media)
            return at
        case FellSilent():
            return None
        case Heard(value=value):
            visit.heard.append((value, at))
        case _:
            words = event_in_words(note)
            if words and not (isinstance(note, Trouble) and _told(visit, words)):
                visit.events.append(words)
    return spoke_at


def _told(visit: Visit, trouble: str) -> bool:
    """Whether what was wrong has been told of the request just before."""
    problem = visit.events[-1].partition(" failed: ")[2] if visit.events else ""
    return bool(problem) and trouble.endswith(problem)


def place_in_words(path: str) -> str:
    """A call's path as people read it."""
    return " / ".join(map(unquote, path.split("/"))) if path else "the root"

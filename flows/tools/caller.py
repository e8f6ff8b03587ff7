"""What the caller of a logged call did, in such a way that it can be done again on another flow.

A caller answers what he hears. So each thing that he did is timed from the last that was for him: the beginning of a
prompt that he interrupted, the moment from which he was waited for, or what he had done before. How often
he let his turn pass before that counts too. Thus a longer prompt, or one more of them, does not put him out of step.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from flows.call import FellSilent, Heard, Reached, Spoke, Took

from .calllog import CallLog

Moment = Literal["asked", "turn"]
"""``asked``: a prompt began that the caller may interrupt; ``turn``: from here on he was waited for in silence."""

Happened = tuple[Moment, float]


@dataclass(frozen=True, slots=True)
class Act:
    """A key, an utterance or the hang-up: ``delay`` seconds after ``since``.

    ``asked``: after the prompt number ``asks`` of those that began after ``skipped`` turns had passed. ``turn``: after
    the turn that follows ``skipped`` others. ``act``: after the act before.
    """

    kind: Literal["key", "words", "hangup"]
    values: tuple[str, ...]
    since: Literal["asked", "turn", "act"]
    delay: float
    skipped: int = 0
    asks: int = 0
    lasting: float = 0.0
    """Of an utterance; 0 when its end was not heard."""
    first_word: float = 0.0
    """When the first word of an utterance was known; 0: not before its end."""

    def __str__(self) -> str:
        match self.kind:
            case "key":
                return f"press {self.values[0]}"
            case "words":
                return f"say {' '.join(self.values)}" if self.values else "make a noise"
            case _:
                return "hang up"

    def due(self, before: float, happened: Iterable[Happened]) -> float | None:
        """When it is its time, ``happened`` having happened since the act ``before``; ``None``: not yet known.

        Where the prompt is missing that it was an answer to, the turn does as well.
        """
        if self.since == "act":
            return before + self.delay
        turns = asks = 0
        for moment, at in happened:
            if moment == "turn":
                turns += 1
                asks = 0
                if turns > self.skipped:
                    return at + self.delay
            elif turns == self.skipped:
                asks += 1
                if self.since == "asked" and asks == self.asks:
                    return at + self.delay
        return None


@dataclass(slots=True)
class _Doing:
    """An act as the log has it: when it began and ended, each with its place in the log."""

    kind: Literal["key", "words", "hangup"]
    values: tuple[str, ...]
    began: tuple[float, int]
    ended: tuple[float, int]
    first_word: float = 0.0
    complete: bool = True


def acts_of(log: CallLog) -> tuple[Act, ...]:
    """All that the caller did and a step took, in order; the hang-up, if it was his."""
    happened, doings = _read(log)
    acts: list[Act] = []
    places = [place for place, _ in happened]
    before = (log.answered_at or 0.0, -1)
    for doing in doings:
        between = [moment for _, moment in happened[bisect_left(places, before) : bisect_left(places, doing.began)]]
        times = [place[0] for place in places[bisect_left(places, before) : bisect_left(places, doing.began)]]
        acts.append(_timed(doing, before[0], between, times))
        before = max(before, doing.ended)
    return tuple(acts)


def _timed(doing: _Doing, before: float, between: Sequence[Moment], times: Sequence[float]) -> Act:
    began = doing.began[0]
    lasting = doing.ended[0] - began if doing.complete else 0.0
    turns = between.count("turn")
    if not between:
        return Act(
            doing.kind,
            doing.values,
            "act",
            max(0.0, began - before),
            lasting=lasting,
            first_word=doing.first_word,
        )
    since = between[-1]
    asks = 0
    for moment in between:
        asks = asks + 1 if moment == "asked" else 0
    skipped = turns - 1 if since == "turn" else turns
    delay = max(0.0, began - times[-1])
    return Act(doing.kind, doing.values, since, delay, skipped, asks, lasting, doing.first_word)


def _read(log: CallLog) -> tuple[list[tuple[tuple[float, int], Moment]], list[_Doing]]:
    """What happened to the caller and what he did, each with its time and place in the log."""
    happened: list[tuple[tuple[float, int], Moment]] = []
    doings: list[_Doing] = []
    speaking: _Doing | None = None
    hears = False
    spoke_at: float | None = None
    for place, (note, at) in enumerate(log.notes):
        match note:
            case Reached():
                hears, spoke_at = note.hears, None
            case Spoke() if hears and at != spoke_at:
                spoke_at = at
                happened.append(((at, place), "asked"))
            case FellSilent(turn=True):
                happened.append(((at, place), "turn"))
            case Took(kind="key", values=values, ago=ago):
                when = (at - ago, place)
                doings.append(_Doing("key", values, when, when))
            case Took(kind="speech", ago=ago):
                when = (at - ago, place)
                speaking = _Doing("words", (), when, when, complete=False)
                doings.append(speaking)
            case Took(kind="word", values=values, ago=ago) if speaking is not None:
                speaking.first_word = max(0.001, at - ago - speaking.began[0])
                speaking.values = values
                speaking.ended = (at - ago, place)
            case Took(kind="words", values=values, ago=ago):
                if speaking is None:  # the step began to listen in the middle of it
                    speaking = _Doing("words", (), (at - ago, place), (at - ago, place))
                    doings.append(speaking)
                speaking.values, speaking.ended, speaking.complete = values, (at - ago, place), True
                speaking = None
            case Heard():
                speaking = None  # decided: the rest of an utterance was not listened to
    if log.by == "caller":
        over = (log.ended_at, len(log.notes))
        doings.append(_Doing("hangup", (), over, over))
    doings.sort(key=lambda doing: doing.began)
    happened.sort(key=lambda each: each[0])
    return happened, doings

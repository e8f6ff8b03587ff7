"""Which of the calls that wait are to be made now. Pure: clock, limits and running calls are passed in.

A *lane* is the way by which a call goes out: an account and one of its trunks (or none in particular). Each lane has a
rate and a number of calls at a time, which lanes of several accounts on one trunk share; each account has a number too.
Calls of a lane are begun at least ``1 / rate`` seconds apart, never in a burst; those that are due longest come first,
and a lane that is full keeps no other one waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import NamedTuple

from engine.campaigns.schedule import Schedule


class Lane(NamedTuple):
    """An account, and the trunk that its calls are to go by; empty: any."""

    account: str
    trunk: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a lane: calls begun per second, and calls at a time. ``account_calls``: those of the account. 0: no limit.

    ``line``: by which other accounts' lanes go, too; empty: its own.
    """

    rate: float = 0.0
    calls: int = 0
    account_calls: int = 0
    line: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that waits for ``due``; it is not made any more after ``not_after``. Times in seconds.

    Its ``schedule`` was open at ``due`` in ``zone``; that may be over when its turn comes.
    """

    id: int
    lane: Lane
    due: float
    not_after: float | None = None
    schedule: Schedule | None = None
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done now, and when to look again; ``wake`` is ``None`` when only the end of a call changes things.

    ``expired`` are those whose time is over.
    """

    place: tuple[Waiting, ...]
    expired: tuple[Waiting, ...]
    postponed: tuple[tuple[Waiting, float], ...]
    """With the time at which the schedule is open again."""
    wake: float | None


Line = str | Lane
"""What a rate and a number of calls belong to: the line that lanes share, or a lane alone."""


@dataclass(slots=True)
class Pace:
    """Remembers when each lane may begin its next call, and which calls it has."""

    limits: Callable[[Lane], Limits]
    _running: Counter[Lane] = field(default_factory=Counter)
    _free_at: dict[Line, float] = field(default_factory=dict)

    def plan(self, waiting: Iterable[Waiting], now: float) -> Plan:
        """Decide, and count what is placed as begun: :meth:`ended` gives its room back."""
        place: list[Waiting] = []
        expired: list[Waiting] = []
        postponed: list[tuple[Waiting, float]] = []
        wakes: list[float] = []
        self._forget(now)
        for each in sorted(waiting, key=lambda each: (each.due, each.id)):
            when = self._when(each, now) if each.not_after is None or each.not_after >= now else None
            opens = each.schedule.next(now, each.zone) if each.schedule is not None and each.due <= now else now
            if opens is None or (each.not_after is not None and max(opens, now) > each.not_after):
                expired.append(each)
            elif opens > now:
                postponed.append((each, opens))
                wakes.append(opens)
            elif when is not None and when <= now:
                place.append(each)
                self._begin(each.lane, now)
            elif each.not_after is not None and each.not_after <= now:
                expired.append(each)
            else:
                wakes += [moment for moment in (when, each.not_after) if moment is not None]
        return Plan(tuple(place), tuple(expired), tuple(postponed), min(wakes, default=None))

    def _when(self, each: Waiting, now: float) -> float | None:
        """When ``each`` can be made as things are; ``None``: not before some call has ended."""
        limits, account = self.limits(each.lane), each.lane.account
        if self._full(each.lane):
            return None
        if limits.account_calls and limits.account_calls <= sum(
            count for lane, count in self._running.items() if lane.account == account
        ):
            return None
        return max(each.due, self._free_at.get(self._line(each.lane), now))

    def _full(self, lane: Lane) -> bool:
        most, line = self.limits(lane).calls, self._line(lane)
        return 0 < most <= sum(count for other, count in self._running.items() if self._line(other) == line)

    def _line(self, lane: Lane) -> Line:
        return self.limits(lane).line or lane

    def _begin(self, lane: Lane, now: float) -> None:
        self._running[lane] += 1
        rate = self.limits(lane).rate
        if rate > 0:
            self._free_at[self._line(lane)] = now + 1 / rate

    def ended(self, lane: Lane) -> None:
        """A call of the lane is over."""
        self._running[lane] -= 1
        if self._running[lane] <= 0:
            del self._running[lane]

    def found(self, lane: Lane) -> None:
        """A call of the lane is running that was begun before."""
        self._running[lane] += 1

    def hold(self, lane: Lane, until: float) -> None:
        """Begin no call of the lane before ``until``: there was no room for one."""
        line = self._line(lane)
        self._free_at[line] = max(until, self._free_at.get(line, until))

    def blocked(self, now: float) -> set[Lane]:
        """Lanes of which nothing can be begun now, among those that have calls or are a line of their own."""
        late = {line for line, free in self._free_at.items() if free > now}
        found = {line for line in late if isinstance(line, Lane)}
        return found | {lane for lane in self._running if self._full(lane) or self._line(lane) in late}

    def next_free(self, now: float) -> float | None:
        """When the first line that waits for its rate may begin its next call."""
        return min((free for free in self._free_at.values() if free > now), default=None)

    def _forget(self, now: float) -> None:
        for line in [line for line, free in self._free_at.items() if free <= now]:
            del self._free_at[line]

"""Which of the calls that wait are to be made now. Pure: clock, limits and running calls are passed in.

A *lane* is the way by which a call goes out: an account and one of its trunks (or none in particular). Each lane has a
rate and a number of calls at a time, each account a number too. Calls of a lane are begun at least ``1 / rate`` seconds
apart, never in a burst; those that are due longest come first, and a lane that is full keeps no other one waiting.
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
    """Of a lane: calls begun per second, and calls at a time. ``account_calls``: those of the account. 0: no limit."""

    rate: float = 0.0
    calls: int = 0
    account_calls: int = 0


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


@dataclass(slots=True)
class Pace:
    """Remembers when each lane may begin its next call, and which calls it has."""

    limits: Callable[[Lane], Limits]
    running: Counter[Lane] = field(default_factory=Counter)
    _free_at: dict[Lane, float] = field(default_factory=dict)

    def plan(self, waiting: Iterable[Waiting], now: float) -> Plan:
        """Decide, and count what is placed as begun: :meth:`ended` gives its room back."""
        place: list[Waiting] = []
        expired: list[Waiting] = []
        postponed: list[tuple[Waiting, float]] = []
        wakes: list[float] = []
        by_account: Counter[str] = Counter()
        for lane, count in self.running.items():
            by_account[lane.account] += count
        self._forget(now)
        for each in sorted(waiting, key=lambda each: (each.due, each.id)):
            in_time = each.not_after is None or each.not_after >= now
            when = self._when(each, by_account, now) if in_time else None
            opens = each.schedule.next(now, each.zone) if each.schedule is not None and each.due <= now else now
            if opens is None or (each.not_after is not None and max(opens, now) > each.not_after):
                expired.append(each)
            elif opens > now:
                postponed.append((each, opens))
                wakes.append(opens)
            elif when is not None and when <= now:
                place.append(each)
                by_account[each.lane.account] += 1
                self._begin(each.lane, now)
            elif each.not_after is not None and each.not_after <= now:
                expired.append(each)
            else:
                wakes += [moment for moment in (when, each.not_after) if moment is not None]
        return Plan(tuple(place), tuple(expired), tuple(postponed), min(wakes, default=None))

    def _when(self, each: Waiting, by_account: Counter[str], now: float) -> float | None:
        """When ``each`` can be made as things are; ``None``: not before some call has ended."""
        limits = self.limits(each.lane)
        if limits.calls and self.running[each.lane] >= limits.calls:
            return None
        if limits.account_calls and by_account[each.lane.account] >= limits.account_calls:
            return None
        return max(each.due, self._free_at.get(each.lane, now))

    def _begin(self, lane: Lane, now: float) -> None:
        self.running[lane] += 1
        rate = self.limits(lane).rate
        if rate > 0:
            self._free_at[lane] = now + 1 / rate

    def ended(self, lane: Lane) -> None:
        """A call of the lane is over."""
        self.running[lane] -= 1
        if self.running[lane] <= 0:
            del self.running[lane]

    def found(self, lane: Lane) -> None:
        """A call of the lane is running that was begun before."""
        self.running[lane] += 1

    def hold(self, lane: Lane, until: float) -> None:
        """Begin no call of the lane before ``until``: there was no room for one."""
        self._free_at[lane] = max(until, self._free_at.get(lane, until))

    def blocked(self, now: float) -> set[Lane]:
        """Lanes of which nothing can be begun now, as far as their own limits go."""
        full = {lane for lane, count in self.running.items() if 0 < self.limits(lane).calls <= count}
        return full | {lane for lane, free in self._free_at.items() if free > now}

    def next_free(self, now: float) -> float | None:
        """When the first lane that waits for its rate may begin its next call."""
        return min((free for free in self._free_at.values() if free > now), default=None)

    def _forget(self, now: float) -> None:
        for lane in [lane for lane, free in self._free_at.items() if free <= now]:
            del self._free_at[lane]

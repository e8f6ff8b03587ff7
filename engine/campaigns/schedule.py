"""When calls may be made, and after what delays they are made again. Pure: the time is passed in.

A schedule is Verboice's: days of the week, a time of the day from and to, delays of retries. It has no time zone of its
own: the same one is used for calls to several.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

DAY = 86_400
DAYS_AHEAD = 15
"""A day of each kind comes within seven; more are looked at for days that a change of the clock takes away."""
MOST_RETRIES = 100
LONGEST_DELAY = 366 * DAY

_CLOCK = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])(?::([0-5][0-9]))?", re.ASCII)
_DELAY = re.compile(
    r"(?P<d>\d{1,6})\s*da?y?s?|(?P<h>\d{1,6})\s*ho?u?r?s?|(?P<m>\d{1,6})\s*mi?n?u?t?e?s?|(?P<bare>\d{1,6}(\.\d{1,6})?)",
    re.ASCII,
)
_UNITS = {"d": DAY, "h": 3600, "m": 60, "bare": 3600}


@dataclass(frozen=True, slots=True)
class Schedule:
    """``days``: 0 is Sunday, empty for all. ``start`` and ``end``: seconds of the day, both included.

    ``retries``: seconds from the end of each attempt to the next one, as long as there are any. ``retry_all``: also
    after an end that another attempt would come to again (:func:`engine.campaigns.outcome.is_for_good`).
    """

    days: frozenset[int] = frozenset()
    start: int = 0
    end: int = DAY
    retries: tuple[float, ...] = ()
    retry_all: bool = False

    def is_open(self, moment: float, zone: tzinfo) -> bool:
        """Whether calls may be made at ``moment``."""
        there = datetime.fromtimestamp(moment, zone)
        if self.days and there.isoweekday() % 7 not in self.days:
            return False
        return self.start <= there.hour * 3600 + there.minute * 60 + there.second <= self.end

    def next(self, moment: float, zone: tzinfo) -> float | None:
        """The first moment from ``moment`` on at which calls may be made.

        ``None`` when there is none within two weeks: a clock that is put forward may take a whole window away.
        """
        if self.is_open(moment, zone):
            return moment
        today = datetime.fromtimestamp(moment, zone).date()
        for ahead in range(-1, DAYS_AHEAD):
            opening = self._opening(today + timedelta(days=ahead), moment, zone)
            if opening is not None:
                return opening
        return None

    def _opening(self, day: date, after: float, zone: tzinfo) -> float | None:
        """The first moment of a day, from ``after`` on, that is open."""
        fitting = (each for each in _beginnings(day, self.start, zone) if each >= after and self.is_open(each, zone))
        return min(fitting, default=None)

    def retry(self, attempt: int, now: float, zone: tzinfo, not_after: float | None) -> float | None:
        """When to try again after ``attempt`` (the first is 1) that ended ``now``; ``None``: not any more."""
        if not 1 <= attempt <= len(self.retries):
            return None
        due = self.next(now + self.retries[attempt - 1], zone)
        return None if due is None or (not_after is not None and due > not_after) else due

    def as_data(self) -> dict[str, Any]:
        """As JSON has it: see :meth:`of`."""
        return {
            "days": sorted(self.days),
            "from": self.start,
            "to": self.end,
            "retries": list(self.retries),
            "retry_all": self.retry_all,
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Schedule:
        """What :meth:`as_data` made. Raises KeyError, TypeError and ValueError for anything else."""
        return cls(
            frozenset(map(int, data["days"])),
            int(data["from"]),
            int(data["to"]),
            tuple(map(float, data["retries"])),
            bool(data.get("retry_all", False)),
        )


ALWAYS = Schedule()


def _beginnings(day: date, start: int, zone: tzinfo) -> Iterator[float]:
    """Moments at which a window of ``day`` may begin: the clock says so (twice, when it is put back), or it jumps."""
    begin = datetime.combine(day, time(), zone) + timedelta(seconds=min(start, DAY - 1))  # on the clock, not elapsed
    for fold in (0, 1):
        yield begin.replace(fold=fold).timestamp()
    low = datetime.combine(day, time(), zone).timestamp()
    high = datetime.combine(day + timedelta(days=1), time(), zone).timestamp()
    if _offset(low, zone) != _offset(high, zone):
        yield _change(low, high, zone)


def _offset(moment: float, zone: tzinfo) -> timedelta | None:
    return datetime.fromtimestamp(moment, zone).utcoffset()


def _change(low: float, high: float, zone: tzinfo) -> float:
    """The second at which the clock is put forward or back, between two moments with different offsets."""
    before, after = int(low), int(high)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == _offset(low, zone):
            before = middle
        else:
            after = middle
    return float(after)


def parse_clock(text: str) -> int:
    """``9:05`` or ``17:30:00``, in seconds of the day; ``24:00`` is its end. Raises :class:`ValueError`."""
    found = _CLOCK.fullmatch(text.strip())
    seconds = int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3] or 0) if found else DAY + 1
    if seconds > DAY:
        raise ValueError(f"{text[:40]!r} is no time of the day; for example 9:30")
    return seconds


def clock_text(seconds: int) -> str:
    """``9:05``, as Verboice writes it."""
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}"


def parse_retries(text: str) -> tuple[float, ...]:
    """Delays in seconds of ``15m, 2, 3h, 4d``, a bare number being hours. Raises :class:`ValueError`."""
    pieces = [piece.strip() for piece in text.split(",")] if text.strip() else []
    if len(pieces) > MOST_RETRIES:
        raise ValueError(f"more than {MOST_RETRIES} retries")
    return tuple(_delay(piece) for piece in pieces)


def _delay(piece: str) -> float:
    found = _DELAY.fullmatch(piece)
    if found is not None:
        for unit, seconds in _UNITS.items():
            if found[unit] is not None and (delay := float(found[unit]) * seconds) <= LONGEST_DELAY:
                return delay
    raise ValueError(f"invalid retry: {piece[:40]}")


def parse_days(days: Iterable[int] | str) -> frozenset[int]:
    """``0,1,6``, or numbers; 0 is Sunday. Raises :class:`ValueError`."""
    if isinstance(days, str):
        pieces = [piece.strip() for piece in days.split(",")] if days.strip() else []
        if not all(piece in tuple("0123456") for piece in pieces):
            raise ValueError("must be days from 0 (Sunday) to 6, separated by commas")
        return frozenset(map(int, pieces))
    found = frozenset(days)
    if not found <= frozenset(range(7)):
        raise ValueError("must be days from 0 (Sunday) to 6")
    return found


def window(start: str, end: str) -> tuple[int, int]:
    """From and to of a day; both empty: all of it. Raises :class:`ValueError`."""
    low, high = parse_clock(start) if start.strip() else 0, parse_clock(end) if end.strip() else DAY
    if low >= high:
        raise ValueError("End time must be greater than the start time.")
    return low, high


def first_slot(
    schedule: Schedule | None, zone: tzinfo, now: float, not_before: float | None, not_after: float | None
) -> float:
    """When a call that is asked for ``now`` is due for the first time.

    Raises :class:`ValueError` when ``not_after`` leaves it no time.
    """
    if not_after is not None and not_after < now:
        raise ValueError("not_after is in the past")
    if not_after is not None and not_before is not None and not_after < not_before:
        raise ValueError("not_after is before not_before")
    due = max(now, not_before if not_before is not None else now)
    if schedule is None:
        return due
    slot = schedule.next(due, zone)
    if slot is None:
        raise ValueError("the schedule is never open")
    if not_after is not None and slot > not_after:
        opens = datetime.fromtimestamp(slot, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
        raise ValueError(f"not_after is before the schedule's next slot ({opens} UTC)")
    return slot

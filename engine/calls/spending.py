"""What calls that leave us cost an account on one day (UTC): how many there were, and for how long they talked.

It is counted from the records of calls as they are written, and taken over from the database at the start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from engine.callbacks import records

DAY = 86_400


def next_day(now: float) -> float:
    """When what was spent counts no more, in seconds since the epoch."""
    return float((now // DAY + 1) * DAY)


@dataclass(slots=True)
class Spent:
    """``calls`` that were begun, ``seconds`` of those that are over."""

    calls: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _Leg:
    account: str
    call: str
    answered_at: float | None = None


@dataclass(slots=True)
class Spending:
    """All accounts. ``clock``: seconds since the epoch."""

    clock: Callable[[], float] = time.time
    _day: int = 0
    _spent: dict[str, Spent] = field(default_factory=dict)
    _accounts: dict[str, str] = field(default_factory=dict)
    """Of the calls that live."""
    _legs: dict[str, _Leg] = field(default_factory=dict)
    """Those that left us and are not over."""

    def take_over(self, spent: Iterable[tuple[str, int, float]]) -> None:
        """What was spent before the start, today: account, calls, seconds."""
        self._turn()
        for account, calls, seconds in spent:
            self._spent[account] = Spent(calls, seconds)

    def today(self, account: str) -> Spent:
        """What the account has spent today; calls that talk now count up to now."""
        self._turn()
        now, begin = self.clock(), self._day * DAY
        known = self._spent.get(account, Spent())
        talking = (
            now - max(leg.answered_at, begin)
            for leg in self._legs.values()
            if leg.account == account and leg.answered_at is not None
        )
        return Spent(known.calls, known.seconds + sum(talking))

    def watch(self, record: records.Record) -> None:
        """Take in a record."""
        match record:
            case records.CallStarted():
                self._accounts[record.call] = record.account
            case records.LegStarted() if record.trunk or record.to.lower().startswith(("sip:", "sips:")):
                account = self._accounts.get(record.call, "")
                self._turn()
                self._spent.setdefault(account, Spent()).calls += 1
                self._legs[record.leg] = _Leg(account, record.call)
            case records.LegAnswered():
                if (leg := self._legs.get(record.leg)) is not None and leg.answered_at is None:
                    leg.answered_at = record.at
            case records.LegFinished():
                self._over(record.leg)
            case records.CallFinished():
                self._accounts.pop(record.call, None)
                for name in [name for name, leg in self._legs.items() if leg.call == record.call]:
                    self._over(name)

    def _over(self, name: str) -> None:
        leg = self._legs.pop(name, None)
        if leg is None or leg.answered_at is None:
            return
        self._turn()
        seconds = self.clock() - max(leg.answered_at, self._day * DAY)
        self._spent.setdefault(leg.account, Spent()).seconds += max(0.0, seconds)

    def _turn(self) -> None:
        """A new day begins with nothing."""
        day = int(self.clock() // DAY)
        if day != self._day:
            self._day = day
            self._spent.clear()

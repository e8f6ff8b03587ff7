"""Whether another call can be carried: the load of media workers and of the control process, judged ahead.

Nothing here has a clock: times are passed in, in seconds of one monotonic clock. A worker reports once a second; what
came after, and the part of it that the report could not see, is estimated from what streams have cost so far, so that
a burst between two reports does not overshoot.
"""

from __future__ import annotations

from collections import deque

from media.commands import MAX_STREAMS
from media.ports import REST
from media.reports import WorkerLoad

SILENCE = 3.0
"""Seconds without a report after which a worker gets no new streams."""

SETUP_COST = 0.001
"""CPU seconds of a worker for opening and closing a stream (``benchmarks/call_setup.py`` measures it)."""

GUESSED_COST, GUESSED_STREAMS = 0.0008, 100
"""Share of a core that a stream is thought to take; the guess weighs as much as so many measured streams."""

BUSY_STEP = 0.02
"""Differences of load below this do not decide which worker gets a stream: the number of streams does."""

WEIGHT, CLIP = 0.25, 2.0
"""Of the newest measurement in the mean; and how many times its limit it counts at most: hiccups are no overload."""

RECOVERED = 0.5
"""An overload is over below this share of its limit."""


class Strain:
    """A lateness that may get too high. Measurements come about once a second, in the unit of ``limit``.

    :attr:`high` begins when their decaying mean reaches ``limit``, and ends when it is under half of that. From rest,
    two bad seconds are not enough for it, however bad; three of twice the limit are, or five of one and a half times.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.mean = 0.0
        self.high = False

    def take(self, value: float) -> None:
        """The next measurement."""
        self.mean += WEIGHT * (min(value, CLIP * self.limit) - self.mean)
        self.high = self.mean >= self.limit * (RECOVERED if self.high else 1.0)


class WorkerGauge:
    """How busy one media worker is now, as a share of a core, and whether it may take another stream.

    It may not when that would bring it over ``busy_limit``, while the p99 of its ticks' lateness is over
    ``late_limit_ms``, when it has as many streams as it can, or no free one of its ``pairs`` of ports: those of closed
    streams rest for a while (:data:`media.ports.REST`). And it may not when it says nothing.
    """

    def __init__(self, busy_limit: float, late_limit_ms: float, pairs: int = 32_768) -> None:
        self.streams = 0
        self._busy_limit, self._late_limit, self._pairs = busy_limit, late_limit_ms, pairs
        self.started(0.0)

    def started(self, now: float) -> None:
        """The worker is ready: a new process, that carries nothing yet."""
        self.lateness = Strain(self._late_limit)
        self.streams = self._promised = 0
        self._cost = GUESSED_COST
        self._busy = 0.0
        self._mean_streams = self._area = 0.0
        self._openings = self._openings_reported = 0
        self._rested: deque[float] = deque()  # when the ports of closed streams will have
        self._heard = self._moved = now

    def report(self, load: WorkerLoad, now: float) -> None:
        """What the worker says of the time since its last report."""
        self._integrate(now)
        span = now - self._heard
        self._mean_streams = self._area / span if span > 0 else float(self.streams)
        self._area = 0.0
        for_streams = max(load.busy - SETUP_COST * self._openings, 0.0)
        self._cost = (for_streams + GUESSED_COST * GUESSED_STREAMS) / (self._mean_streams + GUESSED_STREAMS)
        self._busy = load.busy
        self._openings_reported, self._openings = self._openings, 0
        self._promised = 0  # promises are kept at once; of a call that broke before, one must not stay for ever
        self._heard = now
        self.lateness.take(load.late_ms_p99)

    def promise(self) -> None:
        """A call is sent to this worker, and will open its stream any moment."""
        self._promised += 1

    def opened(self, now: float) -> None:
        """The worker is told to open a stream."""
        self._integrate(now)
        self.streams += 1
        self._openings += 1
        self._promised = max(self._promised - 1, 0)

    def closed(self, now: float) -> None:
        """A stream is gone."""
        self._integrate(now)
        self.streams -= 1
        self._rested.append(now + REST)

    def _integrate(self, now: float) -> None:
        self._area += self.streams * max(now - self._moved, 0.0)
        self._moved = now

    @property
    def busy(self) -> float:
        """Estimate of the load now: the last report, what has come since, and how much faster it comes."""
        growth = self.streams + self._promised - self._mean_streams
        hurry = max(self._openings + self._promised - self._openings_reported, 0)
        return max(self._busy + self._cost * growth + SETUP_COST * hurry, 0.0)

    @property
    def rank(self) -> tuple[int, int]:
        """The lower, the rather is the next stream for this worker."""
        return int(self.busy / BUSY_STEP), self.streams + self._promised

    def refusal(self, now: float) -> str:
        """Why the worker takes no stream now; empty when it does."""
        if now - self._heard > SILENCE:
            return "media silent"
        while self._rested and self._rested[0] <= now:
            self._rested.popleft()
        streams = self.streams + self._promised
        if streams >= MAX_STREAMS or streams + len(self._rested) >= self._pairs:
            return "media full"
        if self.lateness.high:
            return "media late"
        return "media busy" if self.busy + self._cost > self._busy_limit else ""


class Overload:
    """When an overload begins and ends, told once each: a line per refused call would add to it."""

    QUIET = 5.0
    """Seconds without a refusal after which an overload is over."""

    def __init__(self) -> None:
        self.active = False
        self.refused = 0
        self.since = self._last = 0.0

    def refuse(self, now: float) -> bool:
        """A call is refused for lack of capacity. True if an overload begins with it."""
        begins = not self.active
        if begins:
            self.active, self.since, self.refused = True, now, 0
        self.refused += 1
        self._last = now
        return begins

    def ends(self, now: float) -> bool:
        """True once, when an overload is over; :attr:`refused` and :attr:`since` tell of it."""
        if not self.active or now - self._last < self.QUIET:
            return False
        self.active = False
        return True

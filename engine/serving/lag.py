"""How late the event loop of the control process is: a timer every 100 ms that looks at the clock."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

EVERY = 0.1
"""Seconds between two looks."""

PER_SECOND = round(1 / EVERY)
KEPT = 60 * PER_SECOND
"""Looks that the percentiles are taken from: those of the last minute."""


class Lags:
    """Latenesses of the last minute, in milliseconds. No clock: they are put in."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=KEPT)

    def add(self, late_ms: float) -> None:
        """The next look came ``late_ms`` milliseconds after its time."""
        self._recent.append(late_ms)

    def percentiles(self) -> tuple[float, float, float]:
        """p50, p99 and the worst of the last minute; zeros before the first look."""
        ranked = sorted(self._recent)
        if not ranked:
            return 0.0, 0.0, 0.0
        last = len(ranked) - 1
        return ranked[last // 2], ranked[round(last * 0.99)], ranked[last]

    def last_second(self) -> float:
        """What the third-worst look of the last second was late: a single pause under 200 ms does not show in it."""
        return sorted(list(self._recent)[-PER_SECOND:], reverse=True)[2] if len(self._recent) >= PER_SECOND else 0.0


class LagMonitor:
    """Fills ``lags`` from the running loop; ``on_second`` is called about once a second.

    Deadlines are absolute: a loop that stood still for a second has missed ten looks, each later than the next,
    and all of them count.
    """

    def __init__(self, lags: Lags, on_second: Callable[[], None]) -> None:
        self._lags = lags
        self._on_second = on_second
        self._loop = asyncio.get_running_loop()
        # The clock of the process, not loop.time(): uvloop's stands still while callbacks run.
        now = time.monotonic()
        self._due, self._second = now + EVERY, now + 1.0
        self._timer = self._loop.call_later(EVERY, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        self._due = max(self._due, now - KEPT * EVERY)  # the machine slept: no more than what is kept
        self._lags.add(1000 * max(now - self._due, 0.0))
        self._due += EVERY
        while self._due <= now:  # missed: each would have come now
            self._lags.add(1000 * (now - self._due))
            self._due += EVERY
        self._timer = self._loop.call_later(self._due - now, self._look)
        if now >= self._second:
            self._second = now + 1.0
            self._on_second()

    def close(self) -> None:
        """Look no more."""
        self._timer.cancel()

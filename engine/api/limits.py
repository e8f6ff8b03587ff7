"""How often somebody may ask: a token bucket for each name, with a bound on names."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

MOST_NAMES = 10_000


@dataclass(slots=True)
class RateLimit:
    """``rate`` requests a second, and ``burst`` at once. A rate of 0: no limit.

    When there are too many names, the one that asked longest ago is forgotten: its bucket is the fullest.
    """

    rate: float
    burst: float = 1.0
    _buckets: OrderedDict[Hashable, tuple[float, float]] = field(default_factory=OrderedDict)

    def wait(self, name: Hashable, now: float) -> float:
        """0.0 when ``name`` may ask now, which counts; else the seconds until it may. ``now``: any monotonic clock."""
        if not self.rate:
            return 0.0
        level, at = self._buckets.pop(name, (self.burst, now))
        level = min(self.burst, level + (now - at) * self.rate)
        allowed = level >= 1.0
        self._buckets[name] = (level - 1.0 if allowed else level, now)
        while len(self._buckets) > MOST_NAMES:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - level) / self.rate

    def short_of(self, name: Hashable, now: float) -> float:
        """As :meth:`wait`, but it does not count."""
        if not self.rate or name not in self._buckets:
            return 0.0
        level, at = self._buckets[name]
        level = min(self.burst, level + (now - at) * self.rate)
        return 0.0 if level >= 1.0 else (1.0 - level) / self.rate


def retry_after(seconds: float) -> str:
    """The header's value: whole seconds, at least one."""
    return str(max(1, math.ceil(seconds)))

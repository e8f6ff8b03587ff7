"""Rate limits on what malformed or unauthorised traffic may cost, per source address.

Good traffic is never counted. Once a source has used up its allowance, its bad messages are dropped in
silence: a scanner learns nothing, and a forged source address is not flooded with our refusals.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """A token bucket per source: ``rate`` refusals a second, ``burst`` at once; ``sources`` are remembered."""

    rate: float = 2.0
    burst: float = 20.0
    sources: int = 8192


class Guard:
    """Token buckets by source host, least recently bad ones forgotten first."""

    __slots__ = ("_buckets", "_limits")

    def __init__(self, limits: GuardLimits | None = None) -> None:
        self._limits = limits or GuardLimits()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Sources remembered."""
        return len(self._buckets)

    def allow(self, host: str, now: float) -> bool:
        """Charge one bad message to ``host``; whether it may still be answered."""
        limits = self._limits
        level, seen = self._buckets.get(host, (limits.burst, now))
        level = min(limits.burst, level + max(0.0, now - seen) * limits.rate)
        allowed = level >= 1.0
        self._buckets[host] = (level - 1.0 if allowed else level, now)
        self._buckets.move_to_end(host)
        if len(self._buckets) > limits.sources:
            self._buckets.popitem(last=False)
        return allowed

    def exhausted(self, host: str, now: float) -> bool:
        """Whether the next bad message of ``host`` would go unanswered; charges nothing."""
        bucket = self._buckets.get(host)
        if bucket is None:
            return False
        level, seen = bucket
        return level + max(0.0, now - seen) * self._limits.rate < 1.0

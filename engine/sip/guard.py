"""Rate limits on what malformed, unauthorised or unserved traffic may cost, per source.

Calls, their requests and OPTIONS are never counted; a challenge is, until it is answered with good
credentials. Once a source has used up its allowance, its bad messages are dropped in silence: a scanner
learns nothing, and a forged source address is not flooded with our refusals.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache


@lru_cache(maxsize=8192)
def subscriber(host: str) -> str:
    """Whom ``host`` belongs to, for limits per source: of IPv6 the /64, all of which one subscriber has.

    An IPv4 address in IPv6 clothes (``::ffff:a.b.c.d``) is that address, whichever socket it came to.
    """
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64))


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """A token bucket per source: ``rate`` refusals a second, ``burst`` at once; ``sources`` are remembered."""

    rate: float = 2.0
    burst: float = 20.0
    sources: int = 8192


class Guard:
    """Token buckets by :func:`subscriber`, least recently bad ones forgotten first."""

    __slots__ = ("_buckets", "_limits")

    def __init__(self, limits: GuardLimits | None = None) -> None:
        self._limits = limits or GuardLimits()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Sources remembered."""
        return len(self._buckets)

    def allow(self, host: str, now: float) -> bool:
        """Charge one bad message to ``host``; whether it may still be answered."""
        limits, host = self._limits, subscriber(host)
        level, seen = self._buckets.get(host, (limits.burst, now))
        level = min(limits.burst, level + max(0.0, now - seen) * limits.rate)
        allowed = level >= 1.0
        self._buckets[host] = (level - 1.0 if allowed else level, now)
        self._buckets.move_to_end(host)
        if len(self._buckets) > limits.sources:
            self._buckets.popitem(last=False)
        return allowed

    def refund(self, host: str) -> None:
        """Take one charge back: it was the challenge that ``host`` has now answered."""
        bucket = self._buckets.get(subscriber(host))
        if bucket is not None:
            level, seen = bucket
            self._buckets[subscriber(host)] = (min(self._limits.burst, level + 1.0), seen)

"""Which RTP port pairs are free. No sockets, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from random import Random

REST = 5.0
"""Seconds that a closed port stays unused, so that late packets of one call never reach another."""


class PortPool:
    """Even ports of a range, each with the odd one above it for RTCP (RFC 3550 11).

    Pairs are handed out in random order first, then those that rested longest.
    """

    def __init__(self, low: int, high: int, random: Random, rest: float = REST) -> None:
        """Raises :class:`ValueError` when no pair fits between ``low`` and ``high`` (both included)."""
        ports = list(range(low + low % 2, high, 2))
        if not 0 < low <= high <= 65535 or not ports:
            raise ValueError(f"no RTP port pair in {low}-{high}")
        random.shuffle(ports)
        self._free: deque[tuple[float, int]] = deque((float("-inf"), port) for port in ports)
        self._rest = rest
        self.size = len(ports)

    def candidates(self, now: float) -> Iterator[int]:
        """Ports that have rested, best first; each is taken when it is yielded."""
        for _ in range(len(self._free)):
            ready, port = self._free[0]
            if ready > now:
                return
            self._free.popleft()
            yield port

    def release(self, port: int, now: float) -> None:
        """Give a port back; it rests before it is used again."""
        self._free.append((now + self._rest, port))


def parse_range(text: str) -> tuple[int, int]:
    """``"16384-32767"`` as two numbers. Raises :class:`ValueError`."""
    low, dash, high = text.partition("-")
    if not dash or not low.strip().isdigit() or not high.strip().isdigit():
        raise ValueError(f"not a port range: {text!r}")
    return int(low), int(high)

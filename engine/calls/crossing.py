"""Keys that a telephone sends by INFO cross to whoever it is connected with, as those in its sound do by themselves.

The media worker passes RFC 4733 events and tones on without asking. A telephone may send the same press by INFO as
well, before or behind it: it crosses only if nothing of the stream is the same press.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.calls.keys import PAIRING
from media.reports import KeyMethod

PATIENCE = 0.25
"""Seconds that a key by INFO waits for the same press in the stream."""

MOST = 32
"""Keys of each kind that are remembered."""


@dataclass(slots=True)
class CrossingKeys:
    """Which keys by INFO are to be pressed at the other end. Times in seconds, any monotonic clock."""

    _passed: dict[KeyMethod, list[tuple[str, float]]] = field(default_factory=dict)
    """Keys that crossed by themselves, and did not come by INFO yet."""
    _waiting: dict[int, str] = field(default_factory=dict)
    """Keys by INFO, by ticket."""
    _tickets: int = 0

    def passed(self, method: KeyMethod, digit: str, at: float) -> None:
        """A key crosses by itself."""
        for ticket, waiting in self._waiting.items():
            if waiting == digit:
                del self._waiting[ticket]
                return
        self._passed[method] = [*self._passed.get(method, ()), (digit, at)][-MOST:]

    def told(self, digit: str, at: float) -> int:
        """A key by INFO: a ticket for :meth:`due`, :data:`PATIENCE` seconds later; 0 if it has crossed already."""
        seen = False
        for method, passed in self._passed.items():
            left = [each for each in passed if at - each[1] <= PAIRING]
            digits = [each[0] for each in left]
            if digit in digits:
                seen = True
                left = left[digits.index(digit) + 1 :]
            self._passed[method] = left
        if seen or len(self._waiting) >= MOST:
            return 0
        self._tickets += 1
        self._waiting[self._tickets] = digit
        return self._tickets

    def due(self, ticket: int) -> str:
        """The key that is to be pressed now; empty if it has crossed, or is nobody's any more."""
        return self._waiting.pop(ticket, "")

    def disconnected(self) -> None:
        """Whoever was connected is not any more: what waits was for them."""
        self._waiting.clear()

"""One press is one digit, whichever methods deliver it (docs/flows.md, "Matching").

A phone may send a press as an RFC 4733 event, as tones and as INFO, all three at once.
The first method that delivers a digit on a leg owns the leg and the others are ignored,
until the owner has missed two digits of another method or the leg is negotiated anew.

Missed is counted by pairing: a digit of another method is paired with the same digit of the
owner, whichever came first, so neither a long press (INFO comes when the key is let go) nor a
slow detector counts as a miss.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from media.reports import KeyMethod

PAIRING = 8.0
"""Seconds within which two methods' reports of one press arrive: INFO comes after the release."""

MISSES = 2
"""Digits of another method that the owner may miss before it loses the leg."""


@dataclass(slots=True)
class _Other:
    """One method that does not own the leg, held against the owner."""

    owed: deque[tuple[str, float]] = field(default_factory=deque)
    """Digits of the owner that this method has not reported yet."""
    ahead: deque[tuple[str, float]] = field(default_factory=deque)
    """Digits of this method that the owner has not reported yet."""


class KeyArbiter:
    """Chooses which reports of key presses count. Times in seconds, any monotonic clock."""

    def __init__(self) -> None:
        self.owner: KeyMethod | None = None
        self.ignored = 0
        self._others: dict[KeyMethod, _Other] = {}

    def press(self, method: KeyMethod, digit: str, at: float) -> str:
        """A report of ``digit`` by ``method``. Returns the digits to deliver now, mostly one or none."""
        if self.owner is None:
            self.owner = method
        if method == self.owner:
            self._owner_pressed(digit, at)
            return digit
        self.ignored += 1
        return self._other_pressed(method, digit, at)

    def release_owner(self) -> None:
        """The leg was negotiated anew without the owner's method: the next to deliver owns it."""
        self.owner = None
        self._others.clear()

    def _owner_pressed(self, digit: str, at: float) -> None:
        for method in ("rfc4733", "inband", "info"):
            if method == self.owner:
                continue
            other = self._others.setdefault(method, _Other())
            _forget(other, at)
            if other.ahead and other.ahead[0][0] == digit:
                other.ahead.popleft()
            else:
                other.owed.append((digit, at))

    def _other_pressed(self, method: KeyMethod, digit: str, at: float) -> str:
        other = self._others.setdefault(method, _Other())
        _forget(other, at)
        if any(owed == digit for owed, _ in other.owed):
            while other.owed.popleft()[0] != digit:
                pass  # digits that this method missed itself
            return ""
        other.ahead.append((digit, at))
        if len(other.ahead) < MISSES:
            return ""
        missed = "".join(missed for missed, _ in other.ahead)
        self.owner = method
        self._others.clear()
        return missed


def _forget(other: _Other, at: float) -> None:
    for digits in (other.owed, other.ahead):
        while digits and at - digits[0][1] > PAIRING:
            digits.popleft()


def read_info_digit(content_type: str, body: bytes) -> str:
    """The key in the body of an INFO, "" when there is none that we know."""
    text = body[:256].decode("utf-8", "replace")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/dtmf-relay":
        fields = dict(line.partition("=")[::2] for line in text.replace(" ", "").splitlines())
        text = next((value for name, value in fields.items() if name.lower() == "signal"), "")
    elif kind != "application/dtmf":
        return ""
    digit = {"10": "*", "11": "#"}.get(text.strip(), text.strip().upper())
    return digit if len(digit) == 1 and digit in "0123456789*#ABCD" else ""

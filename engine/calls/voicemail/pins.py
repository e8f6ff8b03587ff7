"""PINs of mailboxes: hashed so that guessing is slow, and refused after too many wrong ones whoever calls."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Hashable
from dataclasses import dataclass, field

_COST, _BLOCK, _LANES = 1 << 14, 8, 1
"""scrypt (RFC 7914): 16 MiB and some 50 ms for each guess."""

SHORTEST, LONGEST = 4, 12

MOST_WRONG = 10
"""Wrong PINs for one box within :data:`WINDOW` seconds, over all calls, after which none is looked at."""
WINDOW = 900.0

_PIN = re.compile(rf"[0-9]{{{SHORTEST},{LONGEST}}}\Z")


def is_pin(text: str) -> bool:
    """Whether ``text`` can be a PIN: 4 to 12 digits."""
    return _PIN.match(text) is not None


def hashed(pin: str) -> str:
    """A PIN as it is kept: ``scrypt$SALT$HASH``, in hex. Takes its time: not on the event loop."""
    salt = os.urandom(16)
    return f"scrypt${salt.hex()}${_digest(pin, salt).hex()}"


def matches(pin: str, kept: str) -> bool:
    """Whether ``pin`` is the one that is ``kept``; of an empty one there is none. As slow as :func:`hashed`, always."""
    kind, _, rest = kept.partition("$")
    salt, _, digest = rest.partition("$")
    try:
        there = kind == "scrypt" and bool(digest)
        found = _digest(pin, bytes.fromhex(salt) if there else b"\0" * 16)
        return there and hmac.compare_digest(found, bytes.fromhex(digest))
    except ValueError:
        return False


def _digest(pin: str, salt: bytes) -> bytes:
    return hashlib.scrypt(pin.encode(), salt=salt, n=_COST, r=_BLOCK, p=_LANES, maxmem=64 << 20, dklen=32)


@dataclass(slots=True)
class Guesses:
    """Wrong PINs of late, by box. Times in seconds on any monotonic clock."""

    _wrong: dict[Hashable, list[float]] = field(default_factory=dict)

    def may_try(self, box: Hashable, now: float) -> bool:
        """Whether another PIN for ``box`` is looked at."""
        self._forget(now)
        return len(self._wrong.get(box, ())) < MOST_WRONG

    def wrong(self, box: Hashable, now: float) -> None:
        """A PIN for ``box`` was wrong."""
        self._wrong.setdefault(box, []).append(now)

    def right(self, box: Hashable) -> None:
        """Its owner has called."""
        self._wrong.pop(box, None)

    def _forget(self, now: float) -> None:
        for box, times in list(self._wrong.items()):
            times[:] = [at for at in times if now - at < WINDOW]
            if not times:
                del self._wrong[box]

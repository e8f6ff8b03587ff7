"""Secrets that people choose or carry: kept hashed, so that guessing is slow; refused after too many wrong ones.

A password or PIN is kept as ``scrypt$SALT$HASH`` (RFC 7914), in hex. What is random from the start (tokens, the secrets
of clients) needs no stretching: see :mod:`engine.accounts.tokens`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

_COST, _BLOCK, _LANES = 1 << 14, 8, 1
"""16 MiB and some 50 ms for each guess."""

LONGEST_SECRET = 1024
"""Octets that are hashed of what somebody says is a secret; longer ones are wrong."""

MOST_WRONG = 10
"""Wrong ones for one name within :data:`WINDOW` seconds, from wherever, after which none is looked at."""
WINDOW = 900.0

MOST_NAMES = 10_000
REMEMBERED, REMEMBER_SECONDS = 1024, 300.0


def hashed(secret: str) -> str:
    """A secret as it is kept. Takes its time: not on the event loop."""
    salt = os.urandom(16)
    return f"scrypt${salt.hex()}${_digest(secret, salt).hex()}"


def matches(secret: str, kept: str) -> bool:
    """Whether ``secret`` is what is ``kept``; of an empty one there is none. As slow as :func:`hashed`, always."""
    kind, _, rest = kept.partition("$")
    salt, _, digest = rest.partition("$")
    try:
        there = kind == "scrypt" and bool(digest)
        found = _digest(secret, bytes.fromhex(salt) if there else b"\0" * 16)
        return there and hmac.compare_digest(found, bytes.fromhex(digest))
    except ValueError:
        return False


def _digest(secret: str, salt: bytes) -> bytes:
    told = secret.encode("utf-8", "surrogatepass")
    if len(told) > LONGEST_SECRET:
        raise ValueError(f"a secret has at most {LONGEST_SECRET} octets")
    return hashlib.scrypt(told, salt=salt, n=_COST, r=_BLOCK, p=_LANES, maxmem=64 << 20, dklen=32)


@dataclass(slots=True)
class Guesses:
    """Wrong secrets of late, by name. Times in seconds on any monotonic clock.

    Of more than :data:`MOST_NAMES` names, the one that was tried longest ago is forgotten.
    """

    _wrong: OrderedDict[Hashable, list[float]] = field(default_factory=OrderedDict)

    def may_try(self, name: Hashable, now: float) -> bool:
        """Whether another secret for ``name`` is looked at."""
        return len(self._of_late(name, now)) < MOST_WRONG

    def wrong(self, name: Hashable, now: float) -> None:
        """A secret for ``name`` was wrong."""
        self._wrong[name] = [*self._of_late(name, now), now]
        self._wrong.move_to_end(name)
        while len(self._wrong) > MOST_NAMES:
            self._wrong.popitem(last=False)

    def right(self, name: Hashable) -> None:
        """Its owner was here."""
        self._wrong.pop(name, None)

    def _of_late(self, name: Hashable, now: float) -> list[float]:
        times = [at for at in self._wrong.get(name, ()) if now - at < WINDOW]
        if not times:
            self._wrong.pop(name, None)
        return times


class PasswordDesk:
    """Checks passwords that come with every request: slow the first time, remembered for a while by a keyed hash.

    At most two are stretched at a time, so that a flood of guesses takes no more than that of the machine.
    """

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._room = asyncio.Semaphore(2)
        self._guesses = Guesses()

    async def check(self, name: str, password: str, kept: str) -> bool | None:
        """Whether ``password`` is the one that is ``kept`` for ``name``; ``None``: too many were wrong, come later.

        An empty ``kept`` (there is nobody of that name) takes as long as a wrong password.
        """
        loop = asyncio.get_running_loop()
        mark = hmac.digest(self._key, f"{kept}\0{password}".encode("utf-8", "surrogatepass"), "sha256")
        if self._right.get(mark, 0.0) > loop.time():
            return True
        if not self._guesses.may_try(name, loop.time()):
            return None
        async with self._room:
            right = await asyncio.to_thread(matches, password, kept)
        now = loop.time()
        if not right:
            self._guesses.wrong(name, now)
            return False
        self._guesses.right(name)
        self._right[mark] = now + REMEMBER_SECONDS
        while len(self._right) > REMEMBERED:
            self._right.popitem(last=False)
        return True

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
from typing import TypeVar
from weakref import WeakValueDictionary

_Key = TypeVar("_Key", bound=Hashable)

_COST, _BLOCK, _LANES = 1 << 14, 8, 1
"""16 MiB and some 50 ms for each guess."""

LONGEST_SECRET = 1024
"""Octets that are hashed of what somebody says is a secret; longer ones are wrong."""

MOST_WRONG = 10
"""Wrong ones for one name within :data:`WINDOW` seconds after which none is looked at."""
MOST_WRONG_OF_ADDRESS = 100
"""The same for an address, of whatever names."""
WINDOW = 900.0

MOST_NAMES = 10_000
MOST_KEPT = 100
"""Wrong ones that are kept of a name: more make no difference."""
REMEMBERED, REMEMBER_SECONDS = 1024, 300.0
KNOWN_SECONDS = 30 * 86400.0
"""How long an address is known as somebody's after the right password came from there."""
FIRST_DELAY, LONGEST_DELAY = 0.25, 4.0
"""Seconds that a guess from an unknown address waits when there were many for its name."""


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
        self._wrong[name] = [*self._of_late(name, now), now][-MOST_KEPT:]
        self._wrong.move_to_end(name)
        while len(self._wrong) > MOST_NAMES:
            self._wrong.popitem(last=False)

    def number(self, name: Hashable, now: float) -> int:
        """How many there were, up to :data:`MOST_KEPT`."""
        return len(self._of_late(name, now))

    def right(self, name: Hashable) -> None:
        """Its owner was here."""
        self._wrong.pop(name, None)

    def _of_late(self, name: Hashable, now: float) -> list[float]:
        times = [at for at in self._wrong.get(name, ()) if now - at < WINDOW]
        if not times:
            self._wrong.pop(name, None)
        return times


def delay_of(wrong: int) -> float:
    """Seconds that a guess from an unknown address waits after so many wrong ones for its name, from wherever."""
    if wrong < MOST_WRONG:
        return 0.0
    return min(FIRST_DELAY * 2.0 ** ((wrong - MOST_WRONG) // MOST_WRONG), LONGEST_DELAY)


class PasswordDesk:
    """Checks passwords that come with every request: slow the first time, remembered for a while by a keyed hash.

    Wrong ones are counted by address and name together, and refused after :data:`MOST_WRONG`: whoever guesses locks out
    nobody but who sits at the same address. An address that guesses for many names is refused after
    :data:`MOST_WRONG_OF_ADDRESS`. Guesses for one name from many addresses only slow down those from addresses from
    which its owner has never logged in, by :func:`delay_of`; the right password is taken from there too (NIST SP
    800-63B section 5.2.2: growing delays, addresses that are known; OWASP, Slow Down Online Guessing Attacks).

    At most two are stretched at a time, and one of an address, so that a flood of guesses takes no more than that of
    the machine, and its addresses take turns with all others. Those of known addresses have room of their own.
    """

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._room, self._room_of_known = asyncio.Semaphore(2), asyncio.Semaphore(1)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._of_pair, self._of_address, self._of_name = Guesses(), Guesses(), Guesses()

    async def check(self, name: str, password: str, kept: str, address: str = "") -> bool | None:
        """Whether ``password`` is the one that is ``kept`` for ``name``; ``None``: too many were wrong, come later.

        ``address``: where it comes from. An empty ``kept`` (there is nobody of that name) takes as long as a wrong
        password.
        """
        loop = asyncio.get_running_loop()
        mark = hmac.digest(self._key, f"{kept}\0{password}".encode("utf-8", "surrogatepass"), "sha256")
        if self._right.get(mark, 0.0) > loop.time():
            return True
        pair, now = (address, name), loop.time()
        too_many = self._of_address.number(address, now) >= MOST_WRONG_OF_ADDRESS
        if too_many or not self._of_pair.may_try(pair, now):
            return None
        self._of_pair.wrong(pair, now)  # before it is looked at: those that come at once count too
        known = self._known.get(pair, 0.0) > now
        if not known and (delay := delay_of(self._of_name.number(name, now))):
            await asyncio.sleep(delay)
        turn = self._turns.setdefault(address, asyncio.Lock())
        async with turn, self._room_of_known if known else self._room:
            right = await asyncio.to_thread(matches, password, kept)
        now = loop.time()
        if not right:
            self._of_address.wrong(address, now)
            self._of_name.wrong(name, now)
            return False
        self._of_pair.right(pair)
        _put(self._known, pair, now + KNOWN_SECONDS, MOST_NAMES)
        _put(self._right, mark, now + REMEMBER_SECONDS, REMEMBERED)
        return True


def _put(kept: OrderedDict[_Key, float], key: _Key, until: float, most: int) -> None:
    """Remember ``key``; of too many the one that was put longest ago is forgotten."""
    kept[key] = until
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)

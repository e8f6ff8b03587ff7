"""Channels of trunks: how many calls each has now, whichever side made them, and how many more it may have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class Channel:
    """One call on a trunk, until it is given back."""

    __slots__ = ("_book", "_trunk")

    def __init__(self, book: Counter[str], trunk: str) -> None:
        self._book: Counter[str] | None = book
        self._trunk = trunk
        book[trunk] += 1

    def release(self) -> None:
        """Give it back; the second time nothing happens."""
        if self._book is not None:
            self._book[self._trunk] -= 1
            self._book = None


class Channels:
    """Those of all trunks, by the label of each."""

    def __init__(self) -> None:
        self._used: Counter[str] = Counter()

    def take(self, trunk: str, most: int) -> Channel | None:
        """A channel of ``trunk``, ``None`` when ``most`` are in use. 0: no limit."""
        return None if most and self._used[trunk] >= most else Channel(self._used, trunk)

    @property
    def used(self) -> Mapping[str, int]:
        """Calls now, by trunk."""
        return self._used

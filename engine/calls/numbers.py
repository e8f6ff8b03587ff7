"""Which flow a dialled number gets (see docs/configuration.md).

Exact first, then ``+391*`` by longest prefix, then ``*``. Separators that people write
into numbers are taken out on both sides before they are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from engine.addresses import plain_number

Entry = TypeVar("Entry")


class NumberPlan(Generic[Entry]):
    """Patterns of numbers, and what each leads to. Raises ValueError on a pattern given twice."""

    def __init__(self, entries: Iterable[tuple[str, Entry]] = ()) -> None:
        exact: dict[str, Entry] = {}
        prefixes: dict[str, Entry] = {}
        for pattern, entry in entries:
            number = plain_number(pattern)
            table, key = (prefixes, number[:-1]) if number.endswith("*") else (exact, number)
            if key in table:
                raise ValueError(f"number {pattern!r} is configured twice")
            table[key] = entry
        self.exact: Mapping[str, Entry] = exact
        self.prefixes: Mapping[str, Entry] = dict(sorted(prefixes.items(), key=lambda item: -len(item[0])))

    def find(self, number: str) -> Entry | None:
        """What ``number`` (the user part of a Request-URI or of To) leads to."""
        number = plain_number(number)
        if number in self.exact:
            return self.exact[number]
        return next((entry for prefix, entry in self.prefixes.items() if number.startswith(prefix)), None)

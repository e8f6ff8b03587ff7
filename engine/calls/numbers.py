"""Which flow a dialled number gets (see docs/configuration.md), for whom.

Exact first, then ``+391*`` by longest prefix, then ``*``. Separators that people write
into numbers are taken out on both sides before they are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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


class Dialplan(Generic[Entry]):
    """Numbers of all accounts for those who call from outside, and of one account for those who belong to it."""

    def __init__(self, public: NumberPlan[Entry], inside: Mapping[str, NumberPlan[Entry]] | None = None) -> None:
        """``inside``: by account, what it has itself: its extensions and its numbers."""
        self.public = public
        self.inside: Mapping[str, NumberPlan[Entry]] = inside or {}

    def every(self) -> Iterator[Entry]:
        """All that numbers lead to; some more than once."""
        for plan in (self.public, *self.inside.values()):
            yield from plan.exact.values()
            yield from plan.prefixes.values()

    def own(self, number: str, account: str) -> Entry | None:
        """What ``number`` leads to if it is one of the account's own: a catch-all does not make it one."""
        plan = self.inside.get(account)
        found = plan.find(number) if plan is not None else None
        return None if plan is None or found is plan.prefixes.get("") else found

    def held(self, number: str) -> Entry | None:
        """What ``number`` leads to for anyone, but for what catches all: who has it."""
        found = self.public.find(number)
        return None if found is self.public.prefixes.get("") else found

    def find(self, number: str, account: str = "") -> Entry | None:
        """What ``number`` leads to for a caller of ``account``, who reaches nobody else's; empty: for anyone."""
        plan = self.inside.get(account) if account else self.public
        return plan.find(number) if plan is not None else None

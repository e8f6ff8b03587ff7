"""What is expected against what came: single values, entries of lists, and the two lists side by side.

A text is expected as it is (white space aside), with ``contains`` or with ``like``, in which each ``*`` stands for
anything. An entry that is an object asks for the fields that it names. ``...`` in a list stands for any entries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

GAP = "..."


def tidy(text: str) -> str:
    """``text`` with every run of white space as one space: how it is broken into lines does not count."""
    return " ".join(text.split())


class Matcher(Protocol):
    """Something that a value is held against; ``str()`` shows it."""

    def matches(self, value: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Exactly:
    text: str

    def matches(self, value: str) -> bool:
        return tidy(value) == tidy(self.text)

    def __str__(self) -> str:
        return tidy(self.text)


@dataclass(frozen=True, slots=True)
class Contains:
    text: str

    def matches(self, value: str) -> bool:
        return tidy(self.text) in tidy(value)

    def __str__(self) -> str:
        return f"… {tidy(self.text)} …"


@dataclass(frozen=True, slots=True)
class Like:
    """``*`` is anything, also nothing."""

    pattern: str

    def matches(self, value: str) -> bool:
        first, *rest = tidy(self.pattern).split("*")
        value = tidy(value)
        if not rest:
            return value == first
        *middle, last = rest
        if not value.startswith(first) or len(value) < len(first) + len(last) or not value.endswith(last):
            return False
        at, end = len(first), len(value) - len(last)
        for part in middle:
            at = value.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True

    def __str__(self) -> str:
        return tidy(self.pattern)


@dataclass(frozen=True, slots=True)
class Between:
    """A number from ``least`` to ``most``."""

    least: float
    most: float

    def matches(self, value: str) -> bool:
        return self.least <= float(value or "nan") <= self.most

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.least:g}"
        if self.most == float("inf"):
            return f"at least {self.least:g}"
        return f"from {self.least:g} to {self.most:g}" if self.least > 0 else f"at most {self.most:g}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: as a text, in fields, and when."""

    text: str
    fields: Mapping[str, str] = field(default_factory=dict)
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Item:
    """An expected entry of a list: every one of ``asked`` must match. A ``gap`` is any number of entries."""

    line: int
    asked: tuple[tuple[str, Matcher], ...] = ()
    """Names of fields, the empty one for the whole text, and what they are held against."""
    gap: bool = False

    def matches(self, entry: Entry) -> bool:
        return all(matcher.matches(entry.fields.get(name, "") if name else entry.text) for name, matcher in self.asked)

    def __str__(self) -> str:
        if self.gap:
            return GAP
        shown = (f"{name}: {matcher}" if name else str(matcher) for name, matcher in self.asked)
        return ", ".join(shown) or "(anything)"


Step = tuple[Literal["same", "missing", "extra", "other", "gap"], Item | None, Entry | None]
"""One line of two lists side by side. ``other``: an entry stands where another was expected."""


def align(expected: Sequence[Item], got: Sequence[Entry]) -> list[Step]:
    """The two lists side by side with as few differences as there can be."""
    matches = [[not item.gap and item.matches(entry) for entry in got] for item in expected]
    # costs[i][j]: differences between what is left of both from i and j on
    costs = [[0] * (len(got) + 1) for _ in range(len(expected) + 1)]
    for j in range(len(got) - 1, -1, -1):
        costs[-1][j] = costs[-1][j + 1] + 1
    for i in range(len(expected) - 1, -1, -1):
        row, below, gap = costs[i], costs[i + 1], expected[i].gap
        row[-1] = below[-1] + (not gap)
        for j in range(len(got) - 1, -1, -1):
            if gap:
                row[j] = min(below[j], row[j + 1])
            elif matches[i][j]:
                row[j] = below[j + 1]
            else:
                row[j] = 1 + min(below[j + 1], below[j], row[j + 1])
    return _steps(expected, got, matches, costs)


def _steps(
    expected: Sequence[Item], got: Sequence[Entry], matches: list[list[bool]], costs: list[list[int]]
) -> list[Step]:
    steps: list[Step] = []
    i = j = 0
    while i < len(expected) or j < len(got):
        item = expected[i] if i < len(expected) else None
        entry = got[j] if j < len(got) else None
        if item is not None and item.gap:
            if costs[i][j] == costs[i + 1][j]:
                steps.append(("gap", item, None))
                i += 1
            else:
                steps.append(("gap", None, entry))
                j += 1
        elif item is not None and entry is not None and matches[i][j]:
            steps.append(("same", item, entry))
            i, j = i + 1, j + 1
        elif item is not None and entry is not None and costs[i][j] == 1 + costs[i + 1][j + 1]:
            steps.append(("other", item, entry))
            i, j = i + 1, j + 1
        elif item is not None and (entry is None or costs[i][j] == 1 + costs[i + 1][j]):
            steps.append(("missing", item, None))
            i += 1
        else:
            steps.append(("extra", None, entry))
            j += 1
    return steps


def differs(steps: Sequence[Step]) -> bool:
    return any(kind not in ("same", "gap") for kind, _, _ in steps)

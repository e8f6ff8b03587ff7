"""Two calls compared step by step: where they went the same way, and what is different."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .calllog import CallLog, Visit, place_in_words, visits

MAX_ALIGNED = 400
"""Steps, between what both calls have in common at their ends, that are aligned; of more, each stands alone."""

Mark = Literal["same", "changed", "gone", "new"]


@dataclass(frozen=True, slots=True)
class Row:
    """A step of either call or of both. ``changes`` says in words what is different."""

    mark: Mark
    old: Visit | None
    new: Visit | None
    changes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "is": self.mark,
            "old": visit_json(self.old),
            "new": visit_json(self.new),
            "changes": list(self.changes),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two calls compare. ``ends``: by whom and why each ended."""

    rows: tuple[Row, ...]
    ends: tuple[tuple[str, str], tuple[str, str]]

    @property
    def same_way(self) -> bool:
        """Whether both went the same steps by the same exits to the same end; what was said does not matter."""
        return self.ends[0][0] == self.ends[1][0] and all(
            row.old is not None and row.new is not None and row.old.way == row.new.way for row in self.rows
        )

    @property
    def same(self) -> bool:
        """Whether there is no difference at all."""
        return self.ends[0] == self.ends[1] and all(row.mark == "same" for row in self.rows)

    @property
    def parted(self) -> str:
        """Where the two ways part, in words; empty if they do not."""
        last: Visit | None = None
        for row in self.rows:
            if row.old is None or row.new is None:
                where = "at the first step" if last is None else f"after {_place(last)}"
                return f"the ways part {where}"
            if row.old.way != row.new.way:
                return f"the ways part at {_place(row.new)}: {_way(row.old)} before, {_way(row.new)} now"
            last = row.new
        return ""

    def to_json(self) -> dict[str, Any]:
        """The form of ``ivrea replay --json``."""
        return {
            "same_way": self.same_way,
            "same": self.same,
            "parted": self.parted,
            "steps": [row.to_json() for row in self.rows],
            "end": [{"by": by, "reason": reason} for by, reason in self.ends],
        }

    def render(self) -> str:
        """A line for each step: ``=`` as it was, ``~`` changed, ``-`` the call only, ``+`` the replay only."""
        lines: list[str] = []
        for row in self.rows:
            visit = row.new or row.old
            assert visit is not None
            lines.append(f"{_MARKS[row.mark]} {visit.began:7.1f} s  {_line(visit)}")
            lines += [f"              {change}" for change in row.changes]
        before, now = (f"by {by}: {reason}" for by, reason in self.ends)
        if before == now:
            lines.append(f"ended {now}")
        else:
            lines += [f"- ended {before}", f"+ ended {now}"]
        if self.same:
            lines.append("no difference")
        elif self.same_way:
            lines.append("the same way; what differs is marked with ~")
        else:
            lines.append(self.parted or "the same steps, but another end")
        return "\n".join(lines)


_MARKS: dict[Mark, str] = {"same": "=", "changed": "~", "gone": "-", "new": "+"}


def compare(old: CallLog, new: CallLog) -> Comparison:
    """Compare two calls."""
    rows = tuple(_rows(visits(old), visits(new)))
    return Comparison(rows, ((old.by, old.reason), (new.by, new.reason)))


def _rows(old: Sequence[Visit], new: Sequence[Visit]) -> Iterator[Row]:
    start = 0
    while start < min(len(old), len(new)) and _likeness(old[start], new[start]) == 3:
        yield _pair(old[start], new[start])
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and _likeness(old[-1 - end], new[-1 - end]) == 3:
        end += 1
    yield from _align(old[start : len(old) - end], new[start : len(new) - end])
    for number in range(end, 0, -1):
        yield _pair(old[-number], new[-number])


def _align(old: Sequence[Visit], new: Sequence[Visit]) -> Iterator[Row]:
    """The pairing with the most likeness (a dynamic programme over both)."""
    if len(old) > MAX_ALIGNED or len(new) > MAX_ALIGNED:
        yield from (Row("gone", visit, None) for visit in old)
        yield from (Row("new", None, visit) for visit in new)
        return
    best = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i in range(len(old) - 1, -1, -1):
        for j in range(len(new) - 1, -1, -1):
            like = _likeness(old[i], new[j])
            best[i][j] = max(best[i + 1][j], best[i][j + 1], like + best[i + 1][j + 1] if like else 0)
    i = j = 0
    while i < len(old) or j < len(new):
        like = _likeness(old[i], new[j]) if i < len(old) and j < len(new) else 0
        if like and best[i][j] == like + best[i + 1][j + 1]:
            yield _pair(old[i], new[j])
            i, j = i + 1, j + 1
        elif j == len(new) or (i < len(old) and best[i][j] == best[i + 1][j]):
            yield Row("gone", old[i], None)
            i += 1
        else:
            yield Row("new", None, new[j])
            j += 1


def _likeness(old: Visit, new: Visit) -> int:
    """0: two different steps; 3: the same in place and words."""
    if old.verb != new.verb or (old.flow > 0) != (new.flow > 0):
        return 0
    place = old.origin == new.origin and old.path == new.path
    words = old.said == new.said
    return 3 if place and words else 2 if place else 1 if words and old.said else 0


def _pair(old: Visit, new: Visit) -> Row:
    changes: list[str] = []
    if old.said != new.said:
        changes.append(f"said: {_quoted(old.said)} before, {_quoted(new.said)} now")
    before, now = ([value for value, _ in visit.heard] for visit in (old, new))
    if before != now:
        changes.append(f"heard: {_quoted(before)} before, {_quoted(now)} now")
    if old.events != new.events:
        changes.append(f"what happened: {_listed(old.events)} before, {_listed(new.events)} now")
    if old.way != new.way:
        changes.append(f"went on by {_way(old)} before, by {_way(new)} now")
    return Row("changed" if changes else "same", old, new, tuple(changes))


def visit_json(visit: Visit | None) -> dict[str, Any] | None:
    """A step of a call, for programs."""
    if visit is None:
        return None
    return {
        "verb": visit.verb,
        "where": visit.origin,
        "path": visit.path,
        "flow": visit.flow,
        "at": round(visit.began, 3),
        "seconds": round(visit.seconds, 3),
        "said": visit.said,
        "heard": [{"value": value, "at": round(at, 3)} for value, at in visit.heard],
        "events": visit.events,
        "way": visit.way,
    }


def _line(visit: Visit) -> str:
    parts = [f"{visit.verb} at {place_in_words(visit.path)}"]
    if visit.said:
        parts.append(_quoted(visit.said))
    parts += [f"heard {value!r}" for value, _ in visit.heard]
    parts += visit.events
    return "  ".join(parts)


def _place(visit: Visit) -> str:
    return f"{visit.verb} at {place_in_words(visit.path)}"


def _way(visit: Visit) -> str:
    return repr(visit.way) if visit.way else "the end of the call"


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join(f"“{text}”" for text in texts) or "nothing"


def _listed(texts: Sequence[str]) -> str:
    return "; ".join(texts) or "nothing"

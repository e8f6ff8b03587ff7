"""What came of a flow test, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from flows.findings import printable
from flows.simulate import Simulation

from .matching import Step

SHOWN_AROUND = 2
"""Entries that are as expected, shown before and after a difference."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a difference: ``-`` was expected, ``+`` came in its place, a space is as expected, ``?`` points."""

    mark: Literal[" ", "-", "+", "?"]
    text: str
    line: int = 0
    """Of the test document; 0: none."""
    at: float | None = None
    """Seconds of the call."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not as expected: ``what`` is a name of the format, ``line`` where it is asked for."""

    what: str
    line: int
    rows: tuple[Row, ...]

    def render(self) -> str:
        width = max([len(str(row.line)) for row in self.rows if row.line], default=0)
        lines = [f"{self.what}, line {self.line}:  (- expected, + came)"]
        for row in self.rows:
            number = str(row.line) if row.line else ""
            when = f"   [at {row.at:.1f} s]" if row.at is not None else ""
            lines.append(f"  {row.mark} {number:>{width}}  {printable(row.text)}{when}".rstrip())
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Result:
    """A test that was run; without ``differences`` it has passed."""

    name: str
    line: int
    differences: tuple[Difference, ...]
    simulation: Simulation

    @property
    def passed(self) -> bool:
        return not self.differences

    def render(self) -> str:
        """Every difference, and then what happened on the call."""
        parts = [difference.render() for difference in self.differences]
        if parts:
            parts.append("what happened:\n" + self.simulation.render())
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "line": self.line,
            "passed": self.passed,
            "differences": [
                {
                    "what": each.what,
                    "line": each.line,
                    "rows": [
                        {"mark": row.mark, "text": row.text, "line": row.line or None, "at": row.at}
                        for row in each.rows
                        if row.mark != "?"
                    ],
                }
                for each in self.differences
            ],
            "simulation": self.simulation.to_json(),
        }


def rows(steps: list[Step]) -> tuple[Row, ...]:
    """Two lists side by side as rows; far from a difference what is the same is left out."""
    off = [number for number, (kind, _, _) in enumerate(steps) if kind not in ("same", "gap")]
    found: list[Row] = []
    left_out = False
    for number, step in enumerate(steps):
        if any(abs(number - place) <= SHOWN_AROUND for place in off):
            found += _rows(step)
            left_out = False
        elif not left_out:
            found.append(Row(" ", "(…)"))
            left_out = True
    return tuple(found)


def _rows(step: Step) -> list[Row]:
    kind, item, entry = step
    found = []
    if kind in ("missing", "other") and item is not None:
        found.append(Row("-", str(item), item.line))
    if kind in ("extra", "other") and entry is not None:
        found.append(Row("+", entry.text, 0, entry.at))
    if kind == "other" and item is not None and entry is not None:
        found += pointer_row(str(item), entry.text)
    if kind in ("same", "gap"):
        text = entry.text if entry is not None else str(item)
        found.append(Row(" ", text, item.line if item is not None else 0, None if entry is None else entry.at))
    return found


def pointer_row(expected: str, got: str) -> list[Row]:
    """A row that points at the first character that differs, where the two begin alike."""
    same = 0
    while same < min(len(expected), len(got)) and expected[same] == got[same]:
        same += 1
    return [Row("?", " " * same + "^")] if same >= 3 and expected != got else []

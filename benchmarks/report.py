"""The report: Markdown of what the cases found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.bench import Goal, Section, Table


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case that was run: its section, and how long it took."""

    name: str
    section: Section
    seconds: float


def markdown_table(table: Table) -> list[str]:
    """Lines of a table; cells are made safe for it."""
    width = len(table.head)
    lines = [_row(table.head), "|" + "---|" * width]
    for row in table.rows:
        if len(row) != width:
            raise ValueError(f"a row of {len(row)} cells in a table of {width}")
        lines.append(_row(row))
    return lines


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _goals(goals: Sequence[Goal]) -> Table:
    head = ["work per leg", "a leading C softswitch", "goal", "portable", "io_uring"]
    rows = [
        [goal.work, goal.reference, goal.goal, goal.measured.get("portable", "–"), goal.measured.get("uring", "–")]
        for goal in goals
    ]
    return Table(head, rows)


def write(
    outcomes: Sequence[Outcome], machine: Table, floors: Sequence[float], command: str, *, quick: bool = False
) -> str:
    """The whole report; ``floors`` in ms of CPU per call-second, ``command`` made it."""
    lines = ["# Benchmark report", ""]
    if quick:
        lines += ["A quick run, to see that the suite works: at such sizes and times the figures mean little.", ""]
    goals = [goal for outcome in outcomes for goal in outcome.section.goals]
    if goals:
        lines += [
            (
                "CPU of all processes of the media plane, user and system, per call-second, in multiples of the "
                "**kernel floor** of "
                "the same run: `sendmmsg` and `recvmmsg` of one 172-octet packet each, 50 times a second. Medians, "
                "in brackets "
                "the least and the greatest. The C softswitch was measured earlier, on a machine of the same kind."
            ),
            "",
            *markdown_table(_goals(goals)),
            "",
        ]
    failures = [f"{outcome.name}: {failure}" for outcome in outcomes for failure in outcome.section.failures]
    if failures:
        lines += ["**Failures:**", "", *(f"- {failure}" for failure in failures), ""]
    lines += ["## Machine", "", *markdown_table(machine), "", f"Command: `{command}`"]
    if floors:
        lines += [
            "",
            (
                f"The floor, taken {len(floors)} times between the measurements: {min(floors):.3f} to "
                f"{max(floors):.3f} ms per "
                f"call-second, {sum(floors) / len(floors):.3f} on average."
            ),
        ]
    for outcome in outcomes:
        lines += ["", *_section(outcome)]
    return "\n".join(lines) + "\n"


def _section(outcome: Outcome) -> list[str]:
    section = outcome.section
    lines = [f"## {section.title}", "", f"`python -m benchmarks --only {outcome.name}` ({outcome.seconds:.0f} s)"]
    for text in section.text:
        lines += ["", text]
    for table in section.tables:
        lines += ["", *markdown_table(table)]
    for note in section.notes:
        lines += ["", note]
    for name, what in section.plots:
        lines += ["", f"![{what}](plots/{name})"]
    if section.left_out:
        lines += ["", *(f"- Left out: {reason}." for reason in section.left_out)]
    if section.failures:
        lines += ["", *(f"- **Failed:** {failure}." for failure in section.failures)]
    return lines

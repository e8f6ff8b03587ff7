"""The report is Markdown that has everything in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import machine, plots, report
from benchmarks.__main__ import run_case
from benchmarks.bench import Bench, Goal, LeftOut, Section, Table
from benchmarks.cases import all_cases
from benchmarks.figures import percentiles, spread, verdict
from benchmarks.report import Outcome


def tables_of(text: str) -> list[list[list[str]]]:
    """Tables as rows of cells; raises when a table is not one."""
    found: list[list[list[str]]] = []
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if not line.startswith("|"):
            continue
        cells = [cell.strip().replace("\\|", "|") for cell in line.strip("|").replace("\\|", "\0").split("|")]
        if index == 0 or not lines[index - 1].startswith("|"):
            assert lines[index - 1] == ""  # a table begins after an empty line
            assert set(lines[index + 1]) <= set("|-")
            found.append([])
        found[-1].append(cells)
    for table in found:
        assert len({len(row) for row in table}) == 1
    return found


def section() -> Section:
    return Section(
        "Prompts",
        text=["At 40 calls: fine."],
        notes=["Checked: everything."],
        tables=[Table(["calls", "ms"], [["40", "1.0 | 2.0"], ["80", "a\nb"]])],
        plots=[("a.png", "a picture")],
        goals=[Goal("play", "14–17 ×", "≤ 3 ×", {"portable": "2.9 ×"})],
        failures=["80 calls: a process died"],
        left_out=["io_uring: not allowed"],
    )


def test_a_report_has_goals_first_then_the_machine_then_the_sections() -> None:
    text = report.write([Outcome("play", section(), 12.0)], machine.table(), [0.16, 0.18], "python -m benchmarks")
    goals, on, figures = tables_of(text)
    assert goals[2] == ["play", "14–17 ×", "≤ 3 ×", "2.9 ×", "–"]
    assert {"processor", "kernel", "Python", "Ivrea"} <= {row[0] for row in on}
    assert len(figures) == 4
    assert text.index("≤ 3 ×") < text.index("## Machine") < text.index("## Prompts")
    for wanted in (
        "**Failures:**\n\n- play: 80 calls: a process died",
        "![a picture](plots/a.png)",
        "Left out: io_uring: not allowed",
        "`python -m benchmarks --only play`",
        "0.160 to 0.180 ms",
        "At 40 calls: fine.",
        "Checked: everything.",
    ):
        assert wanted in text


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="3 cells in a table of 2"):
        report.markdown_table(Table(["a", "b"], [["1", "2", "3"]]))


def test_figures_in_words() -> None:
    assert spread([2.0, 1.0, 4.0]) == "2.00 (1.00–4.00)"
    assert spread([1234.5], 1) == "1,234.5"
    assert spread([]) == "–"
    assert verdict(2.7, 3.0) == "met, 10 % below it"
    assert verdict(3.3, 3.0) == "missed by 10 %"
    assert percentiles([3.0, 1.0, 2.0]) == ["2.0", "3.0", "3.0"]


class _Broken:
    name, title = "broken", "Broken"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def steps(self, bench: Bench) -> int:
        return 1

    def run(self, bench: Bench) -> Section:
        raise self._error


def test_a_case_that_breaks_off_is_a_failure_of_its_own(tmp_path: Path) -> None:
    bench = Bench(quick=True, folder=tmp_path, floor=None, advance=print)  # type: ignore[arg-type]
    failed = run_case(_Broken(RuntimeError("the engine died")), bench)
    assert failed.failures == ["RuntimeError: the engine died"]
    left_out = run_case(_Broken(LeftOut("no io_uring here")), bench)
    assert (left_out.failures, left_out.left_out) == ([], ["no io_uring here"])


def test_all_cases_have_names_of_their_own() -> None:
    cases = all_cases()
    assert len({case.name for case in cases}) == len(cases)
    assert {"play", "record", "words", "bridge", "conference", "pacing", "profile", "setup"} <= {c.name for c in cases}


def test_plots_are_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plots.curves(tmp_path / "a.png", "t", "x", "y", {"line": [(100, 3.0), (50, 4.0)]}, {"goal": 3.0})
    plots.histogram(tmp_path / "b.png", "t", "ms", 0.25, {"one": [0, 5, 900, 3], "two": [0, 1, 2, 0]})
    plots.bars(tmp_path / "c.png", "t", "y", {"one": 1.0, "two": 2.0})
    plots.distribution(tmp_path / "d.png", "t", "ms", {"one": [3.0, 1.0]})
    for name in "abcd":
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")

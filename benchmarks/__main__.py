"""Runs the benchmarks and writes the report: ``python -m benchmarks [--quick] [--only NAME] [--output FILE]``.

Exit status 0: everything was measured; 1: something failed, and the report says what.
"""

from __future__ import annotations

import os

from media.ipc import ONE_THREAD

os.environ.update(ONE_THREAD)  # before anything imports numpy

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import machine, report
from benchmarks.bench import Bench, Case, LeftOut, Section
from benchmarks.cases import all_cases
from benchmarks.floor import Floor, per_call_second

REPORT = Path(__file__).with_name("REPORT.md")


class _RecordedFloor(Floor):
    """Remembers what it measured, for the report."""

    def __init__(self) -> None:
        super().__init__()
        self.measured: list[float] = []

    def measure(self, seconds: float = 0.6) -> float:
        found = super().measure(seconds)
        self.measured.append(per_call_second(found))
        return found


def run_case(case: Case, bench: Bench) -> Section:
    """What the case found; what it could not, and why, when it broke off."""
    try:
        return case.run(bench)
    except LeftOut as reason:
        return Section(case.title, left_out=[str(reason)])
    except Exception as error:  # noqa: BLE001 - one case's failure is not that of the others
        return Section(case.title, failures=[f"{type(error).__name__}: {error}"])


def run_all(cases: Sequence[Case], bench: Bench, progress: Progress) -> Iterator[report.Outcome]:
    steps = {case.name: case.steps(bench) for case in cases}
    task = progress.add_task("", total=sum(steps.values()))
    done = 0

    def advance(what: str) -> None:
        progress.update(task, advance=1, description=what)

    bench.advance = advance
    for case in cases:
        begun = time.monotonic()
        section = run_case(case, bench)
        done += steps[case.name]
        progress.update(task, completed=done)
        for failure in section.failures:
            progress.console.print(f"[red]{case.name}: {failure}")
        for reason in section.left_out:
            progress.console.print(f"{case.name}: left out: {reason}")
        yield report.Outcome(case.name, section, time.monotonic() - begun)


def main(arguments: Sequence[str] | None = None) -> int:
    cases = {case.name: case for case in all_cases()}
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, within three minutes: whether the suite works"
    )
    parser.add_argument("--only", action="append", choices=cases, help="this benchmark; may be given several times")
    parser.add_argument(
        "--output", type=Path, help=f"the report (default: {REPORT.name} here; --quick: a temporary folder)"
    )
    given = parser.parse_args(arguments)
    output = given.output or (Path(tempfile.mkdtemp(prefix="ivrea-bench-")) / REPORT.name if given.quick else REPORT)
    output.parent.mkdir(parents=True, exist_ok=True)
    chosen = [case for name, case in cases.items() if not given.only or name in given.only]
    taken_on = machine.table()
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with _RecordedFloor() as floor, Progress(*columns, console=Console()) as progress:
        bench = Bench(quick=given.quick, folder=output.parent, floor=floor, advance=print)
        outcomes = list(run_all(chosen, bench, progress))
    command = shlex.join(["python", "-m", "benchmarks", *(sys.argv[1:] if arguments is None else arguments)])
    output.write_text(report.write(outcomes, taken_on, floor.measured, command, quick=given.quick))
    print(f"report: {output}")
    return 1 if any(outcome.section.failures for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())

"""``ivrea test``: flow tests, found by the names of their files, run and reported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from engine.commands.console import AsJson, fail, out
from flows.findings import Finding, printable
from flows.tools.flowtest import SUFFIXES, Loaded, Result, load, run


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one file."""

    path: Path
    findings: tuple[Finding, ...]
    results: tuple[Result, ...]

    @property
    def failed(self) -> int:
        return sum(not result.passed for result in self.results)

    def to_json(self) -> dict[str, Any]:
        return {
            "file": str(self.path),
            "findings": [asdict(finding) for finding in self.findings],
            "tests": [result.to_json() for result in self.results],
        }


def find(paths: list[Path]) -> Iterator[Path]:
    """The files with flow tests among ``paths``, folders searched; a file that is named is taken as one."""
    for path in paths:
        if path.is_dir():
            yield from sorted(found for suffix in SUFFIXES for found in path.rglob(f"*{suffix}"))
        else:
            yield path


def load_file(path: Path) -> Loaded:
    """The flow tests of a file; what it names is relative to it. ``OSError`` when it cannot be read."""
    return load(path.read_bytes(), lambda name: (path.parent / name).read_bytes())


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("test")(run_tests)


def run_tests(
    paths: Annotated[
        list[Path], typer.Argument(help="Files with flow tests, or folders to look for *.flowtest.yaml in.")
    ],
    name: Annotated[str, typer.Option("--name", "-k", help="Only tests that have this in their name.")] = "",
    as_json: AsJson = False,  # noqa: FBT002 - typer's way to declare a flag
) -> None:
    """Run flow tests, without a phone and without waiting. Exit status 1 if one fails or cannot be read."""
    files = list(dict.fromkeys(find(paths)))
    if not files:
        fail(f"no flow tests in {', '.join(map(str, paths))}: their files end in {SUFFIXES[0]}")
    reports = []
    for path in files:
        try:
            loaded = load_file(path)
        except OSError as error:
            fail(f"{path}: {error.strerror or error}")
        wanted = [each for each in loaded.tests if name.casefold() in each.name.casefold()]
        reports.append(Report(path, loaded.findings, tuple(run(each) for each in wanted)))
        if not as_json:
            _show(reports[-1], out)
    count = sum(len(report.results) for report in reports)
    failed = sum(report.failed for report in reports)
    unread = sum(bool(report.findings) for report in reports)
    if as_json:
        told = {"files": [report.to_json() for report in reports], "passed": count - failed, "failed": failed}
        print(json.dumps(told, ensure_ascii=False))  # noqa: T201
    else:
        out.print(_summary(count, failed, unread))
    if not count and not unread:
        fail(f"no test has {name!r} in its name")
    if failed or unread:
        raise typer.Exit(1)


def _show(report: Report, console: Console) -> None:
    for finding in report.findings:
        where = escape(f"{report.path}, {finding.where}" if finding.where else str(report.path))
        hint = f" [dim]({escape(printable(finding.hint))})[/dim]" if finding.hint else ""
        console.print(f"[red]error[/red]   {where}: {escape(printable(finding.message))}{hint}")
    for result in report.results:
        mark = "[green]passed[/green]" if result.passed else "[red]FAILED[/red]"
        console.print(f"{mark}  {escape(f'{report.path}:{result.line}')}  {escape(printable(result.name))}")
        if not result.passed:
            console.print(escape(_indented(result.render())))


def _indented(text: str) -> str:
    return "\n" + "\n".join(f"    {line}".rstrip() for line in text.splitlines()) + "\n"


def _summary(count: int, failed: int, unread: int) -> str:
    parts = [f"[green]{count - failed} passed[/green]" if count - failed else ""]
    parts += [f"[red]{failed} failed[/red]" if failed else ""]
    parts += [f"[red]{unread} file{'s' * (unread > 1)} could not be read[/red]" if unread else ""]
    return ", ".join(part for part in parts if part) or "no tests"

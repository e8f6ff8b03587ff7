"""``ivrea new``: a flow to begin with, and its tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from engine.commands.console import fail, out
from flows.tools.starter import STARTERS, starter


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("new")(new)


def new(
    file: Annotated[Path | None, typer.Argument(help="The file to write; flow.json or flow.xml without one.")] = None,
    dialect: Annotated[str, typer.Option(help=f"The dialect: {', '.join(STARTERS)}.")] = "brombler",
) -> None:
    """Write a flow to begin with, with its flow tests beside it, and explain it. Nothing is overwritten."""
    dialect = dialect.strip().casefold()
    if dialect not in STARTERS:
        fail(f"there is no starter in {dialect!r}: known are {', '.join(STARTERS)}")
    flow = file or Path(f"flow{STARTERS[dialect]}")
    tests = flow.with_name(f"{flow.stem}.flowtest.yaml")
    begun = starter(dialect, flow.name, str(tests))
    if there := [path for path in (flow, tests) if path.exists()]:
        fail(f"{there[0]} is there already: nothing was written")
    for path, text in ((flow, begun.document), (tests, begun.tests)):
        try:
            with path.open("x", encoding="utf-8") as opened:
                opened.write(text)
        except OSError as error:
            fail(f"{path}: {error.strerror or error}")
    out.print(escape(begun.explanation.rstrip()))
    out.print(f"\nwritten: {escape(str(flow))} and {escape(str(tests))}")
    out.print(f"next:    ivrea check {escape(str(flow))}; ivrea test {escape(str(tests))}")

"""``ivrea draw``: a picture of a flow, and of a call on its way through it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from engine.commands.console import ConfigFile, err, fail, read_config
from engine.commands.reading import compile_or_fail, read_script, show_findings
from engine.commands.replay import find_log
from engine.commands.web import Fetch, Outbound, Replies, answers
from engine.config import CallConfig
from flows.call import Reply, Request
from flows.graph import Graph
from flows.simulate import Scenario, simulate
from flows.tools.calllog import CallLog, log_of
from flows.tools.draw import TooLarge, draw_page, draw_svg

_WAYS = {".svg": draw_svg, ".html": draw_page, ".htm": draw_page}


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("draw")(draw_flow)


def draw_flow(
    flow: Annotated[Path, typer.Argument(help="The flow document. [b]-[/b] reads stdin.")],
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="The file to write, .svg or .html; [b]-[/b] writes SVG to stdout."),
    ] = "flow.svg",
    dialect: Annotated[str, typer.Option(help="Dialect of the document; found out from it when not given.")] = "",
    log: Annotated[
        str, typer.Option("--log", help="A call to draw too: a file with its log (ivrea simulate --json), or its id.")
    ] = "",
    script: Annotated[
        str | None, typer.Option("--simulate", "-s", help="A script (as for ivrea simulate) whose call to draw too.")
    ] = None,
    replies: Replies = None,
    fetch: Fetch = False,  # noqa: FBT002 - typer's way to declare a flag
    outbound: Outbound = False,  # noqa: FBT002 - typer's way to declare a flag
    config: ConfigFile = None,
) -> None:
    """Draw a flow as SVG or as a page, and on it the way that a call went. Exit status 1 if there is no graph."""
    way = draw_svg if output == "-" else _WAYS.get(Path(output).suffix.lower())
    if way is None:
        fail(f"--output {output}: the name of a picture ends in {' or '.join(_WAYS)}")
    if log and script is not None:
        fail("--log and --simulate: a picture has one call")
    compiled, findings = compile_or_fail(flow, dialect)
    if compiled.graph is None:
        show_findings(findings, err)
        raise typer.Exit(1)
    call = find_log(log, config) if log else None
    if call is not None and not call.has_steps:
        fail(f"--log {log}: it does not have the steps of the call, it is of an earlier version")
    if script is not None:
        fetcher = answers(replies, fetch=fetch, config=config)
        call = _simulated(compiled.graph, script, fetcher, outbound=outbound, calls=read_config(config).calls)
    try:
        drawn = way(compiled.graph, call, name=flow.name if str(flow) != "-" else "")
    except TooLarge as error:
        fail(str(error), status=1)
    if output == "-":
        sys.stdout.write(drawn)
        return
    try:
        Path(output).write_text(drawn, encoding="utf-8")
    except OSError as error:
        fail(f"--output {output}: {error.strerror or error}")


def _simulated(
    graph: Graph, script: str, fetch: Callable[[Request], Reply], *, outbound: bool, calls: CallConfig
) -> CallLog:
    scenario = Scenario(outbound=outbound, max_duration=calls.max_duration, fetch=fetch)
    return log_of(simulate(graph, read_script(script), settings=calls.settings, scenario=scenario), scenario)

"""``ivrea simulate``: a flow walked with a scripted caller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from engine.commands.calllogs import to_json
from engine.commands.console import AsJson, ConfigFile, err, out, read_config
from engine.commands.reading import compile_or_fail, read_script, show_findings
from engine.commands.web import Fetch, Outbound, Replies, answers
from flows.findings import has_errors
from flows.simulate import Scenario, simulate
from flows.tools.calllog import log_of


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("simulate")(simulate_flow)


def simulate_flow(
    flow: Annotated[
        Path, typer.Argument(help="The flow document: JSON, or plain text to speak. [b]-[/b] reads stdin.")
    ],
    script: Annotated[
        str,
        typer.Option(
            "--script",
            "-s",
            help="What the caller does, separated by semicolons: say TEXT, press KEYS (after the prompt), "
            "say! and press! (at once), wait SECONDS, hangup; and what others do: answer, busy, noanswer, reject, "
            "machine, human, fail.",
        ),
    ] = "",
    dialect: Annotated[str, typer.Option(help="Dialect of the document; found out from it when not given.")] = "",
    replies: Replies = None,
    fetch: Fetch = False,  # noqa: FBT002 - typer's way to declare a flag
    caller: Annotated[str, typer.Option("--from", help="The calling number.")] = "caller",
    callee: Annotated[str, typer.Option("--to", help="The number that is called.")] = "callee",
    outbound: Outbound = False,  # noqa: FBT002 - typer's way to declare a flag
    config: ConfigFile = None,
    as_json: AsJson = False,  # noqa: FBT002 - typer's way to declare a flag
) -> None:
    """Walk a flow with a scripted caller, without a phone and without waiting. Exit status 1 if the flow has errors."""
    statements = read_script(script)
    fetcher = answers(replies, fetch=fetch, config=config)
    compiled, findings = compile_or_fail(flow, dialect)
    if compiled.graph is None or has_errors(findings):
        show_findings(findings, err)
        raise typer.Exit(1)
    calls = read_config(config).calls
    scenario = Scenario(caller=caller, callee=callee, outbound=outbound, max_duration=calls.max_duration, fetch=fetcher)
    simulation = simulate(compiled.graph, statements, settings=calls.settings, scenario=scenario)
    if as_json:
        told = {**simulation.to_json(), **to_json(log_of(simulation, scenario))}
        print(json.dumps(told, ensure_ascii=False))  # noqa: T201
    else:
        out.print(escape(simulation.render()))

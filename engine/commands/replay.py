"""``ivrea replay``: the inputs of a call that is over, run against a changed flow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from engine.commands import calllogs
from engine.commands.console import AsJson, ConfigFile, err, fail, out, read_config
from engine.commands.reading import compile_or_fail, show_findings
from engine.commands.web import Fetch, Replies, answers
from flows.findings import has_errors, printable
from flows.tools.calllog import CallLog, log_of
from flows.tools.compare import compare
from flows.tools.replay import replay


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("replay")(replay_call)


def find_log(call: str, config: Path | None) -> CallLog:
    """The log in the file ``call``, or of the call with this id in the database; the end with status 2."""
    try:
        if Path(call).is_file():
            return calllogs.read_file(Path(call))
        return calllogs.stored(read_config(config).store.url, call)
    except calllogs.LogError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{call}: {error.strerror or error}")
    except SQLAlchemyError as error:
        fail(f"the database cannot be read: {getattr(error, 'orig', None) or error}")


def replay_call(
    call: Annotated[str, typer.Argument(help="The id of a call, or a file with its log (ivrea simulate --json).")],
    flow: Annotated[Path, typer.Argument(help="The flow document. [b]-[/b] reads stdin.")],
    config: ConfigFile = None,
    dialect: Annotated[str, typer.Option(help="Dialect of the document; found out from it when not given.")] = "",
    replies: Replies = None,
    fetch: Fetch = False,  # noqa: FBT002 - typer's way to declare a flag
    as_json: AsJson = False,  # noqa: FBT002 - typer's way to declare a flag
) -> None:
    """Run the inputs of a call against a flow and compare the ways. Exit status 1 if the call goes another way."""
    log = find_log(call, config)
    if not log.has_steps:
        fail(f"{call}: the log does not have the steps of the call, it is of an earlier version")
    compiled, findings = compile_or_fail(flow, dialect)
    if compiled.graph is None or has_errors(findings):
        show_findings(findings, err)
        raise typer.Exit(1)
    again = replay(
        log,
        compiled.graph,
        max_duration=read_config(config).calls.max_duration,
        fetch=answers(replies, fetch=fetch, config=config) if replies or fetch else None,
    )
    new = log_of(again.simulation, again.scenario)
    comparison = compare(log, new)
    not_made = [str(act) for act in again.not_made]
    if as_json:
        told = comparison.to_json() | {"not_made": not_made, "replay": calllogs.to_json(new)}
        print(json.dumps(told, ensure_ascii=False))  # noqa: T201
    else:
        out.print(escape("\n".join(map(printable, comparison.render().splitlines()))))
        if not_made:
            out.print(escape(f"the caller never got to: {printable('; '.join(not_made))}"))
    if not comparison.same_way:
        raise typer.Exit(1)

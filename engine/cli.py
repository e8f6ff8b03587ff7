"""The ``ivrea`` command. Exit status: 0 done, 1 the thing asked about is not good, 2 usage."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from engine import log, loop
from engine.commands import calling, converting, draw, managing, replay, simulate, starting, testing
from engine.commands.console import AsJson, ConfigFile, fail, out, read_config
from engine.commands.reading import compile_or_fail, read_script, show_findings
from engine.commands.speech import speech_app
from engine.config import load
from flows.findings import has_errors

app = typer.Typer(
    name="ivrea",
    help="Ivrea, a softswitch daemon for interactive voice response: SIP in, a call flow on each call, callbacks out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(speech_app)
app.add_typer(calling.call_app)


class KeysBy(StrEnum):
    """How the test caller presses keys."""

    rfc4733 = "rfc4733"
    inband = "inband"
    info = "info"


class LogLevel(StrEnum):
    """How much the daemon says."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


FlowFile = Annotated[
    Path, typer.Argument(help="The flow document: JSON, or plain text to speak. [b]-[/b] reads stdin.")
]
Dialect = Annotated[str, typer.Option(help="Dialect of the document; found out from it when not given.")]
Script = Annotated[
    str,
    typer.Option(
        "--script",
        "-s",
        help="What the caller does, separated by semicolons: say TEXT, press KEYS (after the prompt), "
        "say! and press! (at once), wait SECONDS, hangup.",
    ),
]


def show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    """Print the version and leave."""
    if wanted:
        out.print(f"ivrea {importlib.metadata.version('ivrea')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # noqa: FBT002 - typer's way to declare a flag
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Options of the command itself; its help is the application's."""


@app.command()
def serve(
    config: ConfigFile = None,
    log_level: Annotated[LogLevel, typer.Option(help="How much is logged.")] = LogLevel.info,
) -> None:
    """Run the daemon until SIGTERM. SIGHUP reloads flows and numbers; running calls keep theirs."""
    from engine.serving.daemon import Daemon, StartError
    from engine.serving.welcome import welcome

    loaded = read_config(config)
    log.setup(level=log_level.value)

    async def run() -> None:
        daemon = Daemon(loaded, reload_config=lambda: load(config))
        try:
            await daemon.start()
        except StartError as error:
            fail(str(error), status=1)
        for line in welcome(daemon):
            out.print(line)
        sys.stdout.flush()
        await daemon.run()

    loop.run(run())


@app.command()
def check(
    flow: FlowFile,
    dialect: Dialect = "",
    as_json: AsJson = False,  # noqa: FBT002 - typer's way to declare a flag
) -> None:
    """Find what is wrong with a flow before a phone rings. Exit status 1 if there is an error."""
    _, findings = compile_or_fail(flow, dialect)
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], ensure_ascii=False))  # noqa: T201
    else:
        show_findings(findings, out)
        counts = Counter(finding.severity for finding in findings)
        kinds = {"error": "error", "warning": "warning", "info": "remark"}
        summary = ", ".join(f"{number} {kinds[kind]}{'s' * (number > 1)}" for kind, number in counts.items())
        out.print(summary or "nothing found: the flow is good")
    if has_errors(findings):
        raise typer.Exit(1)


@app.command()
def dial(
    sip_uri: Annotated[str, typer.Argument(help="Whom to call, for example sip:1000@127.0.0.1")],
    script: Script = "",
    dtmf: Annotated[KeysBy, typer.Option(help="How keys are sent.")] = KeysBy.rfc4733,
    record: Annotated[
        Path | None, typer.Option(help="Record the call into this WAV file: far end left, us right.")
    ] = None,
    voice: Annotated[str, typer.Option(help="Voice that says what the script says.")] = "en",
    as_json: AsJson = False,  # noqa: FBT002 - typer's way to declare a flag
) -> None:
    """Place a test call, follow a script on it, and report what was heard and sent."""
    from engine.commands.caller import CallerError, TestCaller
    from engine.commands.callreport import CallReport

    log.setup(level="warning")
    statements = read_script(script)

    async def call() -> CallReport:
        try:
            caller = TestCaller(sip_uri, statements, dtmf=dtmf.value, record=record, voice=voice)
        except CallerError as error:
            fail(str(error))
        return await caller.run()

    try:
        report = loop.run(call())
    except CallerError as error:
        fail(str(error), status=1)
    except KeyboardInterrupt:
        fail("interrupted", status=1)
    if as_json:
        print(json.dumps(report.to_json()))  # noqa: T201
    else:
        for line in report.in_words():
            out.print(escape(line))
    if not report.answered or not report.finished:
        raise typer.Exit(1)


@app.command()
def doctor(config: ConfigFile = None) -> None:
    """Let the daemon call itself: two-way sound, keys by three methods, words, recording, callbacks."""
    from engine.commands.doctor import Check, Doctor

    loaded = read_config(config)
    log.setup(level="error")
    marks = {"ok": "[green]ok[/green]     ", "warning": "[yellow]warning[/yellow]", "failed": "[red]FAILED[/red] "}

    def show(check: Check) -> None:
        out.print(f"{marks[check.state]}  {escape(check.name)}: {escape(check.detail)}")

    async def examine() -> bool:
        return await Doctor(loaded, show).run()

    if not loop.run(examine()):
        raise typer.Exit(1)


for command in (managing, simulate, testing, replay, draw, converting, starting):
    command.register(app)


def main() -> None:
    """Entry point of the ``ivrea`` command."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    app()


if __name__ == "__main__":
    main()

"""``ivrea convert``: a flow in another dialect, and what the other dialect cannot say."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from engine.commands.console import AsJson, err, fail
from engine.commands.reading import compile_document, read_flow, show_findings
from flows.dialects import detect
from flows.findings import has_errors
from flows.tools.convert import TARGETS, Converted, convert


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("convert")(convert_flow)


def convert_flow(
    flow: Annotated[Path, typer.Argument(help="The flow document. [b]-[/b] reads stdin.")],
    to: Annotated[str, typer.Option(help=f"The dialect to write: {', '.join(TARGETS)}.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write here; to stdout without it.")] = None,
    dialect: Annotated[str, typer.Option(help="Dialect of the document; found out from it when not given.")] = "",
    lossy: Annotated[bool, typer.Option(help="Exit status 0 even if something is lost.")] = False,  # noqa: FBT002
    as_json: AsJson = False,  # noqa: FBT002 - typer's way to declare a flag
) -> None:
    """Write a flow in another dialect, and list what is lost (warning) or changed (info).

    Exit status 1 if something is lost, or the flow has an error.
    """
    to = to.strip().casefold()
    if to not in TARGETS:
        fail(f"flows are not written in {to!r}: known are {', '.join(TARGETS)}")
    source = read_flow(flow)
    compiled, findings = compile_document(source, flow, dialect)
    if compiled.graph is None or has_errors(findings):
        show_findings(findings, err)
        raise typer.Exit(1)
    if to == (dialect.strip().casefold() or detect(source)):
        converted = Converted(source.decode("utf-8-sig"), ())
    else:
        converted = convert(compiled.graph, to)
    if output is not None:
        try:
            output.write_text(converted.document, encoding="utf-8")
        except OSError as error:
            fail(f"{output}: {error.strerror or error}")
    if as_json:
        told = {
            "dialect": to,
            "document": converted.document,
            "findings": [asdict(finding) for finding in converted.findings],
            "lost": len(converted.lost),
        }
        print(json.dumps(told, ensure_ascii=False))  # noqa: T201
    else:
        if output is None:
            sys.stdout.write(converted.document)
        show_findings(converted.findings, err)
        if converted.lost:
            err.print(f"{len(converted.lost)} things are lost in {to}")
    if converted.lost and not lossy:
        raise typer.Exit(1)

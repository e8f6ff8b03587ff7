"""Flows and scripts that a command is given: read and compiled, or the command ends; findings in colours."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from engine.commands.console import fail
from engine.flowcheck import knowledge
from flows.check import check_compiled
from flows.dialects import UnknownDialect, compile_flow
from flows.dialects.compiling import Compiled
from flows.findings import Finding, printable
from flows.script import ScriptError, Statement, parse_script


def read_flow(path: Path) -> bytes:
    """The document, or the end with status 2."""
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        fail(f"{path}: {error.strerror or error}")


def read_script(text: str) -> tuple[Statement, ...]:
    """The statements, or the end with status 2."""
    try:
        return parse_script(text)
    except ScriptError as error:
        fail(str(error))


def compile_document(source: bytes, path: Path, dialect: str) -> tuple[Compiled, tuple[Finding, ...]]:
    """The compiled document of a file and all findings about it, or the end with status 2."""
    try:
        compiled = compile_flow(source, name=path.name, dialect=dialect)
    except UnknownDialect as error:
        fail(str(error))
    return compiled, check_compiled(compiled, knowledge(path.parent))


def compile_or_fail(path: Path, dialect: str) -> tuple[Compiled, tuple[Finding, ...]]:
    """The same for a file that is read."""
    return compile_document(read_flow(path), path, dialect)


def show_findings(findings: tuple[Finding, ...], console: Console) -> None:
    """A line for each."""
    colours = {"error": "red", "warning": "yellow", "info": "cyan"}
    for finding in findings:
        hint = f" [dim]({escape(printable(finding.hint))})[/dim]" if finding.hint else ""
        where = escape(printable(finding.where or "the document"))
        console.print(
            f"[{colours[finding.severity]}]{finding.severity}[/]  {where}: "
            f"{escape(printable(finding.message))}{hint} [dim]{finding.code}[/dim]"
        )

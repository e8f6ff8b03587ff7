"""What the subcommands of ``ivrea`` share: where they print, how they fail, options that many of them take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from engine.config import Config, ConfigError, load

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="TOML file; without it ivrea.toml in this folder, or the defaults."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def fail(message: str, status: int = 2) -> NoReturn:
    """Say what is wrong and leave."""
    err.print(f"[red]ivrea:[/red] {escape(message)}")
    raise typer.Exit(status)


def read_config(path: Path | None) -> Config:
    """The configuration, or the end with status 2."""
    try:
        return load(path)
    except ConfigError as error:
        fail(str(error))

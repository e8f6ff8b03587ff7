"""``ivrea call`` and ``ivrea token``: calls by the running daemon, and who may ask it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from engine.commands.console import AsJson, ConfigFile, fail, out, read_config
from engine.commands.daemonapi import Api, api_of, issue

call_app = typer.Typer()

LOOK_EVERY = 0.25
AccountName = Annotated[str, typer.Option("--account", help="Account, by id or name.")]
Token = Annotated[
    str,
    typer.Option(
        envvar="IVREA_TOKEN",
        help="Bearer token. Without one, the database of the configuration is asked for one for this command.",
    ),
]


@call_app.command()
def call(
    to: Annotated[str, typer.Argument(help="Whom to call: a number, a user, a device or a SIP URI.")],
    flow: Annotated[str, typer.Option(help="What to do on the call: a stored flow by name or id, or a file.")],
    from_: Annotated[str, typer.Option("--from", help="The number to show.")] = "",
    dialect: Annotated[str, typer.Option(help="Dialect of a file; found out from it when not given.")] = "",
    trunk: Annotated[str, typer.Option(help="The only trunk to be tried.")] = "",
    timeout: Annotated[float, typer.Option(help="Seconds that it may ring.")] = 60.0,
    token: Token = "",
    account: AccountName = "default",
    config: ConfigFile = None,
    as_json: AsJson = False,  # noqa: FBT002 - typer's way to declare a flag
) -> None:
    """Call somebody by the running daemon and run a flow on the call. Exit status 1 unless it was answered."""
    loaded = read_config(config)
    wish: dict[str, Any] = {"to": to, "from": from_, "trunk": trunk, "timeout": timeout, "flow": flow}
    if Path(flow).is_file():
        wish["flow"] = {"document": _document(Path(flow)), "dialect": dialect}
    with api_of(loaded, token, account, command="ivrea call") as api:
        ended = _follow(api, api.ask("POST", "/calls", wish), quiet=as_json)
    if as_json:
        print(json.dumps(ended))  # noqa: T201
    else:
        out.print(escape(_in_words(ended)))
    if ended["answered_at"] is None:
        raise typer.Exit(1)


def _follow(api: Api, begun: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """The call once it has ended; an interrupt hangs it up."""
    path = f"/calls/{begun['id']}"
    seen = ""
    found = begun
    while True:
        if found["status"] != seen and not quiet and found["status"] != "ended":
            out.print(escape(str(found["status"])))
        seen = str(found["status"])
        if seen == "ended":
            return found
        try:
            time.sleep(LOOK_EVERY)
        except KeyboardInterrupt:
            api.ask("DELETE", path)
        found = api.ask("GET", path)


def _in_words(ended: dict[str, Any]) -> str:
    end = ended["end"]
    status = f", SIP {end['sip']} {end['sip_reason'] or ''}".rstrip() if end["sip"] else ""
    seconds = f" after {ended['duration']:.1f} s" if ended["answered_at"] else ""
    return f"{ended['result']}{seconds}: {end['reason']} ({end['cause']}, Q.850 {end['q850']}{status})"


def _document(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path}: {error}")


@call_app.command()
def token(
    user: Annotated[str, typer.Option(help="User to make it for. Without one: an owner of the account.")] = "",
    account: AccountName = "default",
    name: Annotated[str, typer.Option(help="What the token is for, for the list of tokens.")] = "",
    config: ConfigFile = None,
) -> None:
    """Make a bearer token for the API and print it. It is not stored and cannot be shown again."""
    print(issue(read_config(config), account, user, name=name, lifetime=None))  # noqa: T201

"""``ivrea user``, ``ivrea number`` and the like: what an account has, changed by the running daemon's API.

Kinds of rows have the same commands, made of their models: ``list``, ``show``, ``add``, ``set``, ``remove``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.markup import escape
from rich.table import Table

from engine.api.own.bodies import AccountBody, ClientBody, ExtensionBody, GroupBody, NumberBody, UserBody
from engine.commands.calling import AccountName, Token
from engine.commands.console import AsJson, ConfigFile, fail, out, read_config
from engine.commands.daemonapi import Api, api_of, of_path
from engine.config import DeviceConfig, TrunkConfig

Settings = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Fields; items of lists by commas.")
]
Wanted = Annotated[str, typer.Argument(help="Which one: its name, number or id.")]
Named = Annotated[str, typer.Argument(help="Its name or number.")]

_ROWS: dict[str, tuple[type[BaseModel], str]] = {
    "account": (AccountBody, "Customers of this daemon."),
    "user": (UserBody, "People: those with telephones, those with a role, or both."),
    "device": (DeviceConfig, "Telephones that may register."),
    "group": (GroupBody, "Users and devices that ring together."),
    "extension": (ExtensionBody, "Numbers within an account."),
    "number": (NumberBody, "Numbers that are called from outside."),
    "trunk": (TrunkConfig, "Ways in and out."),
}

_HIDDEN = frozenset({"id", "created_at", "from_file"})
"""Columns that a list of rows leaves out."""


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for one, (model, about) in _ROWS.items():
        app.add_typer(_rows(one, f"{one}s", model), name=one, help=about)
    app.add_typer(flow_app, name="flow")
    app.add_typer(media_app, name="media")
    app.add_typer(client_app, name="client")
    app.add_typer(outbox_app, name="outbox")
    app.command("capture")(fetch_capture)


@contextmanager
def _api(config: Path | None, token: str, account: str, command: str) -> Iterator[Api]:
    with api_of(read_config(config), token, account, command=f"ivrea {command}") as api:
        yield api


def _show(found: Any, rows: str = "", *, as_json: bool) -> None:
    """Print an answer: as JSON, as a table of ``rows``, or a line for each field."""
    if as_json or not isinstance(found, dict):
        print(json.dumps(found, ensure_ascii=False))  # noqa: T201
    elif rows:
        _table(found[rows])
    else:
        for name, value in found.items():
            out.print(f"[dim]{name:>16}[/dim]  {escape(_text(value))}")


def _table(rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        out.print("none")
        return
    columns = [
        name for name in rows[0] if name not in _HIDDEN and any(row.get(name) not in (None, "", []) for row in rows)
    ]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(_text(row.get(name))) for name in columns))
    out.print(table)


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(_text, value))
        case dict():
            return json.dumps(value, ensure_ascii=False)
    return str(value)


def _body(model: type[BaseModel], settings: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` pairs as the fields of a body, or the end with status 2."""
    fields = model.model_json_schema(by_alias=True)["properties"]
    body: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in fields:
            fail(f"{setting}: must be KEY=VALUE with one of the keys {', '.join(fields)}")
        body[key] = _value(fields[key], value)
    return body


def _value(schema: dict[str, Any], text: str) -> Any:
    kinds_of = {schema.get("type"), *(each.get("type") for each in schema.get("anyOf", []))}
    if "array" in kinds_of:
        return [each.strip() for each in text.split(",") if each.strip()]
    if "boolean" in kinds_of and text.lower() in ("true", "false", "yes", "no"):
        return text.lower() in ("true", "yes")
    if kinds_of & {"integer", "number"}:
        try:
            return json.loads(text)
        except ValueError:
            return text  # the daemon says what is wrong with it
    return None if "null" in kinds_of and not text else text


def _rows(one: str, path: str, model: type[BaseModel]) -> typer.Typer:
    """The commands of a kind of rows."""
    app = typer.Typer(no_args_is_help=True)
    _add_list(app, one, path, f"List {path}.")
    key = "number" if "number" in model.model_fields else "name"
    keys = ", ".join(name for name in model.model_json_schema(by_alias=True)["properties"] if name != key)

    def show(
        name: Wanted,
        config: ConfigFile = None,
        account: AccountName = "default",
        token: Token = "",
        as_json: AsJson = False,
    ) -> None:
        with _api(config, token, account, one) as api:
            _show(api.ask("GET", f"/{path}/{of_path(name)}"), as_json=as_json)

    def add(
        name: Named,
        settings: Settings = None,
        config: ConfigFile = None,
        account: AccountName = "default",
        token: Token = "",
        as_json: AsJson = False,
    ) -> None:
        body = {key: name, **_body(model, settings or [])}
        with _api(config, token, account, one) as api:
            _show(api.ask("POST", f"/{path}", body), as_json=as_json)

    def change(
        name: Wanted,
        settings: Settings = None,
        config: ConfigFile = None,
        account: AccountName = "default",
        token: Token = "",
        as_json: AsJson = False,
    ) -> None:
        with _api(config, token, account, one) as api:
            _show(api.ask("PATCH", f"/{path}/{of_path(name)}", _body(model, settings or [])), as_json=as_json)

    commands: tuple[tuple[str, Callable[..., None], str], ...] = (
        ("show", show, f"Show one {one}."),
        ("add", add, f"Make a {one}. Keys: {keys}."),
        ("set", change, f"Change fields of a {one}. Keys: {keys}."),
    )
    for name, command, about in commands:
        app.command(name, help=about)(command)
    _add_remove(app, one, path, f"Delete a {one}.")
    return app


def _add_list(app: typer.Typer, one: str, path: str, about: str) -> None:
    def list_rows(
        config: ConfigFile = None, account: AccountName = "default", token: Token = "", as_json: AsJson = False
    ) -> None:
        with _api(config, token, account, one) as api:
            _show(api.ask("GET", f"/{path}"), path, as_json=as_json)

    app.command("list", help=about)(list_rows)


def _add_remove(app: typer.Typer, one: str, path: str, about: str) -> None:
    def remove(name: Wanted, config: ConfigFile = None, account: AccountName = "default", token: Token = "") -> None:
        with _api(config, token, account, one) as api:
            api.ask("DELETE", f"/{path}/{of_path(name)}")
            out.print(f"{one} {escape(name)} is deleted")

    app.command("remove", help=about)(remove)


# --- flows, media, clients, outbox ------------------------------------------------------

flow_app = typer.Typer(no_args_is_help=True, help="Stored flows and their versions.")
media_app = typer.Typer(no_args_is_help=True, help="Stored sounds, which flows name without a URL.")
client_app = typer.Typer(no_args_is_help=True, help="Programs that ask for tokens with an id and a secret.")
outbox_app = typer.Typer(no_args_is_help=True, help="What web servers are owed.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fail(f"{path}: {error.strerror or error}")


_add_list(flow_app, "flow", "flows", "List flows.")


@flow_app.command("show")
def show_flow(
    name: Wanted,
    version: Annotated[int, typer.Option(help="Which version; without it the newest.")] = 0,
    config: ConfigFile = None,
    account: AccountName = "default",
    token: Token = "",
) -> None:
    """Print the document of a flow."""
    path = f"/flows/{of_path(name)}" + (f"/versions/{version}" if version else "")
    with _api(config, token, account, "flow") as api:
        print(api.ask("GET", path)["document"])  # noqa: T201


@flow_app.command("add")
def add_flow(
    name: Named,
    file: Annotated[Path, typer.Argument(help="The document.")],
    dialect: Annotated[str, typer.Option(help="Dialect; found out from the document when not given.")] = "",
    config: ConfigFile = None,
    account: AccountName = "default",
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Store a flow, or a new version of it. Exit status 1 with findings when it has errors."""
    body = {"name": name, "document": _read(file).decode("utf-8", "replace"), "dialect": dialect}
    with _api(config, token, account, "flow") as api:
        found = api.ask("POST", "/flows", body)
    del found["document"]
    _show(found, as_json=as_json)


_add_remove(flow_app, "flow", "flows", "Delete a flow with its versions, and the numbers that lead to it.")


_add_list(media_app, "media", "media", "List stored sounds.")


@media_app.command("add")
def add_media(
    name: Named,
    file: Annotated[Path, typer.Argument(help="A WAV, MP3, Ogg or FLAC file.")],
    config: ConfigFile = None,
    account: AccountName = "default",
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Store a sound."""
    with _api(config, token, account, "media") as api:
        found = api.ask(
            "PUT", f"/media/{of_path(name)}", data=_read(file), kind=f"audio/{file.suffix.lstrip('.') or 'wav'}"
        )
    _show(found, as_json=as_json)


_add_remove(media_app, "media", "media", "Delete a sound.")


_add_list(client_app, "client", "clients", "List clients.")


@client_app.command("add")
def add_client(
    name: Named,
    settings: Settings = None,
    config: ConfigFile = None,
    account: AccountName = "default",
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Make a client and print its id and secret; the secret cannot be shown again. Keys: user, redirect_uris."""
    with _api(config, token, account, "client") as api:
        _show(api.ask("POST", "/clients", {"name": name, **_body(ClientBody, settings or [])}), as_json=as_json)


@client_app.command("secret")
def new_secret(
    client_id: Wanted,
    config: ConfigFile = None,
    account: AccountName = "default",
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Give a client another secret. Its tokens are none any more."""
    with _api(config, token, account, "client") as api:
        _show(api.ask("POST", f"/clients/{of_path(client_id)}/secret"), as_json=as_json)


_add_remove(client_app, "client", "clients", "Delete a client and its tokens.")


def fetch_capture(
    call: Annotated[str, typer.Argument(help="The id of the call.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; CALL.zip if not given.")] = None,
    want: Annotated[bool, typer.Option("--want", help="Have SIP and RTP of a call that lives kept, no more.")] = False,
    config: ConfigFile = None,
    account: AccountName = "default",
    token: Token = "",
) -> None:
    """Fetch a call as a ZIP: SIP ladder, packets, record and recordings."""
    path = f"/calls/{of_path(call)}/capture"
    with _api(config, token, account, "capture") as api:
        if want:
            api.ask("POST", path)
            return
        file = output or Path(f"{call}.zip")
        try:
            file.write_bytes(api.fetch(path))
        except OSError as error:
            fail(f"{file}: {error.strerror or error}", status=1)
    out.print(escape(str(file)))


@outbox_app.command("list")
def list_outbox(
    state: Annotated[str, typer.Option(help="pending, delivered or dead; without it all.")] = "",
    call: Annotated[str, typer.Option(help="Of this call only.")] = "",
    config: ConfigFile = None,
    account: AccountName = "default",
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """List deliveries, the newest first."""
    with _api(config, token, account, "outbox") as api:
        found = api.ask("GET", f"/outbox?state={of_path(state)}&call={of_path(call)}&limit=200")
    if as_json:
        _show(found, as_json=True)
        return
    shown = ("id", "call_id", "method", "url", "state", "attempts", "status", "error")
    columns = [{"delivery" if name == "id" else name: each[name] for name in shown} for each in found["deliveries"]]
    _table(columns)


@outbox_app.command("redeliver")
def redeliver(
    delivery: Annotated[int, typer.Argument(help="Its number, of the list.")],
    config: ConfigFile = None,
    account: AccountName = "default",
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Send a delivery (again), now, with all its retries before it."""
    with _api(config, token, account, "outbox") as api:
        _show(api.ask("POST", f"/outbox/{delivery}/redeliver"), as_json=as_json)

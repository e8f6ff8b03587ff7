"""``ivrea call`` and ``ivrea token``: calls by the running daemon, and who may ask it."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from engine.addresses import bracketed, is_wildcard
from engine.config import Config
from engine.console import AsJson, ConfigFile, fail, out, read_config

call_app = typer.Typer()

LOOK_EVERY = 0.25
PATIENCE = 10.0
"""Seconds for one answer of the daemon."""

LOCAL_LIFETIME = 4 * 3600.0
"""Seconds that a token of one ``ivrea call`` lasts if that is killed before it takes it back."""

AccountName = Annotated[str, typer.Option("--account", help="Account, by id or name.")]


@dataclass(frozen=True, slots=True)
class Api:
    """The daemon's API, asked one question at a time."""

    url: str
    token: str

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The answer; a refusal ends the command with status 1."""
        request = urllib.request.Request(f"{self.url}/api/v1/calls{path}", method=method)  # noqa: S310 - our own URL
        request.add_header("Authorization", f"Bearer {self.token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
                found: dict[str, Any] = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            fail(_refusal(error), status=1)
        except (OSError, ValueError) as error:
            fail(f"{self.url}: {getattr(error, 'reason', error)}; is the daemon running?", status=1)
        return found


def _refusal(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the daemon answered {error.code} {error.reason}"


@call_app.command()
def call(
    to: Annotated[str, typer.Argument(help="Whom to call: a number, a user, a device or a SIP URI.")],
    flow: Annotated[str, typer.Option(help="What to do on the call: a stored flow by name or id, or a file.")],
    from_: Annotated[str, typer.Option("--from", help="The number to show.")] = "",
    dialect: Annotated[str, typer.Option(help="Dialect of a file; found out from it when not given.")] = "",
    trunk: Annotated[str, typer.Option(help="The only trunk to be tried.")] = "",
    timeout: Annotated[float, typer.Option(help="Seconds that it may ring.")] = 60.0,
    token: Annotated[
        str,
        typer.Option(
            envvar="IVREA_TOKEN",
            help="Bearer token. Without one, the database of the configuration is asked for one for this command.",
        ),
    ] = "",
    account: AccountName = "default",
    config: ConfigFile = None,
    as_json: AsJson = False,  # noqa: FBT002 - typer's way to declare a flag
) -> None:
    """Call somebody by the running daemon and run a flow on the call. Exit status 1 unless it was answered."""
    loaded = read_config(config)
    wish: dict[str, Any] = {"to": to, "from": from_, "trunk": trunk, "timeout": timeout, "flow": flow}
    if Path(flow).is_file():
        wish["flow"] = {"document": _document(Path(flow)), "dialect": dialect}
    own = token or _issue(loaded, account, name="ivrea call", lifetime=LOCAL_LIFETIME)
    api = Api(_url(loaded), own)
    try:
        ended = _follow(api, api.ask("POST", "", wish), quiet=as_json)
    finally:
        if not token:
            _revoke(loaded, own)
    if as_json:
        print(json.dumps(ended))  # noqa: T201
    else:
        out.print(escape(_in_words(ended)))
    if ended["answered_at"] is None:
        raise typer.Exit(1)


def _follow(api: Api, begun: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """The call once it has ended; an interrupt hangs it up."""
    path = f"/{begun['id']}"
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


def _url(config: Config) -> str:
    host, port = config.http.address
    scheme = "https" if config.http.tls_cert else "http"
    host = "127.0.0.1" if is_wildcard(host) else bracketed(host)
    return config.http.public_url or f"{scheme}://{host}:{port}"


@call_app.command()
def token(
    user: Annotated[str, typer.Option(help="User to make it for. Without one: an owner of the account.")] = "",
    account: AccountName = "default",
    name: Annotated[str, typer.Option(help="What the token is for, for the list of tokens.")] = "",
    config: ConfigFile = None,
) -> None:
    """Make a bearer token for the API and print it. It is not stored and cannot be shown again."""
    print(_issue(read_config(config), account, user, name=name, lifetime=None))  # noqa: T201


def _issue(config: Config, account: str, user: str = "", *, name: str, lifetime: float | None) -> str:
    from engine.accounts import local

    try:
        return local.issue(config.store.url, account, user, name=name, lifetime=lifetime)
    except local.LocalError as error:
        fail(str(error), status=1)


def _revoke(config: Config, token: str) -> None:
    from engine.accounts import local

    with contextlib.suppress(local.LocalError):  # it lapses
        local.revoke(config.store.url, token)

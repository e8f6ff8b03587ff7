"""The running daemon's API, for commands: where it is, with whose token, one question at a time."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from engine.addresses import bracketed, is_wildcard
from engine.commands.console import fail
from engine.config import Config

PATIENCE = 10.0
"""Seconds for one answer of the daemon."""

LOCAL_LIFETIME = 4 * 3600.0
"""Seconds that a token of one command lasts if that is killed before it takes it back."""


@dataclass(frozen=True, slots=True)
class Api:
    """The daemon's API, under ``/api/v1``."""

    url: str
    token: str

    def ask(self, method: str, path: str, body: object = None, *, data: bytes | None = None, kind: str = "") -> Any:
        """The JSON of the answer; a refusal ends the command with status 1. ``data`` of a ``kind`` is sent as it is."""
        answer = self._send(method, path, body, data, kind)
        try:
            return json.loads(answer or "null")
        except ValueError as error:
            fail(f"{self.url}: {error}; is that the daemon?", status=1)

    def fetch(self, path: str) -> bytes:
        """The octets of an answer; a refusal ends the command with status 1."""
        return self._send("GET", path, None, None, "")

    def _send(self, method: str, path: str, body: object, data: bytes | None, kind: str) -> bytes:
        request = urllib.request.Request(f"{self.url}/api/v1{path}", method=method)  # noqa: S310 - our own URL
        request.add_header("Authorization", f"Bearer {self.token}")
        if body is not None:
            data, kind = json.dumps(body).encode(), "application/json"
        if data is not None:
            request.data = data
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
                found: bytes = answer.read()
        except urllib.error.HTTPError as error:
            fail(_refusal(error), status=1)
        except OSError as error:
            fail(f"{self.url}: {getattr(error, 'reason', error)}; is the daemon running?", status=1)
        return found


def of_path(name: str) -> str:
    """A name as it stands in a path."""
    return quote(name, safe="")


@contextlib.contextmanager
def api_of(config: Config, token: str, account: str, *, command: str) -> Iterator[Api]:
    """The API of the daemon of ``config``. Without a token the database is asked for one, which is taken back after."""
    own = token or issue(config, account, name=command, lifetime=LOCAL_LIFETIME)
    try:
        yield Api(_url(config), own)
    finally:
        if not token:
            _revoke(config, own)


def _refusal(error: urllib.error.HTTPError) -> str:
    try:
        told = json.loads(error.read())["error"]
        findings = [f"  {each['where'] or 'the document'}: {each['message']}" for each in told.get("findings", [])]
        return "\n".join([str(told["message"]).splitlines()[0], *findings])
    except (ValueError, KeyError, TypeError, IndexError):
        return f"the daemon answered {error.code} {error.reason}"


def _url(config: Config) -> str:
    host, port = config.http.address
    scheme = "https" if config.http.tls_cert else "http"
    host = "127.0.0.1" if is_wildcard(host) else bracketed(host)
    return config.http.public_url or f"{scheme}://{host}:{port}"


def issue(config: Config, account: str, user: str = "", *, name: str, lifetime: float | None) -> str:
    """A token out of the database, or the end with status 1."""
    from engine.accounts import local

    try:
        return local.issue(config.store.url, account, user, name=name, lifetime=lifetime)
    except local.LocalError as error:
        fail(str(error), status=1)


def _revoke(config: Config, token: str) -> None:
    from engine.accounts import local

    with contextlib.suppress(local.LocalError):  # it lapses
        local.revoke(config.store.url, token)

"""The daemon's HTTP API, asked with the token that it showed at its first start."""

from __future__ import annotations

import json
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.curl import curl
from kit.daemon import Daemon, poll


@dataclass(frozen=True, slots=True)
class Api:
    """``authority``: a file with the certificate of who signed the daemon's, if it speaks HTTPS."""

    daemon: Daemon
    token: str = ""
    authority: Path | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.authority else 'http'}://127.0.0.1:{self.daemon.http_port}/api/v1"

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.url}{path}", method=method, data=data)
        request.add_header("Authorization", f"Bearer {self.token or first_token(self.daemon)}")
        context = ssl.create_default_context(cafile=self.authority) if self.authority else None
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                return answer.status, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def call(self, to: str, flow: object, **more: object) -> str:
        """Begin a call; its id."""
        status, call = self.ask("POST", "/calls", {"to": to, "flow": flow, **more})
        assert status == 201, call
        return str(call["id"])

    def get(self, call: str) -> dict[str, Any]:
        status, found = self.ask("GET", f"/calls/{call}")
        assert status == 200, found
        return dict(found)

    def wait(self, call: str, status: str, patience: float = 15.0) -> dict[str, Any]:
        """The call once it has this status."""

        def there() -> dict[str, Any] | None:
            found = self.get(call)
            return found if found["status"] == status else None

        return poll(there, patience, f"call {call} was not {status}", every=0.1)

    def record(self, call: str) -> dict[str, Any]:
        """All that is known of a call, once it is over and its recordings are done."""
        self.wait(call, "ended")

        def done() -> dict[str, Any] | None:
            status, found = self.ask("GET", f"/calls/{call}/record")
            assert status == 200, found
            return found if all(each["status"] == "done" for each in found["recordings"]) else None

        return poll(done, 10, f"a recording of {call} was not done", every=0.1)

    def sound(self, call: str) -> bytes:
        """The file of the one recording of a call that is over, fetched by curl."""
        (kept,) = self.record(call)["recordings"]
        trust = ["--cacert", str(self.authority)] if self.authority else []
        bearer = ["-H", f"Authorization: Bearer {self.token or first_token(self.daemon)}"]
        status, data = curl(*trust, *bearer, f"{self.url}/calls/{call}/recordings/{kept['id']}")
        assert status == 200, data
        return data


def add_account(daemon: Daemon, name: str) -> str:
    """Another account of a daemon that runs; a token for its owner."""
    status, account = Api(daemon).ask("POST", "/accounts", {"name": name})
    assert status == 201, account
    return str(account["token"])


def first_token(daemon: Daemon) -> str:
    found = re.search(r"^Token (ivrea_\S+) ", daemon.log(), re.MULTILINE)
    assert found, "no token was shown"
    return found[1]

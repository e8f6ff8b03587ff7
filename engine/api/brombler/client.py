"""A client of Brombler's API in Python, for programs that use it; it needs the standard library alone.

brombler = Brombler(Brombler.api_key("http://127.0.0.1:8080", "client id", "secret"), "http://127.0.0.1:8080")
call = brombler.call("+390115550100", {"_": "Do you want to talk?", "yes": "Good.", "no": "Bye."})
print(brombler.list())
brombler.close(call)
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

PATIENCE = 10.0
"""Seconds for one answer."""


class BromblerError(Exception):
    """The answer is no; ``status`` is HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class Brombler:
    """Calls by somebody who has a token. Every request that comes too early waits as long as it is told to, once."""

    def __init__(self, token: str, url: str) -> None:
        self._token = token.removeprefix("Bearer ")
        self._url = url.rstrip("/")

    @staticmethod
    def api_key(url: str, client_id: str, client_secret: str, lifetime: int = 3600) -> str:
        """A token that lasts ``lifetime`` seconds. Raises :class:`BromblerError`."""
        form = {"client_id": client_id, "client_secret": client_secret, "exp": str(lifetime)}
        request = urllib.request.Request(  # noqa: S310 - the user's own URL
            f"{url.rstrip('/')}/auth.cas", data=urllib.parse.urlencode(form).encode()
        )
        return str(_ask(request)["access_token"])

    def call(self, who: str, tree: str | dict[str, Any], timeout: float | None = None) -> str:
        """Call ``who`` and walk the tree, ``timeout`` seconds at most; the call's id. Raises :class:`BromblerError`."""
        wish: dict[str, Any] = {"who": who, "tree": tree}
        if timeout is not None:
            wish["timeout"] = timeout
        return str(self._post("call.cas", wish)["id"])

    def list(self) -> dict[str, dict[str, Any]]:
        """The live calls of the account, by id."""
        found: dict[str, dict[str, Any]] = self._post("list.cas", {})["list"]
        return found

    def close(self, call_id: str) -> None:
        """End a call."""
        self._post("close.cas", {"who": call_id})

    def refer(self, call_id: str, user: str) -> None:
        """Send a call to an agent: a user, a telephone or a number of the account."""
        self._post("refer.cas", {"who": call_id, "user": user})

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        def request() -> urllib.request.Request:
            made = urllib.request.Request(f"{self._url}/{path}", data=json.dumps(body).encode())  # noqa: S310
            made.add_header("Authorization", f"Bearer {self._token}")
            made.add_header("Content-Type", "application/json")
            return made

        try:
            return _ask(request())
        except _Early as error:
            time.sleep(error.seconds)
            return _ask(request())


class _Early(BromblerError):
    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(429, text)
        self.seconds = seconds


def _ask(request: urllib.request.Request) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            found: dict[str, Any] = json.loads(answer.read())
            return found
    except urllib.error.HTTPError as error:
        try:
            text = str(json.loads(error.read())["responseText"])
        except (ValueError, KeyError, TypeError):
            text = error.reason
        after = error.headers.get("Retry-After", "")
        if error.code == 429 and after.isdigit():
            raise _Early(text, float(after)) from None
        raise BromblerError(error.code, text) from None

"""A daemon with the Voice API of MessageBird, asked by their SDK, and the webhooks that it tells."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from kit.daemon import Daemon, poll
from kit.voice import Voice
from kit.web import Asked, WebServer

HANGUP = {"title": "h", "steps": [{"action": "hangup"}]}
TOKEN = "a token of at least thirty-two octets"


@dataclass(frozen=True, slots=True)
class Bird:
    daemon: Daemon
    voice: Voice
    web: WebServer

    def sdk(self) -> Any:
        """A client of the SDK. Where it asks is a global of the SDK."""
        from messagebird import client

        client.VOICE_API_ROOT = self.voice.root
        return client.Client(self.voice.key)

    def listen(self, path: str) -> str:
        """The URL of a webhook that takes only what is signed."""
        url = self.web.url(path)

        def take(asked: Asked) -> tuple[int, str, str]:
            check_signatures(asked, url)
            return 204, "text/plain", ""

        self.web.pages[path] = take
        return url

    def told(self, path: str) -> list[tuple[str, dict[str, Any]]]:
        """Type and object of each thing that a webhook was told, in order; of repeats the first."""
        found = []
        asked_before: set[str] = set()
        for asked in [each for each in list(self.web.requests) if each.path == path]:
            ident = json.loads(asked.body)["id"]
            if ident in asked_before:  # a repeat
                continue
            asked_before.add(ident)
            found += [(item["type"], item["payload"]) for item in json.loads(asked.body)["items"]]
        return found

    def wait_told(self, path: str, wanted: Callable[[list[tuple[str, dict[str, Any]]]], bool]) -> Any:
        return poll(lambda: told if wanted(told := self.told(path)) else None, 20, f"{path} was not told", every=0.1)


def refuses(code: int, ask: Callable[[], object]) -> None:
    """The SDK raises an error of the API with this code."""
    from messagebird.client import ErrorException

    with pytest.raises(ErrorException) as refused:
        ask()
    assert refused.value.errors[0].code == code


def check_signatures(asked: Asked, url: str) -> None:
    from messagebird.request_validator import RequestValidator

    RequestValidator(TOKEN).validate_signature(asked.headers["messagebird-signature-jwt"], url, asked.body)
    expected = hmac.new(TOKEN.encode(), asked.body, hashlib.sha256).hexdigest()
    assert asked.headers["x-messagebird-signature"] == expected
    assert asked.headers["content-type"] == "application/json"


def last(told: list[tuple[str, dict[str, Any]]], kind: str) -> dict[str, Any]:
    return next((payload for each, payload in reversed(told) if each == kind), {})

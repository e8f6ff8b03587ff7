"""The Voice API of the daemon, asked with an access key: by curl, and as the Python SDK of MessageBird asks."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kit.api import Api
from kit.daemon import Daemon, poll

from engine.api.messagebird import models

MODELS = {
    "call-flows": models.CallFlow,
    "numbers": models.FlowNumber,
    "calls": models.Call,
    "legs": models.Leg,
    "recordings": models.Recording,
    "transcriptions": models.Transcription,
    "webhooks": models.Webhook,
}


def model_of(path: str) -> Any:
    """What the documentation shows as the answer at ``path``."""
    named = [part for part in path.partition("?")[0].split("/") if part in MODELS]
    return MODELS[named[-1]]


@dataclass(frozen=True, slots=True)
class Voice:
    root: str
    key: str

    @classmethod
    def of(cls, daemon: Daemon, token: str = "", user: str = "owner") -> Voice:
        """With a new access key of a user; ``token``: a bearer token of the account, else that of the first start."""
        status, made = Api(daemon, token).ask("POST", "/tokens", {"user": user, "kind": "access_key"})
        assert status == 201, made
        return cls(f"http://127.0.0.1:{daemon.http_port}", made["token"])

    def curl(self, method: str, path: str, body: object = None, *headers: str) -> tuple[int, str]:
        """Status and body; a text is sent as it is, all else as JSON. A path may be a whole URL."""
        url = path if "://" in path else f"{self.root}{path}"
        command = ["curl", "-s", "--globoff", "-X", method, url, "-w", "\n%{http_code}", "-m", "20"]
        for header in headers or (f"Authorization: AccessKey {self.key}",):
            command += ["-H", header]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "--data-binary", "@-"]
        text = body if isinstance(body, str) else json.dumps(body)
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, (command, done.stderr)
        answer, _, status = done.stdout.rpartition("\n")
        return int(status), answer

    def ask(self, method: str, path: str, body: object = None, *headers: str) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        status, text = self.curl(method, path, body, *headers)
        return status, json.loads(text) if text else None

    def data(self, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
        """The objects of an answer, which must have this status and be as the documentation says."""
        there, answer = self.ask(method, path, body)
        assert there == status, (method, path, answer)
        if answer is None:
            return None
        envelope = models.Many if "pagination" in answer else models.One
        envelope[model_of(path)].model_validate(answer, extra="forbid")
        return answer["data"]

    def refused(self, method: str, path: str, body: object = None, *headers: str) -> tuple[int, list[tuple[int, str]]]:
        """Status, and code and text of each error."""
        status, answer = self.ask(method, path, body, *headers)
        assert answer["data"] is None
        assert all(each["message"] == each["description"] for each in answer["errors"])
        return status, [(each["code"], each["message"]) for each in answer["errors"]]

    def wait(self, path: str, holds: Callable[[Any], bool], patience: float = 20.0) -> Any:
        """The one object at ``path`` once it is so."""

        def there() -> Any:
            (found,) = self.data("GET", path)
            return found if holds(found) else None

        return poll(there, patience, f"{path} was not so", every=0.1)

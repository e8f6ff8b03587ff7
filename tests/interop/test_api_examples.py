"""Every example of the OpenAPI document is sent to a daemon, which does what it asks for."""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from kit import sipp
from kit.api import Api
from kit.daemon import Daemon
from kit.keys import ask, keys_of

from engine.api.examples import EXAMPLES, QUERIES
from engine.api.kwebbl.callids import of_call
from flows.uuids import dashed

pytestmark = pytest.mark.peer("sipp")

PAUSE = {"title": "p", "record": False, "steps": [{"action": "pause", "options": {"length": 600}}]}
OTHERS = [
    ("post", "/v100/subscriptions"),
    ("put", "/v100/extensions/{extension_id}/caller_id"),
    ("post", "/v100/calls"),
    ("post", "/v100/calls/{call_id}/transfer"),
]
"""Whose examples stand beside their schemas."""
OF_LOGINS = {"/token", "/v100/token"}
"""The code of an example is none: the tests of the login have good ones."""

PREFIXES = ("/api/v1", "/v100", "/v1")
Sent = tuple[str, str, str, Any]
"""Method, path, media type and body."""


def send(house: Daemon, key: str, sent: Sent) -> tuple[int, str]:
    method, path, kind, body = sent
    connection = http.client.HTTPConnection("127.0.0.1", house.http_port, timeout=30)
    data = None if body is None else json.dumps(body) if kind == "application/json" else body
    if isinstance(data, dict):
        data = urlencode(data)
    try:
        headers = {"Authorization": key, **({"Content-Type": kind} if data is not None else {})}
        connection.request(method.upper(), path, data, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Examples:
    """Puts ids of what is there into paths, and learns those of what is made."""

    def __init__(self, house: Daemon) -> None:
        self.house = house
        self.keys = keys_of(house, "default")
        self.api = Api(house, self.keys.bearer.removeprefix("Bearer "))
        self.ids: dict[str, str] = {"by_address": "+390115550100", "name": "mornings"}
        self.client: dict[str, str] = {}

    def call(self) -> str:
        """A call that talks, another one when that before is over or handed on."""
        call = self.api.call("+390115550100", {"document": PAUSE, "dialect": "messagebird"}, record=True)
        self.api.wait(call, "answered")
        return call

    def path(self, template: str, call: str) -> str:
        """With the ids in it."""
        calls = {"/api/v1": call, "/v100": of_call(call), "/v1": dashed(call)} if call else {}
        prefix = next((each for each in PREFIXES if template.startswith(f"{each}/")), "")

        def there(found: re.Match[str]) -> str:
            place = template[: found.start()].rstrip("/").rpartition("/")[2]
            known = calls.get(prefix, "") if found[1] == "call_id" else self.ids.get(f"{prefix}/{place}", "")
            return quote(known or self.ids.get(place) or self.ids.get(found[1]) or "0" * 32, safe="")

        return re.sub(r"{(\w+)(?::\w+)?}", there, template)

    def learn(self, template: str, text: str) -> None:
        """What was made: its id, or the name that its path has."""
        made: Any = json.loads(text)
        if isinstance(made, dict) and isinstance(made.get("data"), list):
            made = made["data"][0]
        place = template.rpartition("/")[2]
        prefix = next((each for each in PREFIXES if template.startswith(f"{each}/")), "")
        if not isinstance(made, dict) or "id" not in made:
            return
        by_name = (prefix == "" and place in ("channels", "schedules")) or place in ("users", "devices", "groups")
        self.ids.setdefault(f"{prefix}/{place}", str(made["name"] if by_name else made["id"]))
        if prefix == "":
            self.ids.setdefault(place, str(made["name"] if by_name else made["id"]))
        if place == "clients":
            self.client = {"client_id": made["client_id"], "client_secret": made["client_secret"]}

    def fitting(self, template: str, body: Any, call: str) -> Any:
        """With ids of what is there in place of those of the example."""
        if template == "/auth.cas":
            return {**body, **self.client}
        if template in ("/refer.cas", "/close.cas"):
            return {**body, "who": call}
        if template.endswith("/caller_id"):
            place = template.replace("{extension_id}", self.ids["/v100/extensions"])
            shown = ask(self.house, "GET", place.replace("caller_id", "multiple_caller_ids"), self.keys.of("/v100"))
            return {"caller_id": json.loads(shown[1])[0]["caller_id"]}
        return body


def shown(document: dict[str, Any], method: str, path: str) -> list[tuple[str, Any]]:
    """Media types and examples of an endpoint."""
    content = document["paths"][path][method].get("requestBody", {}).get("content", {})
    return [(kind, each["example"]) for kind, each in content.items() if "example" in each]


def query(document: dict[str, Any], method: str, path: str) -> dict[str, str]:
    """The examples of an endpoint's parameters, as they are sent."""
    sent: dict[str, str] = {}
    for each in document["paths"][path][method]["parameters"]:
        example = each.get("example", {})
        if isinstance(example, dict):
            sent |= {f"{each['name']}[{key}]": value for key, value in example.items()}
        else:
            sent[each["name"]] = example
    return sent


@pytest.mark.timeout(180)
def test_every_example_of_the_document_runs(tmp_path: Path) -> None:
    """And everything that changes something is in the audit log."""
    carrier = sipp.start("uas_agrees", tmp_path / "carrier", calls=1000, together=40, patience=600, traced=False)
    house = Daemon(
        tmp_path / "daemon",
        {"1000": "Hello!"},
        settings={"api": {"brombler_rate": 0}, "account": {"allowed": ["+", "31"]}, "rtp": {"timeout": 0}},
        trunks=[{"name": "carrier", "host": f"127.0.0.1:{carrier.port}", "inbound": "none"}],
    )
    wrong: list[str] = []
    with house:
        document = json.loads(ask(house, "GET", "/openapi.json", "")[1])
        with_examples = {
            (method, path)
            for path, item in document["paths"].items()
            for method in item
            if shown(document, method, path) and path not in OF_LOGINS
        }
        assert with_examples == {*EXAMPLES, *OTHERS}
        bare = {
            path
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if operation.get("requestBody", {}).get("required") and (method, path) not in with_examples
        }
        assert bare == {*OF_LOGINS, "/authorize", "/v100/authorize", "/api/v1/media/{name}"}
        there = Examples(house)
        in_queries = dict.fromkeys((method, path) for method, path, _ in QUERIES if (method, path) not in EXAMPLES)
        for method, path in (*EXAMPLES, *OTHERS, *in_queries):
            for kind, example in shown(document, method, path) or [("", None)]:
                lives = "{call_id}" in path or path in ("/refer.cas", "/close.cas")
                call = there.call() if lives else ""
                if path.startswith("/v100/extensions"):
                    listed = json.loads(ask(house, "GET", "/v100/extensions", there.keys.of("/v100"))[1])
                    there.ids["/v100/extensions"] = next(each["id"] for each in listed if each["type"] == "user")
                body, target = there.fitting(path, example, call), there.path(path, call)
                if kind.endswith("urlencoded") and "name" in body:  # JSON has made one of this name
                    body = {**body, "name": f"{body['name']} too"}
                if kind in ("", "text/xml"):
                    target += "?" + urlencode(query(document, method, path))
                before = there.api.ask("GET", "/audit?limit=1")[1]["entries"]
                status, text = send(house, there.keys.of(path), (method, target, kind, body))
                unknown = status == 404 and ("{recording_id}" in path or path == "/refer.cas")
                if not (status < 300 or unknown) or "There were problems" in text:
                    wrong.append(f"{method} {target} {kind} {body}: {status} {text[:300]}")
                    continue
                if path != "/auth.cas" and status < 300:
                    after = there.api.ask("GET", "/audit?limit=1")[1]["entries"]
                    if after == before:
                        wrong.append(f"{method} {target}: it is not in the audit log")
                if method == "post" and text.startswith("{"):
                    there.learn(path, text)
                if call:
                    there.api.ask("DELETE", f"/calls/{call}")
        for live in there.api.ask("GET", "/calls?status=live&limit=200")[1]["calls"]:
            there.api.ask("DELETE", f"/calls/{live['id']}")
    carrier.stop()
    assert not wrong, "\n".join(wrong)

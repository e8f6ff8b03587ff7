"""Every sample of the Realtime API's document, by curl: host, credentials and placeholders replaced, no more."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kit.daemon import Daemon

from engine.accounts import clients, repository, tokens
from engine.accounts.entities import Caller
from engine.api.kwebbl.authorizing import Wish
from engine.api.kwebbl.grants import new_code
from engine.api.kwebbl.scopes import SCOPES
from engine.store import Store

pytestmark = pytest.mark.peer("curl")

BACK = "https://client.example.com/callback"
COOKBOOK = "https://client.example.com/cb"


class Desk:
    """A company with the numbers of the document, and what its application has."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.codes: list[str] = []
        self.client = self.secret = self.token = ""
        asyncio.run(self._provide())

    async def _provide(self) -> None:
        store = Store(self.daemon.store_url)
        async with store.writing() as connection:
            user = await repository.get(connection, repository.e.User, "default", "john")
            client, self.secret = await clients.add(connection, "default", "Sample", redirect_uris=[BACK, COOKBOOK])
            self.client = client.id
            person = Caller("default", user.id, "john", "admin")
            wish = Wish(client.id, BACK, tuple(SCOPES), "xyz", "")
            self.codes = [await new_code(connection, person, wish, tuple(SCOPES)) for _ in range(3)]
            self.token = await tokens.issue(
                connection, "default", user.id, kind="oauth", scopes=tuple(SCOPES), client_id=client.id
            )
        await store.close()

    def curl(self, method: str, path: str, body: Any = None, *more: str) -> tuple[int, Any]:
        """Status and answer, as JSON if it is that. ``body``: JSON, or text as it stands."""
        command = ["curl", "-sS", "-X", method, "-w", "\n%{http_code} %{redirect_url}", *more]
        if body is not None:
            text = body if isinstance(body, str) else json.dumps(body)
            command += ["-H", "Content-Type: application/json", "--data-raw", text]
        command.append(f"http://127.0.0.1:{self.daemon.http_port}{path}")
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        answer, _, last = done.stdout.rpartition("\n")
        status, _, location = last.partition(" ")
        return int(status), location or (json.loads(answer) if answer[:1] in ("{", "[") else answer)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self.curl(method, f"/v100{path}", body, "-H", f"Authorization: Bearer {self.token}")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    pause = {"title": "p", "steps": [{"id": "p", "action": "pause", "options": {"length": 1}}]}
    daemon = Daemon(
        tmp_path_factory.mktemp("samples"),
        {"31102612345": pause},
        devices=[{"name": "john-phone", "password": "geheim"}],
        more={
            "users": [{"name": "john", "devices": ["john-phone"], "role": "admin"}, {"name": "jane", "devices": []}],
            "extensions": [
                {"number": "1000", "user": "john"},
                {"number": "010", "user": "john"},
                {"number": "030", "user": "jane"},
                {"number": "345", "flow": "31102612345.json"},
            ],
        },
    )
    with daemon:
        yield Desk(daemon)


def test_the_example_url_of_the_authorization(desk: Desk) -> None:
    """``client_id`` and ``redirect_uri`` of the document belong to nobody: a page, and no redirection."""
    query = "response_type=code&client_id={}&state=xyz&redirect_uri=https%3A%2F%2Fclient%2Eexample%2Ecom%2Fcb"
    for base in ("/authorize", "/v100/authorize"):
        status, page = desk.curl("GET", f"{base}?{query.format('s6BhdRkqt3')}")
        assert (status, "There is no application" in page) == (400, True)
        status, page = desk.curl("GET", f"{base}?{query.format(desk.client)}")
        assert (status, "<h1>Sign in</h1>" in page) == (200, True)
    status, location = desk.curl("GET", f"/authorize?{query.format(desk.client).replace('=code', '=token')}")
    assert status == 303
    told = parse_qs(urlsplit(str(location)).query)
    assert (told["error"], told["state"]) == (["unsupported_response_type"], ["xyz"])


def test_codes_and_refresh_tokens_become_tokens(desk: Desk) -> None:
    body = {"code": desk.codes[0], "grant_type": "authorization_code", "redirect_uri": BACK}
    status, pair = desk.curl("POST", "/token", body, "-u", f"{desk.client}:{desk.secret}")
    assert (status, pair["expires_in"], pair["token_type"], pair["state"]) == (200, 900, "Bearer", "xyz")
    in_body = {**body, "code": desk.codes[1], "client_id": desk.client, "client_secret": desk.secret}
    assert desk.curl("POST", "/v100/token", in_body)[0] == 200
    both = {**in_body, "code": desk.codes[2]}
    status, error = desk.curl("POST", "/token", both, "-u", f"{desk.client}:{desk.secret}")
    assert (status, error["error"]) == (400, "invalid_request")
    wrong = {**body, "code": "ZdadQ538tzYbY3ab8as7T8asd7sf6c5"}
    status, error = desk.curl("POST", "/token", wrong, "-u", f"{desk.client}:{desk.secret}")
    assert (status, error["error"]) == (401, "invalid_grant")
    status, error = desk.curl("POST", "/token", wrong, "-H", "Authorization: Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW")
    assert (status, error["error"]) == (401, "invalid_client")
    refresh = {"grant_type": "refresh_token", "refresh_token": "06kx3Eudialjww2hfi6OFNIWXgcUjB3f"}
    status, error = desk.curl("POST", "/token", refresh, "-u", f"{desk.client}:{desk.secret}")
    assert (status, error["error"]) == (401, "invalid_grant")
    status, error = desk.curl("GET", "/v100/extensions", None, "-H", "Authorization: Bearer mF_9.B5f-4.1JqM")
    assert (status, error["error_code"]) == (401, "invalid_grant")


def test_extensions_and_caller_ids(desk: Desk) -> None:
    _, found = desk.ask("GET", "/extensions")
    dialplan = next(each for each in found if each["number"] == "345")
    user = next(each for each in found if each["number"] == "1000")
    assert (dialplan["type"], dialplan["external_number"], user["type"]) == ("dialplan", "31102612345", "user")
    assert desk.ask("GET", f"/extensions/{user['id']}") == (200, user)
    assert desk.ask("GET", "/extensions/p9wprKzFTprxzHyQ5aogpb9ao9agmtNd")[1]["error_code"] == "entity_not_exist"
    _, numbers = desk.ask("GET", f"/extensions/{user['id']}/multiple_caller_ids")
    assert [each["caller_number"] for each in numbers] == ["31102612345"]
    wish = {"caller_id": numbers[0]["caller_id"]}
    assert desk.ask("PUT", f"/extensions/{user['id']}/caller_id", wish) == (200, {"extension_id": user["id"], **wish})
    status, error = desk.ask(
        "PUT", f"/extensions/{user['id']}/caller_id", {"caller_id": "2678d8e9db15becc3397a47500dac7e0"}
    )
    assert (status, error["error_code"]) == (400, "validation")


def test_subscriptions(desk: Desk) -> None:
    url = '"callback_url": "http://example.com/callback"'
    everything = f'{{ "event_types": [ "*" ], "mode": "detailed", {url} }}'
    minimal = f"{{ {url} }}"
    agents = '"agents": [ { "field": "from", "number": "001" } ]'
    start = f'{{ "event_types": [ "created", "terminated" ], "mode": "presence", {agents}, {url} }}'
    made = []
    for sample in (everything, minimal, start):
        status, one = desk.ask("POST", "/subscriptions", sample)
        assert status == 201
        made.append(one)
        assert desk.ask("GET", f"/subscriptions/{one['id']}") == (200, one)
    assert desk.ask("GET", "/subscriptions") == (200, made)
    status, error = desk.ask("POST", "/subscriptions", start.replace(f"{url} }}", f"{url}, }}"))
    assert (status, error["error_code"]) == (400, "validation"), "as it stands in the document: a comma too many"
    for one in made:
        assert desk.ask("DELETE", f"/subscriptions/{one['id']}") == (200, {"ok": True})
    assert desk.ask("DELETE", "/subscriptions/a5dc443c0983ff28edf4a11798fcecfe")[0] == 404


def test_calls(desk: Desk) -> None:
    assert desk.ask("POST", "/calls", '{ "from": { "number": "010" }, "to": { "number": "+31203080700" } }') == (
        202,
        "",
    )
    for action in ("terminate", "hold", "resume", "start-recording", "stop-recording", "hangup"):
        status, error = desk.ask("POST", f"/calls/4a2bcad2-c4b9e70a/{action}")
        assert (status, error["error_code"]) == (404, "entity_not_exist")
    for body in (
        '{ "target": { "number": "31101111111" }, "transfer_type": "attended" }',
        '{ "target": { "extension_id": "abcd1234abcd1234abcd1234" }, "transfer_type": "blind" }',
        '{ "target": { "number": "030" } }',
    ):
        assert desk.ask("POST", "/calls/4a2bcad2-c4b9e70a/transfer", body)[0] == 404
    assert Path(desk.daemon.log_file).read_text().count("api_without_database") == 0

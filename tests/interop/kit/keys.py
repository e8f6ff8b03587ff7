"""An account with credentials for each API, and with one of everything in it."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
from dataclasses import dataclass
from urllib.parse import quote

from kit.api import Api
from kit.daemon import Daemon

from engine.accounts import clients, repository, secrets, tokens
from engine.api.kwebbl.scopes import SCOPES
from engine.store import Store

MARK = "belongs-to-one"
"""Part of everything that the one account has: it is in no answer to another."""

PASSWORD = "correct horse battery"


@dataclass(frozen=True, slots=True)
class Keys:
    """An account with an Authorization header for each API."""

    account: str
    bearer: str
    others: dict[str, str]

    def of(self, path: str) -> str:
        """The one for a path."""
        for beginning, kind in (("/api/v1", "bearer"), ("/v2", "bearer"), ("/v100", "kwebbl"), ("/api", "verboice")):
            if path.startswith(beginning):
                return self.bearer if kind == "bearer" else self.others[kind]
        return self.others["brombler" if path.endswith(".cas") else "messagebird"]


def keys_of(house: Daemon, name: str) -> Keys:
    """An account, new unless it is ``default``, with tokens of an owner for all APIs."""

    async def make() -> Keys:
        store = Store(house.store_url)
        try:
            async with store.writing() as connection:
                new = name != "default"
                rights = {"allowed": ["+999"], "assigned_numbers": ["+39011*"]}
                account = (await repository.add_account(connection, name, **rights)).id if new else name
                owner = await tokens.owner_of(connection, account)
                mail = f"{name}@example.com"
                hashed = secrets.hashed(PASSWORD)
                await repository.set_login(connection, account, owner.id, email=mail, password=hashed)
                kinds = {"bearer": "bearer", "brombler": "brombler", "messagebird": "access_key", "kwebbl": "oauth"}
                client, _ = await clients.add(
                    connection, account, f"{name}-app", redirect_uris=["https://app.example/"]
                )
                made = {
                    api: await tokens.issue(
                        connection,
                        account,
                        owner.id,
                        kind=kind,
                        scopes=tuple(SCOPES),
                        client_id=client.id if kind == "oauth" else None,
                    )
                    for api, kind in kinds.items()
                }
        finally:
            await store.close()
        basic = base64.b64encode(f"{mail}:{PASSWORD}".encode()).decode()
        headers = {api: f"Bearer {token}" for api, token in made.items()}
        headers |= {"messagebird": f"AccessKey {made['messagebird']}", "verboice": f"Basic {basic}"}
        return Keys(account, headers["bearer"], headers)

    return asyncio.run(make())


def ask(house: Daemon, method: str, path: str, key: str, body: object = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", house.http_port, timeout=20)
    headers = {"Authorization": key} if key else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method.upper(), path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


def furnish(house: Daemon, owner: Keys) -> dict[str, list[str]]:
    """Give the account one of everything; ids and names by the part of a path before them."""
    api = Api(house, owner.bearer.removeprefix("Bearer "))
    flow = {"name": f"{MARK}-flow", "document": {"_": f"{MARK} says hello."}}
    rows = [
        ("flows", flow),
        ("devices", {"name": f"{MARK}-desk", "password": "geheim"}),
        ("users", {"name": f"{MARK}-ann", "devices": [f"{MARK}-desk"]}),
        ("groups", {"name": f"{MARK}-all", "members": [f"{MARK}-ann"]}),
        ("extensions", {"number": "4711", "user": f"{MARK}-ann"}),
        ("numbers", {"number": "+390115550147", "flow": f"{MARK}-flow"}),
        ("trunks", {"name": f"{MARK}-trunk", "host": "192.0.2.1", "inbound": "none"}),
        ("clients", {"name": f"{MARK}-client"}),
        ("tokens", {"user": f"{MARK}-ann", "name": MARK}),
        ("queue", {"to": "+390115550148", "flow": f"{MARK}-flow", "not_before": "2099-01-01T00:00:00Z"}),
        ("calls", {"to": f"{MARK}-desk", "flow": f"{MARK}-flow"}),
    ]
    ids = {"accounts": [owner.account], "recordings": ["1"], "versions": ["1"], "outbox": ["1"]}
    for place, body in rows:
        status, made = api.ask("POST", f"/{place}", body)
        assert status in (200, 201), (place, made)
        ids[place] = [str(made["id"]), *([str(body["name"])] if "name" in body else [])]
    step = {"action": "say", "options": {"payload": MARK, "language": "en-GB", "voice": "female"}}
    bodies = [
        ("call-flows", {"title": f"{MARK} flow", "record": False, "steps": [step]}),
        ("webhooks", {"url": f"https://{MARK}.example/", "token": "geheim"}),
    ]
    for place, record in bodies:
        status, text = ask(house, "POST", f"/v1/{place}", owner.of("/v1"), record)
        assert status in (200, 201), (place, text)
        ids[place] = [json.loads(text)["data"][0]["id"]]
    ids["extensions"].append(json.loads(ask(house, "GET", "/v100/extensions", owner.of("/v100"))[1])[0]["id"])
    return ids


def filled(path: str, ids: dict[str, list[str]]) -> list[str]:
    """The path with ids of the account in it: those that belong there, else its call's."""
    parts = path.split("/")
    found = [""]
    for before, part in zip(["", *parts], parts, strict=False):
        choices = ids.get(before, ids["calls"]) if part.startswith("{") else [part]
        found = [
            f"{begun}/{quote(choice, safe='')}" if begun or part else choice for begun in found for choice in choices
        ]
    return [each if each.startswith("/") else f"/{each}" for each in found]

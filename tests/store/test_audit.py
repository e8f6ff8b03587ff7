"""The audit log has a line for everything that an API changes, and no secrets."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from api_house import BACK, House, served
from sqlalchemy.exc import OperationalError

from engine.accounts import clients, tokens
from engine.api.kwebbl.errors import ACCESS
from engine.api.kwebbl.scopes import SCOPES
from engine.store import Store
from engine.store.accounts import DEFAULT_ACCOUNT

PASSWORD = "correct horse"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/ivrea.db")
    await store.migrate()
    async with served(store, tmp_path, brombler_rate=0) as made:
        yield made
    await store.close()


async def audited(house: House) -> list[dict[str, Any]]:
    """The oldest first."""
    status, text = await house.ask("GET", "/api/v1/audit?limit=200", house.bearer())
    assert status == 200, text
    return list(reversed(json.loads(text)["entries"]))


async def test_what_an_api_changes_is_in_the_audit_log(house: House) -> None:
    own = house.bearer()
    async with house.store.writing() as connection:
        owner = await tokens.owner_of(connection, DEFAULT_ACCOUNT)
        client, _ = await clients.add(connection, DEFAULT_ACCOUNT, "app", redirect_uris=[BACK])
        issued = await tokens.issue(
            connection, DEFAULT_ACCOUNT, owner.id, kind=ACCESS, scopes=tuple(SCOPES), client_id=client.id
        )
    realtime = f"Bearer {issued}"
    login = {"name": "ann", "role": "owner", "email": "ann@example.com", "password": PASSWORD}
    assert (await house.ask("POST", "/api/v1/users", own, json=login))[0] == 201
    basic = "Basic " + base64.b64encode(f"ann@example.com:{PASSWORD}".encode()).decode()

    async def made(method: str, path: str, token: str = basic, body: Any = None) -> Any:
        status, text = await house.ask(method, path, token, **({"json": body} if body is not None else {}))
        assert status in (200, 201), (method, path, text)
        assert "summary" not in text, text
        return json.loads(text) if text else None

    project = await made("POST", "/api/projects", body={"name": "p", "status_callback_password": "geheim"})
    at = f"/api/projects/{project['id']}"
    hours = {"name": "day", "time_from_str": "9:00", "time_to_str": "17:00"}
    schedule = await made("POST", f"{at}/schedules", body=hours)
    await made("PUT", f"{at}/schedules/day", body={"retries": "1h"})
    await made("DELETE", f"{at}/schedules/day")
    variable = await made("POST", f"{at}/project_variables", body={"name": "age"})
    contact = await made("POST", f"{at}/contacts?address=4711")
    await made("PUT", f"{at}/contacts/by_address/4711?vars[age]=thirty")
    await made("PUT", f"{at}/contacts/all?vars[age]=39")
    await made("DELETE", f"{at}/project_variables/{variable['id']}")
    wish = {"callback_url": "https://told.example/secret-path", "event_types": ["*"]}
    subscription = await made("POST", "/v100/subscriptions", realtime, wish)
    await made("DELETE", f"/v100/subscriptions/{subscription['id']}", realtime)

    entries = await audited(house)
    said = [
        (each["action"], each["subject"]) for each in entries if each["action"] not in ("user made", "project made")
    ]
    assert said == [
        ("schedule made", str(schedule["id"])),
        ("schedule changed", str(schedule["id"])),
        ("schedule deleted", str(schedule["id"])),
        ("variable made", str(variable["id"])),
        ("contact made", str(contact["id"])),
        ("contact changed", str(contact["id"])),
        ("all contacts changed", str(project["id"])),
        ("variable deleted", str(variable["id"])),
        ("subscription made", subscription["id"]),
        ("subscription cancelled", subscription["id"]),
    ]
    assert {each["user"] for each in entries} == {"owner", "ann"}
    everything = json.dumps(entries)
    for secret in (PASSWORD, "geheim", "secret-path", "thirty"):
        assert secret not in everything


async def test_what_is_refused_or_read_is_not_in_the_audit_log(house: House) -> None:
    own, before = house.bearer(), await audited(house)
    wrong = [
        await house.ask("POST", "/api/v1/calls/nothing/hold", own),
        await house.ask("DELETE", "/api/v1/calls/nothing", own),
        await house.ask("POST", "/v100/subscriptions", house.bearer(kind=ACCESS), json={}),
        await house.ask("POST", "/close.cas?who=nothing", house.bearer(kind="brombler")),
    ]
    assert [status for status, _ in wrong] == [404, 404, 400, 404]
    assert (await house.ask("GET", "/api/v1/tokens", own))[0] == 200
    assert await audited(house) == before


def a_call(account: str) -> Any:
    """A live call, as far as it is ended."""
    ended: list[str] = []
    call = SimpleNamespace(end=lambda _by, why: ended.append(why))
    return SimpleNamespace(id="c" * 32, plan=SimpleNamespace(account=account), call=call, ended=ended)


async def test_what_is_done_to_live_calls_is_in_the_audit_log(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is done, and said so, though the database should be away then."""
    brombler, call = house.bearer(kind="brombler"), a_call(DEFAULT_ACCOUNT)
    monkeypatch.setitem(house.calls, call.id, call)
    assert (await house.ask("GET", f"/close.cas?who={call.id}", brombler))[0] == 200
    entry = (await audited(house))[-1]
    assert (entry["action"], entry["subject"], entry["user"]) == ("End a call, by its id", call.id, "owner")
    assert entry["detail"] == {"request": "GET /close.cas"}

    def away() -> Any:
        raise OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(house.store, "writing", away)
    assert (await house.ask("POST", f"/close.cas?who={call.id}", brombler))[0] == 200
    assert len(call.ended) == 2

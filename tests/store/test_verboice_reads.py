"""Verboice's questions take the database's write lock only when a row has to be made, which is once."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from test_api_requests import House, either  # noqa: F401 - a fixture

from engine.accounts import repository, secrets
from engine.store.accounts import DEFAULT_ACCOUNT


async def test_who_only_looks_does_not_keep_others_from_writing(
    either: House,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = either
    async with house.store.writing() as connection:
        owner = next(each for each in await repository.users(connection, DEFAULT_ACCOUNT) if each.role == "owner")
        kept = secrets.hashed("correct horse")
        await repository.set_login(connection, DEFAULT_ACCOUNT, owner.id, email="o@example.com", password=kept)
        await repository.save_flow(connection, DEFAULT_ACCOUNT, "hello", "<Response/>", dialect="verboice")
        await repository.add_trunk(connection, DEFAULT_ACCOUNT, "line", {"host": "192.0.2.1"})
    basic = "Basic " + base64.b64encode(b"o@example.com:correct horse").decode()

    async def get(path: str) -> Any:
        status, text = await house.ask("GET", f"/api/{path}", basic)
        assert status == 200, (path, text)
        return json.loads(text)

    (project,) = await get("projects.json")
    (flow,) = project["call_flows"]
    (channel,) = await get("channels/all.json")
    one = f"projects/{project['id']}"
    paths = ["projects.json", f"{one}.json", f"{one}/call_flows.json", f"{one}/call_flows/{flow['id']}.json"]
    paths += ["channels/all.json", f"channels/{channel['id']}.json"]
    before = [await get(path) for path in paths]
    monkeypatch.setattr(house.store, "writing", lambda: pytest.fail("who looked had the database write"))
    assert [await get(path) for path in paths] == before
    monkeypatch.undo()
    async with house.store.writing() as connection:
        await repository.save_flow(connection, DEFAULT_ACCOUNT, "more", "<Response/>", dialect="verboice")
    assert [each["name"] for each in await get(f"{one}/call_flows.json")] == ["hello", "more"]

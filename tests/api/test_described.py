"""What the OpenAPI document says of credentials and parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_house import served

from engine.store import Store


@pytest.fixture
async def document(tmp_path: Path) -> dict[str, Any]:
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/ivrea.db")
    await store.migrate()
    async with served(store, tmp_path) as house:
        found = json.loads((await house.ask("GET", "/openapi.json"))[1])
    await store.close()
    return dict(found)


def parameters(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in operation.get("parameters", [])}


async def test_the_document_says_what_each_endpoint_asks_for(document: dict[str, Any]) -> None:
    paths, schemes = document["paths"], document["components"]["securitySchemes"]
    for path, method, names in (
        ("/api/v1/calls", "post", ["Token"]),
        ("/call.cas", "get", ["BromblerToken"]),
        ("/auth.cas", "post", []),
        ("/api/call", "post", ["Basic"]),
        ("/v2/accounts/{account_id}/pivot/debug", "get", ["XAuthToken", "Token"]),
        ("/v100/calls", "post", ["OAuth2"]),
        ("/token", "post", []),
        ("/v1/calls", "post", ["AccessKey"]),
    ):
        assert [next(iter(each)) for each in paths[path][method]["security"]] == names, path
    assert schemes["Basic"]["scheme"] == "basic"
    assert "calls.manage" in schemes["OAuth2"]["flows"]["authorizationCode"]["scopes"]
    bare = [
        path
        for path, item in paths.items()
        for operation in item.values()
        if operation["security"] == [] and operation["tags"][0] != "Operation"
    ]
    assert set(bare) == {"/auth.cas", "/token", "/authorize", "/v100/token", "/v100/authorize"}

    call = paths["/api/call"]["post"]
    told = parameters(call)
    assert {"contact_id", "vars", "callback_params"} <= set(told)
    assert told["vars"]["style"] == "deepObject"
    kinds = call["requestBody"]["content"]
    assert set(kinds) == {"text/xml", "application/json", "application/x-www-form-urlencoded"}
    assert "contact_id" in kinds["application/json"]["schema"]["properties"]
    for path in ("all.json", "by_address/{address}"):
        change = paths[f"/api/projects/{{project_id}}/contacts/{path}"]["put"]
        assert "requestBody" not in change, "the seed has it empty"
        assert parameters(change)["vars"]["in"] == "query"
    versions = {
        tuple(parameters(operation)["X-MessageBird-Version"]["schema"]["enum"])
        for path, item in paths.items()
        if path.startswith("/v1/")
        for operation in item.values()
    }
    assert versions == {("20170314",)}

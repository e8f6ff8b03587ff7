"""What no API has, a path or a method, is refused in the words of the API that it is for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_house import House, served

from engine.store import Store

HOSTS = {
    "brombler": "trees.example",
    "verboice": "rails.example",
    "kazoo": "pivot.example",
    "kwebbl": "real.example",
    "messagebird": "voice.example",
    "ivrea": "own.example",
}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/ivrea.db")
    await store.migrate()
    async with served(store, tmp_path, hosts=HOSTS) as made:
        yield made
    await store.close()


def _system(answer: str) -> str:
    """The API in whose form an answer is."""
    said: Any = json.loads(answer) if answer else None
    match said:
        case None:
            return "verboice"
        case {"response": int(), "responseText": str(), **rest} if not rest:
            return "brombler"
        case {"data": {}, "status": "error", "request_id": str(), "error": str()}:
            return "kazoo"
        case {"status_code": int(), "error_code": str(), "message": str()}:
            return "kwebbl"
        case {"data": None, "errors": [{"code": int(), "message": str(), "description": str()}]}:
            return "messagebird"
        case {"error": {"code": str(), "message": str()}}:
            return "ivrea"
        case {"error": str()}:
            return "verboice"
    return f"none: {answer}"


NOT_THERE = [
    ("PUT", "/call.cas", 405, "brombler"),
    ("DELETE", "/list.cas", 405, "brombler"),
    ("GET", "/nothing.cas", 404, "brombler"),
    ("GET", "/api/v1/nothing", 404, "ivrea"),
    ("PUT", "/api/v1/calls", 405, "ivrea"),
    ("GET", "/nothing", 404, "ivrea"),
    ("GET", "/v1/nothing", 404, "messagebird"),
    ("GET", "/v1", 404, "messagebird"),
    ("PATCH", "/v1/calls", 405, "messagebird"),
    ("GET", "/token", 404, "kwebbl"),
    ("GET", "/v100/token", 404, "kwebbl"),
    ("DELETE", "/api/call", 405, "verboice"),
    ("GET", "/api/calls/1/nothing.json", 404, "verboice"),
    ("GET", "/v2/nothing", 404, "kazoo"),
    ("DELETE", "/v2/accounts/default/pivot/debug", 404, "kazoo"),
]


async def test_each_api_says_in_its_own_form_what_is_not_there(house: House) -> None:
    for method, path, status, system in NOT_THERE:
        said, answer = await house.ask(method, path)
        assert (said, _system(answer)) == (status, system), (method, path, answer)


async def test_under_a_host_name_of_its_own_an_api_says_what_is_not_there(house: House) -> None:
    for system, host in HOSTS.items():
        for path in ("/nothing", "/healthz.cas"):
            status, answer = await house.ask("GET", path, headers={"Host": host})
            assert (status, _system(answer)) == (404, system), answer
    for host, method, path in (
        ("trees.example", "PUT", "/call.cas"),
        ("rails.example", "DELETE", "/call"),
        ("voice.example", "PATCH", "/v1/calls"),
        ("own.example", "PUT", "/calls"),
    ):
        status, answer = await house.ask(method, path, headers={"Host": host})
        assert (status, _system(answer)) == (405, next(each for each, name in HOSTS.items() if name == host)), answer


async def test_all_methods_of_a_path_are_told(house: House) -> None:
    """Not only those of the first route that has it."""
    for headers, path, methods in (
        ({}, "/call.cas", "GET, POST"),
        ({}, "/api/v1/calls", "GET, POST"),
        ({"Host": "own.example"}, "/users/anna", "DELETE, GET, PATCH"),
    ):
        async with house.http.put(f"{house.url}{path}", headers=headers) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, methods)
            assert methods in await answer.text()

"""``$forward``'s lists, posted to a real web server for a call that stands for all of a switch."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from engine.api.brombler.forwarding import Forwarder
from engine.callbacks.fetch import Fetcher
from engine.calls.switch import Switch

Until = Callable[..., Awaitable[None]]


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(allow_private=True)
    yield fetcher
    await fetcher.close()


def switch_with(url: str) -> Switch:
    """A switch with one call that wants the list, which is empty."""
    call = SimpleNamespace(id="c", plan=SimpleNamespace(account="a"), call=SimpleNamespace(forwards=(url,)))
    return cast("Switch", SimpleNamespace(calls={"c": call}, calls_of=lambda _account: []))


async def test_the_list_goes_where_a_redirect_leads(server: Any, fetcher: Fetcher, until: Until) -> None:
    async def moved(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/new":
            return web.Response(status=204)
        return web.Response(status=302, headers={"Location": "/new"})

    server.answer = moved
    Forwarder(switch_with(f"{server.url}/"), fetcher).beat()
    await until(lambda: len(server.bodies) == 2)
    assert [(request.method, request.path) for request in server.requests] == [("POST", "/"), ("POST", "/new")]
    assert json.loads(server.bodies[1]) == {"response": 200, "responseText": "OK", "list": {}}

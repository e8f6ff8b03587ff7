"""What every request passes before an API has it: whether its address has failed to log in too often, and which API its
host name stands for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.addresses import bracketed, network_name
from engine.api.limits import RateLimit

PREFIXES: Mapping[str, tuple[str, ...]] = {
    "ivrea": ("/api/v1",),
    "brombler": (),
    "verboice": ("/api",),
    "kazoo": ("/v2",),
    "kwebbl": ("/v100",),
    "messagebird": ("/v1",),
}
"""The APIs, and what may be left out of paths under a host name of their own."""

SYSTEMS = tuple(PREFIXES)


class LoginGuard:
    """Refuses with 429 who has been answered 401 too often: ``per_minute`` times, by whatever API. 0: never.

    Who that is tells the client's address, of IPv6 its network of 64 bits; behind a trusted proxy the one it forwards.
    """

    def __init__(self, app: ASGIApp, per_minute: float, refuse: Callable[[Scope, float], ASGIApp]) -> None:
        """``refuse`` makes the answer to a request that may come again after so many seconds."""
        self._app = app
        self._refuse = refuse
        self._failures = RateLimit(per_minute / 60, burst=max(1.0, per_minute))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._failures.rate:
            await self._app(scope, receive, send)
            return
        name = network_of(scope)
        loop = asyncio.get_running_loop()
        if wait := self._failures.short_of(name, loop.time()):
            await self._refuse(scope, wait)(scope, receive, send)
            return

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                self._failures.wait(name, loop.time())
            await send(message)

        await self._app(scope, receive, watch)


def network_of(scope: Scope) -> str:
    """The client's address, or the network that an IPv6 one is in."""
    return network_name(str((scope.get("client") or ("",))[0]))


class HostDoors:
    """Under a host name of an API there is that API alone, also without the beginning that its paths have elsewhere."""

    def __init__(self, app: ASGIApp, hosts: Mapping[str, str], routes: Mapping[str, Sequence[BaseRoute]]) -> None:
        """``hosts`` has the API by host name, ``routes`` those of each API."""
        self._app = app
        self._systems = {host.lower(): system for host, system in hosts.items()}
        self._routers = {
            system: Router(list(found), default=_nothing, redirect_slashes=False) for system, found in routes.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        system = self._systems.get(host_of(scope)) if scope["type"] == "http" and self._systems else None
        if system is None:
            await self._app(scope, receive, send)
            return
        router = self._routers[system]
        paths = [scope["path"], *(prefix + scope["path"] for prefix in PREFIXES[system])]
        for path in paths:
            tried = {**scope, "path": path, "raw_path": path.encode()}
            if any(route.matches(tried)[0] is not Match.NONE for route in router.routes):
                await router(tried, receive, send)
                return
        await _nothing(scope, receive, send)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    body = {"error": {"code": "not_found", "message": "there is nothing here"}}
    await JSONResponse(body, 404)(scope, receive, send)


def host_of(scope: Scope) -> str:
    """The host name that a request is for, without its port, in small letters."""
    given = next((value for name, value in scope.get("headers", ()) if name == b"host"), b"").decode("latin-1").lower()
    if given.startswith("["):
        return bracketed(given[1:].partition("]")[0])
    return given.partition(":")[0]

"""What every request passes before an API has it: whether its address has failed to log in too often, and which API its
host name stands for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from starlette.exceptions import HTTPException
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
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


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


class Systems:
    """Which API a request is for: by its host name, by the path, or by how that begins."""

    def __init__(self, hosts: Mapping[str, str], routes: Mapping[str, Sequence[BaseRoute]]) -> None:
        """``hosts`` has the API by host name, ``routes`` those of each API."""
        self._hosts = {host.lower(): system for host, system in hosts.items()}
        self.routes = routes

    def by_host(self, scope: Scope) -> str | None:
        """The only API that there is under the host name of the request; ``None``: all are."""
        return self._hosts.get(host_of(scope)) if self._hosts and scope["type"] == "http" else None

    def of(self, scope: Scope) -> str:
        """The API, also when it has no such path or takes no such method; empty: none."""
        if (system := self.by_host(scope)) is not None:
            return system
        matching = (
            system
            for system, routes in self.routes.items()
            if any(route.matches(scope)[0] is not Match.NONE for route in routes)
        )
        return next(matching, "") or by_beginning(scope["path"])

    def spellings(self, scope: Scope) -> list[Scope]:
        """The request as it is, and with what may be left out under a host name of an API put before its path."""
        prefixes = PREFIXES.get(self.by_host(scope) or "", ())
        paths = (prefix + scope["path"] for prefix in prefixes)
        return [scope, *({**scope, "path": path, "raw_path": path.encode()} for path in paths)]

    def methods(self, scope: Scope) -> list[str]:
        """Those that the API takes at this path."""
        routes, bare = self.routes.get(self.of(scope), ()), {**scope, "query_string": b""}
        return [
            method
            for method in METHODS
            if any(
                route.matches({**tried, "method": method})[0] is Match.FULL
                for tried in self.spellings(bare)
                for route in routes
            )
        ]


def by_beginning(path: str) -> str:
    """The API whose paths begin, or end, like this one; empty: none, or the one at the root."""
    if path.endswith(".cas"):
        return "brombler"
    longest = sorted(((each, system) for system, found in PREFIXES.items() for each in found), reverse=True)
    return next((system for each, system in longest if path == each or path.startswith(f"{each}/")), "")


class HostDoors:
    """Under a host name of an API there is that API alone, also without the beginning that its paths have elsewhere."""

    def __init__(self, app: ASGIApp, systems: Systems) -> None:
        self._app = app
        self._systems = systems
        self._routers = {
            system: Router(list(found), default=_nothing, redirect_slashes=False)
            for system, found in systems.routes.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        system = self._systems.by_host(scope)
        if system is None:
            await self._app(scope, receive, send)
            return
        router = self._routers[system]
        for tried in self._systems.spellings(scope):
            if any(route.matches(tried)[0] is not Match.NONE for route in router.routes):
                await router(tried, receive, send)
                return
        await _nothing(scope, receive, send)


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise HTTPException(404)


def host_of(scope: Scope) -> str:
    """The host name that a request is for, without its port, in small letters."""
    given = next((value for name, value in scope.get("headers", ()) if name == b"host"), b"").decode("latin-1").lower()
    if given.startswith("["):
        return bracketed(given[1:].partition("]")[0])
    return given.partition(":")[0]

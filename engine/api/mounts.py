"""Where which API is: a line for each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from engine.api import calls, messagebird
from engine.api.answers import completed, told
from engine.api.brombler import mount as brombler
from engine.api.doors import SYSTEMS, HostDoors, LoginGuard, Systems
from engine.api.examples import illustrated
from engine.api.guard import ERROR
from engine.api.kazoo import mounting as kazoo
from engine.api.kwebbl import mounting as kwebbl
from engine.api.own import access, accounts, capturing, flows, kinds, ledger, queue, sounds, telling
from engine.api.own.resources import routes_of
from engine.api.reference import add_reference
from engine.api.refusals import NotThere, TooManyFailures
from engine.api.security import secured
from engine.api.services import ApiServices
from engine.api.verboice import mount as verboice

MOUNTS: tuple[Callable[[ApiServices], APIRouter], ...] = (
    calls.mount,
    queue.mount,
    telling.mount,
    capturing.mount,
    accounts.mount,
    *(partial(routes_of, each) for each in kinds.RESOURCES),
    flows.mount,
    sounds.mount,
    access.mount,
    ledger.mount,
    brombler.mount,
    kwebbl.mount,
    messagebird.mount,
    verboice,
    kazoo.mount,
)
"""Each makes the routes of an API; what comes first has the path that two want."""


def mount_all(app: FastAPI, services: ApiServices) -> None:
    """Give ``app`` all APIs, and the doors before them."""
    routes: dict[str, list[BaseRoute]] = {system: [] for system in SYSTEMS}
    for mount in MOUNTS:
        before = len(app.router.routes)
        app.include_router(mount(services))
        routes[_system_of(mount)] += app.router.routes[before:]
    make = app.openapi
    refused = {429: told(ERROR, "Too many failed logins from this address.")}  # of what is no API's
    app.openapi = lambda: app.openapi_schema or illustrated(secured(completed(make(), refused)))  # type: ignore[method-assign]
    add_reference(app)
    config = services.config.api
    systems = Systems({host: system for system, host in config.hosts.items()}, routes)
    app.router.middleware_stack = HostDoors(app.router.middleware_stack, systems)
    app.add_middleware(LoginGuard, per_minute=config.login_failures, refuse=TooManyFailures(systems))
    for status in (404, 405):  # what no route is for
        app.add_exception_handler(status, NotThere(systems))


def _system_of(mount: Callable[[ApiServices], APIRouter]) -> str:
    """The API that a mount is of: the package that it is in, or our own."""
    name = getattr(mount, "__module__", "").removeprefix("engine.api.").partition(".")[0]
    return name if name in SYSTEMS else "ivrea"

"""Verboice's API, put together."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.routing import APIRoute

from engine.api.services import ApiServices
from engine.api.verboice import calls, channels, contacts, projects, schedules, status
from engine.api.verboice.remembering import Remembering


def mount(services: ApiServices) -> APIRouter:
    """The endpoints; who is to be told of calls is asked from now on."""
    services.callbacks.announcements.add(status.Statuses())
    services.switch.remember = Remembering(services.store)
    services.dialler.preparing.append(status.prepared)
    services.dialler.on_unmade = status.unmade
    services.dialler.after_unmade = services.callbacks.wake
    api = APIRouter()
    for part in (calls, channels, schedules, contacts, projects):
        api.include_router(_with_json(part.routes(services)))
    return api


def _with_json(routes: APIRouter) -> APIRouter:
    """Every path may have ``.json`` behind it, as in Rails; where an id or a name stands there, it is taken off it."""
    there = {
        (route.path, method) for route in routes.routes if isinstance(route, APIRoute) for method in route.methods or ()
    }
    for route in list(routes.routes):
        if not isinstance(route, APIRoute) or route.path.endswith(("}", ".json")):
            continue
        path = f"{route.path}.json".removeprefix(routes.prefix)
        methods = [method for method in route.methods or () if (f"{route.path}.json", method) not in there]
        if methods:
            routes.add_api_route(path, route.endpoint, methods=methods, summary=route.summary, include_in_schema=False)
    return routes

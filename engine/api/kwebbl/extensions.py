"""``/extensions``: users and dialplans, and the numbers that users may show. ``/user``: who the token is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from engine.accounts import audit, repository
from engine.api.kwebbl.agents import Agents, Extension, read_agents
from engine.api.kwebbl.documents import CALLER_ID, CHOSEN, EXTENSION, USER, body, told
from engine.api.kwebbl.errors import Grant, Problem, RealtimeRoute, grant_of, invalid, not_there
from engine.api.kwebbl.scopes import WRITE
from engine.api.kwebbl.wishes import as_object
from engine.api.reading import as_json, octets
from engine.api.services import ApiServices

_SCOPES = ("company.dialplans", "company.users")


def extension_routes(services: ApiServices) -> APIRouter:
    """The endpoints."""
    desk = _Desk(services)
    api = APIRouter(route_class=RealtimeRoute, tags=["Kwebbl"])
    one = "/extensions/{extension_id}"
    api.add_api_route(
        "/user", desk.user, methods=["GET"], summary="Who the token is", responses=told(200, USER, 401, 403)
    )
    api.add_api_route(
        "/extensions",
        desk.list,
        methods=["GET"],
        summary="List users and dialplans",
        responses=told(200, [EXTENSION], 401, 403),
    )
    api.add_api_route(
        one, desk.one, methods=["GET"], summary="A user or a dialplan", responses=told(200, EXTENSION, 401, 403, 404)
    )
    api.add_api_route(
        f"{one}/multiple_caller_ids",
        desk.caller_ids,
        methods=["GET"],
        summary="Numbers that can be shown",
        responses=told(200, [CALLER_ID], 401, 403, 404),
    )
    chosen = body(
        {"type": "object", "required": ["caller_id"], "properties": {"caller_id": {"type": "string"}}},
        {"caller_id": "2678d8e9db15becc3397a47500dac7e0"},
    )
    api.add_api_route(
        f"{one}/caller_id",
        desk.choose,
        methods=["PUT"],
        summary="Choose the number that a user shows",
        responses=told(200, CHOSEN, 400, 401, 403, 404),
        openapi_extra=chosen,
    )
    return api


@dataclass(frozen=True, slots=True)
class _Desk:
    services: ApiServices

    async def user(self, request: Request) -> Response:
        """Name, role and extensions of the token's user (ours: the seed has the scope and no endpoint)."""
        grant = await grant_of(request, self.services.store, "user.info")
        agents = await self._agents(grant)
        own = [each.view() for each in agents.of_user(grant.caller.user_id)]
        role = "admin" if grant.admin else "user"
        return JSONResponse({"id": grant.caller.user_id, "name": grant.caller.user, "role": role, "extensions": own})

    async def list(self, request: Request) -> Response:
        """Those of the kinds that the scopes allow to see, the oldest first."""
        grant = await grant_of(request, self.services.store, *_SCOPES)
        agents = await self._agents(grant)
        return JSONResponse([each.view() for each in agents.extensions if _may_see(grant, each)])

    async def one(self, request: Request, extension_id: str) -> Response:
        """One of them, or 404."""
        grant = await grant_of(request, self.services.store, *_SCOPES)
        found = _find(await self._agents(grant), grant, extension_id)
        return JSONResponse(found.view())

    async def caller_ids(self, request: Request, extension_id: str) -> Response:
        """The company's numbers from outside."""
        grant = await grant_of(request, self.services.store, *_SCOPES)
        agents = await self._agents(grant)
        _find(agents, grant, extension_id)
        shown = [{"caller_id": each.id, "caller_number": each.number.removeprefix("+")} for each in agents.numbers]
        return JSONResponse(shown)

    async def choose(self, request: Request, extension_id: str) -> Response:
        """Users choose for themselves, admins for everybody."""
        grant = await grant_of(request, self.services.store, "company.users")
        wanted = as_object(as_json(await octets(request)))
        agents = await self._agents(grant)
        found = _find(agents, grant, extension_id)
        if found.type != "user":
            raise invalid("extension_id: only users choose a number to show")
        if found.user_id != grant.caller.user_id and not grant.admin:
            raise Problem(403, "access_denied", "only an admin may choose for somebody else")
        if not grant.caller.may(WRITE):
            raise Problem(403, "access_denied", "the role of the user only reads")
        number_id = _number_id(wanted, agents)
        async with self.services.store.writing() as connection:
            await repository.set_shown_number(connection, grant.account, found.user_id, number_id)
            await audit.note(connection, grant.caller, "caller id chosen", found.user_id, {"number": number_id})
        await self.services.changed()
        return JSONResponse({"extension_id": found.id, "caller_id": number_id})

    async def _agents(self, grant: Grant) -> Agents:
        async with self.services.store.reading() as connection:
            return await read_agents(connection, grant.account)


def _number_id(wanted: Mapping[str, Any], agents: Agents) -> str:
    number_id = wanted.get("caller_id")
    if not isinstance(number_id, str) or not number_id:
        raise invalid("caller_id: is required")
    if all(each.id != number_id for each in agents.numbers):
        raise invalid("caller_id: is none of the available numbers")
    return number_id


def _may_see(grant: Grant, extension: Extension) -> bool:
    return grant.has("company.users" if extension.type == "user" else "company.dialplans")


def _find(agents: Agents, grant: Grant, extension_id: str) -> Extension:
    """Raises :class:`Problem`: 404 for none, 403 for one of a kind that the scopes do not allow to see."""
    found = agents.by_id(extension_id)
    if found is None:
        raise not_there("the extension")
    if not _may_see(grant, found):
        grant.needs("company.users" if found.type == "user" else "company.dialplans")
    return found

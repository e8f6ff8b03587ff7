"""``POST /calls``: one party is rung, and talks with the other once it has answered ("Placing a new call").

A dialplan cannot be rung: with one as ``from`` the call is turned round, so that whoever is outside or has a telephone
acts as its caller. Two numbers from outside are never connected, nor two dialplans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from engine.accounts import repository
from engine.api.kwebbl.agents import Agents, read_agents
from engine.api.kwebbl.documents import PLACE, body, problems
from engine.api.kwebbl.errors import Grant, Problem, RealtimeRoute, grant_of, invalid
from engine.api.kwebbl.events import BY_CLICK
from engine.api.kwebbl.wishes import Place, as_object, known_keys, place_in
from engine.api.noting import about
from engine.api.reading import as_json, octets
from engine.api.services import ApiServices
from engine.calls.allowance import NotAllowed
from engine.calls.directory import EXTENSION_RINGS, ringing_graph
from engine.calls.identity import Caller
from engine.calls.media import MediaError
from engine.calls.outbound import Wish
from engine.calls.services import FlowError, Ready
from flows.graph import Graph, Perform
from flows.orders import Dial, Target

RING_SECONDS = 60.0


def placing_routes(services: ApiServices) -> APIRouter:
    """The endpoint."""
    api = APIRouter(route_class=RealtimeRoute, tags=["Kwebbl"])
    schema = {"type": "object", "required": ["to"], "properties": {"from": PLACE, "to": PLACE}}
    api.add_api_route(
        "/calls",
        _Desk(services).place,
        methods=["POST"],
        status_code=202,
        response_class=Response,
        summary="Place a call between two parties",
        responses={202: {"description": "It is being placed."}, **problems(400, 401, 403)},
        openapi_extra=body(schema, {"from": {"number": "201"}, "to": {"number": "+31203080700"}}),
    )
    return api


@dataclass(frozen=True, slots=True)
class _Route:
    """Who is rung first, and with whom it talks then."""

    rung: Place
    other: Place


@dataclass(frozen=True, slots=True)
class _Desk:
    services: ApiServices

    async def place(self, request: Request) -> Response:
        """202 without a body once it is under way."""
        store = self.services.store
        grant = await grant_of(request, store, "calls.create", "calls.create.personal")
        wanted = as_object(as_json(await octets(request)))
        known_keys(wanted, frozenset({"from", "to"}))
        async with store.reading() as connection:
            agents = await read_agents(connection, grant.account)
            route = _route(*_parties(wanted, grant, agents))
            shown = _shown_by(route.rung, await repository.shown_numbers(connection))
        about(request, await self._begin(grant, route, shown, agents))
        return Response(status_code=202)

    async def _begin(self, grant: Grant, route: _Route, shown: str, agents: Agents) -> str:
        """The id of the call."""
        rung, other = route.rung, route.other
        wish = Wish(
            to=_dialled(rung, agents),
            caller=Caller(other.number, other.extension.name if other.extension is not None else ""),
            timeout=RING_SECONDS,
            source=f"{BY_CLICK}{grant.caller.user}",
        )
        try:
            if other.is_outside:  # nobody is rung in vain
                self.services.switch.check_number(grant.account, other.number)
            flow = await self._flow(grant, route, shown, agents)
            return self.services.originator.call(grant.account, wish, flow).id
        except NotAllowed as error:
            raise Problem(error.status, "access_denied", f"to: {error}") from None
        except FlowError as error:
            raise invalid(f"to: the dialplan cannot be used: {error}") from None
        except MediaError as error:
            raise Problem(503, "no_room", str(error), {"Retry-After": "5"}) from None

    async def _flow(self, grant: Grant, route: _Route, shown: str, agents: Agents) -> Ready:
        """What whoever is rung comes to."""
        other = route.other
        if other.extension is not None and other.extension.flow_id:
            return await self.services.originator.stored(grant.account, other.extension.flow_id)
        if other.extension is not None and other.extension.group_id:
            group = agents.groups[other.extension.group_id]
            return Ready(f"extension {other.extension.number}", ringing_graph(group))
        own = route.rung.number if not other.is_outside else shown
        return Ready(f"call to {other.number}", _talking_graph(_target(other, agents), own))


def _parties(wanted: object, grant: Grant, agents: Agents) -> tuple[Place, Place]:
    """From and to. Raises :class:`Problem`."""
    fields = as_object(wanted)
    caller, callee = place_in(fields, "from", agents), place_in(fields, "to", agents)
    if callee is None:
        raise invalid("to: is required")
    own = agents.of_user(grant.caller.user_id)
    if caller is None:
        if not own:
            raise invalid("from: is required, as the user of the token has no extension")
        caller = Place(own[0], own[0].number)
    if not grant.has("calls.create") and (caller.extension is None or caller.extension not in own):
        raise Problem(403, "access_denied", "calls.create.personal is for calls from the user's own extension")
    return caller, callee


def _route(caller: Place, callee: Place) -> _Route:
    """Who is rung first. Raises :class:`Problem` for two who are not to be connected."""
    if caller.is_outside and callee.is_outside:
        raise invalid("to: calls between two external numbers are not allowed")
    if caller.is_dialplan and callee.is_dialplan:
        raise invalid("from: a dialplan cannot call a dialplan")
    if caller.extension is not None and caller.extension == callee.extension:
        raise invalid("to: is the same as from")
    return _Route(callee, caller) if caller.is_dialplan else _Route(caller, callee)


def _shown_by(rung: Place, chosen: Mapping[str, str]) -> str:
    """The number that those outside see of who is rung: the chosen one of a user, else nothing of ours."""
    return chosen.get(rung.extension.user_id, "") if rung.extension is not None else ""


def _dialled(place: Place, agents: Agents) -> str:
    """As a call out wants it: the name of a user, a number outside."""
    if place.extension is not None and place.extension.user_id:
        return agents.users[place.extension.user_id].name
    return place.number


def _target(place: Place, agents: Agents) -> Target:
    if place.extension is not None and place.extension.user_id:
        return Target(kind="user", value=agents.users[place.extension.user_id].name)
    return Target(kind="number", value=place.number)


def _talking_graph(target: Target, shown: str) -> Graph:
    """The flow of a call between two: ring the second, and talk."""
    order = Dial(targets=(target,), timeout=EXTENSION_RINGS, caller_id=shown)
    step = Perform(id="ring", origin="", order=order, into="dial")
    return Graph({step.id: step}, step.id, name=f"talk with {target.value}")

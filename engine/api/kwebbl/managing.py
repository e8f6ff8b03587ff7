"""``POST /calls/{call_id}/…``: what is done with a call that lives ("Manipulating an existing call").

A call is found by its own id or by that of a leg that rings or talks for it. With a personal scope alone it has to be a
call of the token's user; any other is not there. Of two who talk, the token's user, or else the company's telephone,
has to do with the other one: that one is put on hold, and stays when the call is handed on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import callbook
from engine.api.kwebbl import callids
from engine.api.kwebbl.agents import Agents, read_agents
from engine.api.kwebbl.documents import PLACE, body, problems
from engine.api.kwebbl.errors import Problem, RealtimeRoute, grant_of, invalid, not_there
from engine.api.kwebbl.events import line_between
from engine.api.kwebbl.wishes import as_object, known_keys, place_in
from engine.api.reading import as_json, octets
from engine.api.services import ApiServices
from engine.calls.control import Control, ControlRefused, Party
from engine.calls.supervisor import Supervisor

MANAGE = ("calls.manage", "calls.manage.personal")


def managing_routes(services: ApiServices) -> APIRouter:
    """The endpoints."""
    desk = _Desk(services)
    api = APIRouter(prefix="/calls/{call_id}", route_class=RealtimeRoute, tags=["Kwebbl"])
    transfer: dict[str, Any] = {
        "type": "object",
        "required": ["target"],
        "properties": {"target": PLACE, "transfer_type": {"type": "string", "enum": ["blind", "attended"]}},
        "additionalProperties": False,
    }
    wish = body(transfer, {"target": {"number": "31101111111"}, "transfer_type": "blind"})
    actions: tuple[tuple[str, Callable[[Request, str], Awaitable[Response]], str], ...] = (
        ("terminate", desk.hang_up, "Hang up"),
        ("hangup", desk.hang_up, "Hang up"),
        ("transfer", desk.transfer, "Hand the call on"),
        ("hold", desk.hold, "Put the other one on hold"),
        ("resume", desk.resume, "Take off hold"),
        ("start-recording", desk.start_recording, "Record the call"),
        ("stop-recording", desk.stop_recording, "Record it no longer"),
    )
    for name, act, summary in actions:
        api.add_api_route(
            f"/{name}",
            act,
            methods=["POST"],
            status_code=202,
            response_class=Response,
            summary=summary,
            responses={202: {"description": "It is done, or under way."}, **problems(400, 401, 403, 404, 409)},
            openapi_extra=wish if name == "transfer" else None,
        )
    return api


@dataclass(frozen=True, slots=True)
class _Held:
    """A call in somebody's hands."""

    control: Control
    agents: Agents
    by: str
    own: Party
    """Which of the two the token's user is; empty: neither."""

    @property
    def other(self) -> Party:
        """Whom the user has to do with; empty: whoever it makes sense for."""
        return {"line": "peer", "peer": "line"}.get(self.own, "")  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class _Desk:
    services: ApiServices

    async def hang_up(self, request: Request, call_id: str) -> Response:
        """The call ends, for everybody who is on it."""
        call = await self._call(request, call_id)
        return await _done(call.control.hang_up(by=call.by))

    async def transfer(self, request: Request, call_id: str) -> Response:
        """The other one talks with the target: at once, or after a consultation (``*`` completes, ``#`` cancels)."""
        call = await self._call(request, call_id)
        wanted = as_object(as_json(await octets(request)))
        known_keys(wanted, frozenset({"target", "transfer_type"}))
        kind = wanted.get("transfer_type", "blind")
        if kind not in ("blind", "attended"):
            raise invalid("transfer_type: must be blind or attended")
        place = place_in(wanted, "target", call.agents)
        if place is None:
            raise invalid("target: is required")
        leaves: Party = call.own if call.control.bridged else ""
        return await _done(call.control.transfer(place.reach, attended=kind == "attended", by=call.by, leaves=leaves))

    async def hold(self, request: Request, call_id: str) -> Response:
        """The other one hears music. Once more changes nothing."""
        call = await self._call(request, call_id)
        return await _done(call.control.hold(by=call.by, party=call.other if call.control.bridged else ""))

    async def resume(self, request: Request, call_id: str) -> Response:
        """Both talk again. Nothing happens if they do."""
        call = await self._call(request, call_id)
        return await _done(call.control.resume(by=call.by))

    async def start_recording(self, request: Request, call_id: str) -> Response:
        """From now on, each side on a channel. Once more changes nothing."""
        call = await self._call(request, call_id)
        return await _done(call.control.start_recording(by=call.by))

    async def stop_recording(self, request: Request, call_id: str) -> Response:
        """Nothing happens if it is not recorded."""
        call = await self._call(request, call_id)
        return await _done(call.control.stop_recording(by=call.by))

    async def _call(self, request: Request, call_id: str) -> _Held:
        """Raises :class:`Problem`: 404 for a call that does not live, or is none that the token may manage."""
        grant = await grant_of(request, self.services.store, *MANAGE)
        async with self.services.store.reading() as connection:
            agents = await read_agents(connection, grant.account)
            call = await _find(connection, self.services.switch.calls_of(grant.account), call_id)
        if call is None:
            raise not_there("the call")
        own = _own_side(call, agents, grant.caller.user_id)
        if not grant.has("calls.manage") and not own and not _concerns(call, agents, grant.caller.user_id):
            raise not_there("the call")
        return _Held(Control(call), agents, grant.caller.user, own)


async def _find(connection: AsyncConnection, calls: list[Supervisor], call_id: str) -> Supervisor | None:
    """The call with this id, or with a leg of this id that is not over. Whoever knows a leg's knows it from an event,
    which the database has.
    """
    prefix = callids.prefix_of(call_id)
    for call in calls:
        if prefix and call.id.startswith(prefix):
            if callids.of_call(call.id) == call_id:
                return call
            for leg in await callbook.legs(connection, call.plan.account, call.id):
                if leg.finished_at is None and callids.of_leg(call.id, leg.id) == call_id:
                    return call
    return None


def _own_side(call: Supervisor, agents: Agents, user_id: str) -> Party:
    """Which of the two who talk is a telephone of the user; empty: neither, or nobody talks."""
    user, talking = agents.users.get(user_id), call.conversation
    if user is None or talking is None:
        return ""
    if call.line_device in user.devices:
        return "line"
    return "peer" if talking.peer.destination.device in user.devices else ""


def _concerns(call: Supervisor, agents: Agents, user_id: str) -> bool:
    """Whether the user calls or is called."""
    parties = call.parties
    line = line_between(call.id, parties.caller, parties.callee, call.direction, parties.source, agents)
    return any(each.extension is not None and each.extension.user_id == user_id for each in (line.caller, line.callee))


async def _done(doing: Awaitable[object]) -> Response:
    """202 without a body."""
    try:
        await doing
    except ControlRefused as refused:
        match refused.code:
            case "ended":
                raise not_there("the call") from None
            case "no_target":
                raise invalid(f"target: {refused}") from None
            case "not_allowed":
                raise Problem(403, "access_denied", f"target: {refused}") from None
        raise Problem(409, "conflict", str(refused)) from None
    return Response(status_code=202)

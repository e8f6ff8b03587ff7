"""``/api/call`` and ``/api/calls``: put a call into the queue, see how it goes, cancel it, give it another flow."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import audit, callbook, repository
from engine.accounts.callbook import CallRow
from engine.accounts.entities import Caller, Flow
from engine.api.answers import Responses, told
from engine.api.services import ApiServices
from engine.api.verboice import book, calls_book, contacts_book, shapes
from engine.api.verboice.calls_book import NumberedCall
from engine.api.verboice.channels_book import channels
from engine.api.verboice.details import CallFacts, details, in_words
from engine.api.verboice.door import TAGS, Refused, VerboiceRoute, login, not_found
from engine.api.verboice.enqueue import chosen_flow, enqueue
from engine.api.verboice.params import as_id, params_of
from engine.calls.control import Control, ControlRefused
from engine.campaigns import queue
from engine.store.models import CallEvent

_OWN_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
FLUSH_PATIENCE = 1.0
MOST_ENTRIES = 10_000


def routes(services: ApiServices) -> APIRouter:
    """The endpoints."""
    calls = _Calls(services)
    api = APIRouter(prefix="/api", route_class=VerboiceRoute, tags=TAGS)
    wish = [shapes.in_query(name, text) for name, text in _PARAMETERS.items()]
    fields = {each["name"]: {**each["schema"], "description": each["description"]} for each in wish}
    form = {"schema": {"type": "object", "properties": fields}}
    twiml = {"schema": {"type": "string"}, "example": _TWIML}
    kinds = {"text/xml": twiml, "application/json": form, "application/x-www-form-urlencoded": form}
    body = {"requestBody": {"content": kinds}}
    call: Responses = {200: told(shapes.CALL)}
    words = {"type": "string"}
    for method, more in (("GET", {}), ("POST", body)):
        api.add_api_route(
            "/call", calls.call, methods=[method], summary="Enqueue a call", responses=call,
            openapi_extra={"parameters": wish, **more},
        )  # fmt: skip
    one = "/calls/{call_id}"
    named = ("call_flow_id", "call_flow", "callback_url", "project_id")
    flow = {"parameters": [shapes.in_query(name, _PARAMETERS[name]) for name in named]}
    api.add_api_route(f"{one}/state.json", calls.state, methods=["GET"], summary="State of a call", responses=call)
    api.add_api_route(f"{one}/state", calls.state, methods=["GET"], include_in_schema=False)
    api.add_api_route(
        f"{one}/details.json", calls.details, methods=["GET"], summary="All about a call",
        responses={200: told(shapes.DETAILS)},
    )  # fmt: skip
    api.add_api_route(f"{one}/details", calls.details, methods=["GET"], include_in_schema=False)
    for method in ("GET", "POST"):
        api.add_api_route(
            f"{one}/cancel", calls.cancel, methods=[method], summary="Make a call no more", responses=call
        )
        api.add_api_route(
            f"{one}/redirect", calls.redirect, methods=[method], summary="Give a call another flow", openapi_extra=flow,
            response_class=PlainTextResponse, responses={200: told(words, "`OK`.", media="text/plain")},
        )  # fmt: skip
    api.add_api_route(
        "/logs/{call_id}", calls.log, methods=["GET"], summary="What happened, as CSV", response_class=Response,
        responses={200: told(words, media="text/csv")},
    )  # fmt: skip
    return api


_TWIML = "<Response><Say>Hello</Say></Response>"
_PARAMETERS = {
    "channel": "Name of a trunk of the account.",
    "channel_id": "The same by its id.",
    "address": "Number or SIP URI.",
    "contact_id": "In its place: a contact of the project, whose first address is called.",
    "call_flow_id": "Id of a stored flow.",
    "call_flow": "The same by its name.",
    "callback_url": "Is asked for the flow.",
    "status_callback_url": "Is told of the states of the call.",
    "callback_params[name]": "Parameters of all requests to those two.",
    "vars[name]": "Variables of the flow.",
    "project_id": "The project of the call.",
    "schedule_id": "Id of a schedule of the project.",
    "schedule": "The same by its name.",
    "not_before": "A date, as 2030-01-02 10:11:12.",
    "not_after": "A date.",
    "time_zone": "Of these dates and of the schedule: a name of Rails or of the IANA database.",
}


@dataclass(frozen=True, slots=True)
class _Calls:
    services: ApiServices

    async def call(self, request: Request) -> Response:
        """``{"call_id", "state"}``; 400 with ``{"error"}`` for whatever is wrong."""
        caller = await login(request, self.services, "calls.write")
        call = await enqueue(self.services, caller, await params_of(request))
        return JSONResponse({"call_id": call.id, "state": queue.QUEUED})

    async def state(self, request: Request, call_id: str) -> Response:
        """``{"call_id", "state"}``."""
        caller = await login(request, self.services, "calls.read")
        facts = await self._facts(caller, call_id)
        return JSONResponse({"call_id": facts.numbered.id, "state": facts.state})

    async def details(self, request: Request, call_id: str) -> Response:
        """All that is known of the call; what is not known is left out."""
        caller = await login(request, self.services, "calls.read")
        facts = await self._facts(caller, call_id)

        async def look(connection: AsyncConnection) -> dict[str, Any]:
            return await self._names(connection, caller.account_id, facts.numbered)

        return JSONResponse(details(facts, await self.services.store.looking(look)))

    async def cancel(self, request: Request, call_id: str) -> Response:
        """What waits is cancelled; what is under way goes on, and is not tried again."""
        caller = await login(request, self.services, "calls.write")
        facts = await self._facts(caller, call_id)
        if facts.entry is not None:
            async with self.services.store.writing() as connection:
                entry = await queue.cancel(connection, caller.account_id, facts.entry.id)
                if facts.entry.state not in queue.FINAL:
                    await audit.note(connection, caller, "queued call cancelled", str(entry.id))
            facts = CallFacts(facts.numbered, entry, facts.call, live=facts.live)
        return JSONResponse({"call_id": facts.numbered.id, "state": facts.state})

    async def redirect(self, request: Request, call_id: str) -> Response:
        """``OK``: a call that was answered goes on with another flow. 404 for a flow or project that is not there."""
        caller = await login(request, self.services, "calls.write")
        params = await params_of(request)
        facts = await self._facts(caller, call_id)
        flow = await chosen_flow(self.services, caller, params)
        live = self.services.switch.calls.get(facts.call_id)
        if live is None:
            raise Refused(400, f"the call is {facts.state}")
        try:
            await Control(live).replace_flow(flow, by=caller.user)
        except ControlRefused as error:
            raise Refused(400, str(error)) from None
        return PlainTextResponse("OK")

    async def log(self, request: Request, call_id: str, after: str = "") -> Response:
        """``Entry ID, Time, Step name, Command, Action, Detail``."""
        caller = await login(request, self.services, "calls.read")
        facts = await self._facts(caller, call_id.removesuffix(".csv"))
        table = CallEvent.__table__
        where = [table.c.call_id == facts.call_id, table.c.id > as_id(after)]
        async with self.services.store.reading() as connection:
            query = select(table).where(*where).order_by(table.c.id).limit(MOST_ENTRIES)
            events = (await connection.execute(query)).mappings().all()
        text = io.StringIO()
        out = csv.writer(text)
        out.writerow(["Entry ID", "Time", "Step name", "Command", "Action", "Detail"])
        for event in events:
            out.writerow(in_words(event["id"], event["at"], event["kind"], event["detail"]))
        return PlainTextResponse(text.getvalue(), media_type="text/csv")

    async def _facts(self, caller: Caller, call_id: str) -> CallFacts:
        """A call by its integer, or by our own id. Raises :class:`Refused` (404)."""
        facts = await self._look_up(caller, call_id)
        if facts is None or (not facts.settled and await self.services.callbacks.flush(FLUSH_PATIENCE)):
            facts = await self._look_up(caller, call_id)  # it may have ended just now
        if facts is None:
            raise not_found()
        return facts

    async def _look_up(self, caller: Caller, call_id: str) -> CallFacts | None:
        own = _OWN_ID.fullmatch(call_id) is not None

        async def look(connection: AsyncConnection) -> CallFacts | None:
            if own:
                call = await callbook.call(connection, caller.account_id, call_id)
                numbered = await self._of_call(connection, call) if call is not None else None
            else:
                numbered = await calls_book.get(connection, caller.account_id, as_id(call_id))
            if numbered is None:
                return None
            entry = None
            if numbered.queued_id is not None:
                entry = await queue.get(connection, caller.account_id, numbered.queued_id)
            made = numbered.call_id or (entry.call_id if entry is not None else None)
            call = await callbook.call(connection, caller.account_id, made) if made else None
            return CallFacts(numbered, entry, call, live=bool(made) and made in self.services.switch.calls)

        return await self.services.store.looking(look)

    async def _of_call(self, connection: AsyncConnection, call: CallRow) -> NumberedCall:
        queued = await queue.by_call(connection, [call.id])
        known = await calls_book.of_queue(connection, [entry.id for entry in queued.values()])
        return next(iter(known.values()), None) or await calls_book.of_call(connection, call)

    async def _names(self, connection: AsyncConnection, account: str, call: NumberedCall) -> dict[str, Any]:
        """Ids and names of what the call refers to, as far as it is there."""
        names: dict[str, Any] = {}
        project = await book.project(connection, account, call.project_id)
        if project is not None:
            names |= {"project_id": project.id, "project_name": project.name}
        shared = [each for each in self.services.directory().trunks if each.shared]
        for channel in await channels(connection, account, shared):
            if channel.name == call.trunk and "channel_id" not in names:
                numbers = await book.numbers_of(connection, account, "trunk", [channel.trunk_id])
                names |= {"channel_id": numbers[channel.trunk_id], "channel_name": channel.name}
        if call.flow_id:
            for flow in await repository.all_of(connection, Flow, account):
                if flow.id == call.flow_id:
                    numbers = await book.numbers_of(connection, account, "flow", [flow.id])
                    names |= {"call_flow_id": numbers[flow.id], "call_flow_name": flow.name}
        if call.schedule_id is not None and project is not None:
            for schedule in await book.schedules(connection, project.id):
                if schedule.id == call.schedule_id:
                    names |= {"schedule_id": schedule.id, "schedule_name": schedule.name}
        if project is not None:
            address = call.address_or_name
            contact = await contacts_book.known_as(connection, project.id, address)
            names |= {"contact_id": contact.id, "contact_address": address}
        return names

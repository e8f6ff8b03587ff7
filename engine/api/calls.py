"""``/api/v1/calls``: make calls, see them, hang them up.

Whoever asks sees the calls of the own account; those of others are not there.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, Field

from engine.accounts import callbook
from engine.accounts.callbook import CallRow, LegRow
from engine.api.answers import NUMBER, TEXT, WHOLE, YES_OR_NO, Responses, choice, many, or_null, shape, told
from engine.api.call_control import FlowWish, InlineFlow, LiveCalls, Model, TransferWish, documented, own_call
from engine.api.guard import ERROR, ApiError, GuardedRoute, body_of, caller_of
from engine.api.parties import party, shown_number
from engine.api.services import ApiServices
from engine.calls.allowance import NotAllowed
from engine.calls.control import Control
from engine.calls.identity import Caller
from engine.calls.media import MediaError
from engine.calls.origination import Originator
from engine.calls.outbound import OutgoingCall, Wish
from engine.calls.services import FlowError, Ready
from engine.calls.supervisor import Supervisor
from engine.calls.switch import Switch
from engine.store import Store
from flows.causes import cause_of

_CURSOR = re.compile(r"(\d+\.\d+)~([0-9a-f]{1,32})")
MOST_PER_PAGE = 200
FLUSH_PATIENCE = 1.0


class CallWish(Model):
    """The body of ``POST /api/v1/calls``."""

    to: Annotated[str, AfterValidator(party)]
    from_: Annotated[str, AfterValidator(shown_number), Field(alias="from")] = ""
    from_name: Annotated[str, Field(max_length=64)] = ""
    flow: Annotated[str, Field(min_length=1)] | InlineFlow
    trunk: str = ""
    timeout: Annotated[float, Field(gt=0, le=600)] = 60.0
    machine_detection: Literal["", "continue", "delay", "hangup"] = ""
    record: bool = False
    variables: Annotated[dict[Annotated[str, Field(pattern=r"^\w{1,64}$")], str], Field(max_length=100)] = Field(
        default_factory=dict
    )


def mount(services: ApiServices) -> APIRouter:
    """The endpoints."""
    calls = _Calls(services.store, services.switch, services.originator, services.callbacks.flush)
    api = APIRouter(prefix="/api/v1/calls", route_class=GuardedRoute, tags=["Ivrea: calls"])
    made: Responses = {201: told(_CALL, "It is being made."), 422: told(ERROR, "The flow is not there, or not good.")}
    api.add_api_route(
        "", calls.make, methods=["POST"], status_code=201, summary="Call somebody", responses=made,
        openapi_extra=documented(CallWish),
    )  # fmt: skip
    page, whole = shape(calls=many(_CALL), next=or_null(TEXT)), shape(**_CALL["properties"], legs=many(_LEG))
    api.add_api_route(
        "", calls.list, methods=["GET"], summary="List calls, the newest first", responses={200: told(page)}
    )
    api.add_api_route(
        "/{call_id}", calls.one, methods=["GET"], summary="A call with its legs", responses={200: told(whole)}
    )
    under_way = told(_CALL, "It is done, or under way.")
    api.add_api_route(
        "/{call_id}", calls.hang_up, methods=["DELETE"], status_code=202, summary="Hang up", responses={202: under_way}
    )
    live = LiveCalls(services.store, services.switch, calls.ready, calls.over, view_of_live)
    for name, act, body, summary in live.actions():
        must = body in (TransferWish, FlowWish)
        answers: Responses = {
            202: under_way,
            **({422: told(ERROR, "There is no such target, or flow.")} if must else {}),
        }
        api.add_api_route(
            f"/{{call_id}}/{name}", act, methods=["POST"], status_code=202, summary=summary, responses=answers,
            openapi_extra=documented(body, required=must),
        )  # fmt: skip
    return api


_CALL = shape(
    id=TEXT,
    account=TEXT,
    direction=choice("inbound", "outbound"),
    flow=shape(name=TEXT, version=or_null(WHOLE)),
    status=TEXT,
    result=or_null(TEXT),
    started_at=TEXT,
    answered_at=or_null(TEXT),
    ended_at=or_null(TEXT),
    duration=or_null(NUMBER),
    path=TEXT,
    end=or_null(
        shape(
            by=or_null(TEXT),
            reason=or_null(TEXT),
            cause=TEXT,
            q850=or_null(WHOLE),
            sip=or_null(WHOLE),
            sip_reason=or_null(TEXT),
        )
    ),
    bridged=YES_OR_NO,
    held=many(TEXT),
    recording=YES_OR_NO,
    queue=or_null(shape(name=TEXT, position=WHOLE, size=WHOLE, waited=WHOLE)),
    **{"from": TEXT, "to": TEXT},
)
_LEG = shape(
    id=TEXT,
    to=TEXT,
    trunk=or_null(TEXT),
    started_at=TEXT,
    answered_at=or_null(TEXT),
    ended_at=or_null(TEXT),
    duration=or_null(NUMBER),
    sip=or_null(WHOLE),
    q850=or_null(WHOLE),
    reason=or_null(TEXT),
)


@dataclass(frozen=True, slots=True)
class _Calls:
    store: Store
    switch: Switch
    originator: Originator
    flush: Callable[[float], Awaitable[bool]]
    """Waits until the database has what happened, so many seconds at most."""

    async def make(self, request: Request) -> Response:
        """Begin a call that goes out: 201 with the call; 422 for a flow that is not good, 503 when there is no room."""
        caller = await caller_of(request, self.store, "calls.write")
        wanted = await body_of(request, CallWish)
        flow = await self.ready(caller.account_id, wanted.flow)
        wish = Wish(
            to=wanted.to,
            caller=Caller(wanted.from_, wanted.from_name),
            trunk=wanted.trunk,
            timeout=wanted.timeout,
            variables=wanted.variables,
            source=caller.user,
        )
        detection = wanted.machine_detection
        try:
            call = self.originator.call(caller.account_id, wish, flow, detection, record=wanted.record)
        except NotAllowed as error:
            raise ApiError(error.status, error.code, f"to: {error}", field="to") from None
        except MediaError as error:
            refused = ApiError(503, "no_room", str(error))
            refused.headers["Retry-After"] = "5"
            raise refused from None
        return JSONResponse(view_of_live(call), status_code=201, headers={"Location": f"/api/v1/calls/{call.id}"})

    async def ready(self, account: str, wanted: str | InlineFlow) -> Ready:
        """The flow that somebody wants, or 422."""
        try:
            if isinstance(wanted, str):
                return await self.originator.stored(account, wanted)
            return await self.originator.inline(account, wanted.text(), wanted.dialect)
        except FlowError as error:
            findings = [{"code": each.code, "where": each.where, "message": each.message} for each in error.findings]
            raise ApiError(422, "bad_flow", str(error), field="flow", findings=findings) from None

    async def list(
        self,
        request: Request,
        direction: Literal["", "inbound", "outbound"] = "",
        status: Literal["", "live", "ended"] = "",
        before: str = "",
        limit: Annotated[int, Field(ge=1, le=MOST_PER_PAGE)] = 50,
    ) -> dict[str, Any]:
        """A page of calls, the newest first; ``next`` is the ``before`` of the page behind it, null on the last."""
        caller = await caller_of(request, self.store, "calls.read")
        cursor = _CURSOR.fullmatch(before)
        if before and cursor is None:
            raise ApiError(400, "bad_request", "before: must be the next of a page before", field="before")
        start = (float(cursor[1]), cursor[2]) if cursor is not None else None
        live = {
            call.id: call
            for call in self.switch.calls_of(caller.account_id)
            if direction in ("", call.direction) and (start is None or (call.started_at, call.id) < start)
        }
        rows: list[CallRow] = []
        if status != "live":
            async with self.store.reading() as connection:
                rows = await callbook.calls(
                    connection,
                    caller.account_id,
                    direction=direction,
                    only_ended=status == "ended",
                    before=start,
                    limit=limit,
                )
        found = {(row.started_at, row.id): _stored(row) for row in rows if row.id not in live}
        if status != "ended":
            found |= {(call.started_at, call.id): view_of_live(call) for call in live.values()}
        keys = sorted(found, reverse=True)[:limit]
        more = len(keys) == limit or len(rows) == limit
        return {
            "calls": [found[key] for key in keys],
            "next": f"{keys[-1][0]!r}~{keys[-1][1]}" if keys and more else None,
        }

    async def one(self, request: Request, call_id: str) -> dict[str, Any]:
        """A call with the legs that were dialled for it, or 404."""
        caller = await caller_of(request, self.store, "calls.read")
        live = own_call(self.switch, caller.account_id, call_id)
        row, legs = await self._stored(caller.account_id, call_id)
        if live is None and (row is None or row.finished_at is None):  # perhaps it has ended just now
            await self.flush(FLUSH_PATIENCE)
            row, legs = await self._stored(caller.account_id, call_id)
        if live is not None:
            return {**view_of_live(live), "legs": [_leg(leg) for leg in legs]}
        if row is None:
            raise _not_there(call_id)
        return {**_stored(row), "legs": [_leg(leg) for leg in legs]}

    async def _stored(self, account: str, call_id: str) -> tuple[CallRow | None, Sequence[LegRow]]:
        async with self.store.reading() as connection:
            row = await callbook.call(connection, account, call_id)
            return row, await callbook.legs(connection, account, call_id)

    async def hang_up(self, request: Request, call_id: str) -> Response:
        """End a call: 202 with the call, 409 when it has ended."""
        caller = await caller_of(request, self.store, "calls.write")
        call = own_call(self.switch, caller.account_id, call_id)
        if call is not None:
            call.call.end("flow", f"hung up by {caller.user}")
            return JSONResponse(view_of_live(call), status_code=202)
        raise await self.over(caller.account_id, call_id)

    async def over(self, account: str, call_id: str) -> ApiError:
        """What to say of a call that does not live: 404, or 409 when it has ended."""
        row, _ = await self._stored(account, call_id)
        if row is None and await self.flush(FLUSH_PATIENCE):
            row, _ = await self._stored(account, call_id)
        return _not_there(call_id) if row is None else ApiError(409, "ended", "the call has ended")


def _not_there(call_id: str) -> ApiError:
    return ApiError(404, "not_found", f"there is no call {call_id!r}")


def _when(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def view_of_live(call: Supervisor) -> dict[str, Any]:
    """A call of this process, as it is now."""
    answered, control = call.answered_wall(), Control(call)
    state = call.state if isinstance(call, OutgoingCall) else "answered" if answered is not None else "ringing"
    return {
        "id": call.id,
        "account": call.plan.account,
        "direction": call.direction,
        "from": call.parties.caller,
        "to": call.parties.callee,
        "flow": {"name": call.plan.flow_name, "version": call.plan.flow_version or None},
        "status": state if call.call.ending is None else "ending",
        "result": None,
        "started_at": _when(call.started_at),
        "answered_at": _when(answered),
        "ended_at": None,
        "duration": None,
        "path": call.call.path,
        "end": None,
        "bridged": control.bridged,
        "held": sorted(control.held),
        "recording": control.recording,
        "queue": _queue(call),
    }


def _queue(call: Supervisor) -> dict[str, Any] | None:
    """Where it waits; who was taken waits no more."""
    place = call.outside.lots.place(call.call)
    if place is None:
        return None
    return {"name": place.queue, "position": place.position, "size": place.size, "waited": place.waited}


def _stored(row: CallRow) -> dict[str, Any]:
    """A call as its record has it."""
    ended = row.finished_at is not None
    cause = cause_of(row.sip_status, row.q850, row.cause)
    end = {
        "by": row.ended_by,
        "reason": row.reason,
        "cause": cause.name,
        "q850": row.q850 if row.q850 is not None else cause.q850,
        "sip": row.sip_status or None,
        "sip_reason": row.sip_reason,
    }
    return {
        "id": row.id,
        "account": row.account_id,
        "direction": row.direction,
        "from": row.caller,
        "to": row.callee,
        "flow": {"name": row.flow, "version": row.flow_version or None},
        "status": "ended" if ended else "answered" if row.answered_at is not None else "ringing",
        "result": cause.status if ended else None,
        "started_at": _when(row.started_at),
        "answered_at": _when(row.answered_at),
        "ended_at": _when(row.finished_at),
        "duration": row.duration,
        "path": row.path or "",
        "end": end if ended else None,
        "bridged": False,
        "held": [],
        "recording": False,
        "queue": None,
    }


def _leg(leg: LegRow) -> dict[str, Any]:
    return {
        "id": leg.id,
        "to": leg.callee,
        "trunk": leg.trunk or None,
        "started_at": _when(leg.started_at),
        "answered_at": _when(leg.answered_at),
        "ended_at": _when(leg.finished_at),
        "duration": leg.duration,
        "sip": leg.sip_status or None,
        "q850": leg.q850,
        "reason": leg.reason,
    }

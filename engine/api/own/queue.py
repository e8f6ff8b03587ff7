"""``/api/v1/queue``: calls that are made in time, within limits, again when nobody answers.

Whoever asks sees the queue of the own account; calls of others are not there.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from engine.accounts import audit, repository
from engine.accounts.entities import Flow
from engine.accounts.repository import Unknown
from engine.api.answers import Responses, schema_of, told
from engine.api.call_control import documented
from engine.api.calls import CallWish
from engine.api.guard import ERROR, ApiError, GuardedRoute, body_of, caller_of
from engine.api.services import ApiServices
from engine.calls.services import FlowError
from engine.campaigns import queue
from engine.campaigns.dialler import Wanted
from engine.campaigns.queue import Entry, NotQueued, Order
from engine.campaigns.schedule import Schedule, clock_text, first_slot, parse_days, parse_retries, window
from engine.campaigns.zones import iso, parse_moment, zone_named

MOST_PER_PAGE = 200
_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_STATES = ("queued", "active", *queue.FINAL)


class ScheduleWish(BaseModel):
    """When the call may be made, and after what delays again."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    days: Annotated[list[Annotated[int, Field(ge=0, le=6)]], Field(max_length=7)] = []
    """0 is Sunday; empty: every day."""
    from_: Annotated[str, Field(alias="from", max_length=8)] = ""
    to: Annotated[str, Field(max_length=8)] = ""
    """Times of the day as ``9:30``; both empty: all day."""
    retries: Annotated[str, Field(max_length=1000)] = ""
    """As ``15m, 2h, 1d``."""
    retry_all: bool = False
    """Also after an end that another attempt would come to again."""


class QueueWish(CallWish):
    """The body of ``POST /api/v1/queue``: a call as ``POST /api/v1/calls`` takes it, and when it is to be made."""

    schedule: ScheduleWish | None = None
    not_before: Annotated[str, Field(max_length=40)] = ""
    not_after: Annotated[str, Field(max_length=40)] = ""
    time_zone: Annotated[str, Field(max_length=64)] = "UTC"
    success: Literal["answered", "finished"] = "answered"


class QueuedCallView(BaseModel):
    """A call in the queue."""

    id: int
    state: Literal["queued", "active", "completed", "failed", "cancelled", "expired"]
    result: str | None
    to: str
    trunk: str | None
    flow: str | None
    attempts: int
    due_at: str | None
    not_before: str | None
    not_after: str | None
    time_zone: str
    schedule: dict[str, Any] | None
    call: str | None
    reason: str | None
    sip: int | None
    created_at: str
    finished_at: str | None


class QueuePage(BaseModel):
    """Calls of the queue, the newest first; ``next`` is the ``before`` of the next page."""

    calls: list[QueuedCallView]
    next: int | None


def mount(services: ApiServices) -> APIRouter:
    """The endpoints."""
    endpoints = _Queue(services)
    api = APIRouter(prefix="/api/v1/queue", route_class=GuardedRoute, tags=["Ivrea: calls"])
    bad_flow: Responses = {422: told(ERROR, "The flow is not there, or not good.")}
    being_made: Responses = {202: told(schema_of(QueuedCallView), "It is being made, and not tried again.")}
    api.add_api_route(
        "",
        endpoints.add,
        methods=["POST"],
        status_code=201,
        summary="Put a call into the queue",
        response_model=QueuedCallView,
        responses=bad_flow,
        openapi_extra=documented(QueueWish),
    )
    api.add_api_route("", endpoints.list, methods=["GET"], summary="The queue", response_model=QueuePage)
    one = "/{queued_id}"
    api.add_api_route(one, endpoints.one, methods=["GET"], summary="A call of the queue", response_model=QueuedCallView)
    api.add_api_route(
        one, endpoints.cancel, methods=["DELETE"], summary="Make a call no more",
        responses={200: told(schema_of(QueuedCallView), "Cancelled."), **being_made},
    )  # fmt: skip
    return api


@dataclass(frozen=True, slots=True)
class _Queue:
    services: ApiServices

    async def add(self, request: Request) -> Response:
        """201 with the call; 400 for times that leave it none, 422 for a flow that is not good."""
        caller = await caller_of(request, self.services.store, "calls.write")
        wanted = await body_of(request, QueueWish)
        order = await self._order(caller.account_id, wanted, caller.user)
        async with self.services.store.writing() as connection:
            entry = await queue.add(connection, order)
            await audit.note(connection, caller, "call queued", str(entry.id), {"to": entry.address})
        self.services.dialler.wake()
        return JSONResponse(_view(entry), status_code=201, headers={"Location": f"/api/v1/queue/{entry.id}"})

    async def _order(self, account: str, wanted: QueueWish, source: str) -> Order:
        zone = _field("time_zone", zone_named, wanted.time_zone)
        not_before = _field("not_before", lambda text: parse_moment(text, zone), wanted.not_before)
        not_after = _field("not_after", lambda text: parse_moment(text, zone), wanted.not_after)
        schedule = _schedule(wanted.schedule)
        try:
            due = first_slot(schedule, zone, time.time(), not_before, not_after)
        except ValueError as error:
            field = "not_after" if not_after is not None else "schedule"
            raise ApiError(400, "bad_request", str(error), field=field) from None
        flow_id, document, dialect = await self._flow(account, wanted)
        return Order(
            account_id=account,
            address=wanted.to,
            trunk=wanted.trunk,
            flow_id=flow_id,
            document=document,
            dialect=dialect,
            wish=Wanted(
                caller=wanted.from_,
                caller_name=wanted.from_name,
                timeout=wanted.timeout,
                machine_detection=wanted.machine_detection,
                record=wanted.record,
                success=wanted.success,
                variables=wanted.variables,
            ).as_data(),
            schedule=schedule,
            zone=wanted.time_zone,
            not_before=not_before,
            not_after=not_after,
            due_at=due,
            source=source,
        )

    async def _flow(self, account: str, wanted: QueueWish) -> tuple[str | None, str | None, str]:
        """Id, document and dialect of the flow, which is looked at now: nobody is there when the call is made."""
        try:
            if not isinstance(wanted.flow, str):
                text = wanted.flow.text()
                await self.services.originator.inline(account, text, wanted.flow.dialect)
                return None, text, wanted.flow.dialect
            await self.services.originator.stored(account, wanted.flow)
            async with self.services.store.reading() as connection:
                return (await repository.get(connection, Flow, account, wanted.flow)).id, None, ""
        except Unknown as error:
            raise ApiError(422, "bad_flow", str(error), field="flow", findings=[]) from None
        except FlowError as error:
            findings = [{"code": each.code, "where": each.where, "message": each.message} for each in error.findings]
            raise ApiError(422, "bad_flow", str(error), field="flow", findings=findings) from None

    async def list(
        self,
        request: Request,
        state: Literal["", "queued", "active", "completed", "failed", "cancelled", "expired"] = "",
        before: Annotated[int | None, Field(ge=1, le=10**18)] = None,
        limit: Annotated[int, Field(ge=1, le=MOST_PER_PAGE)] = 50,
    ) -> Response:
        """The newest first."""
        caller = await caller_of(request, self.services.store, "calls.read")
        async with self.services.store.reading() as connection:
            found = await queue.page(connection, caller.account_id, state=state, before=before, limit=limit)
        following = found[-1].id if len(found) == limit else None
        return JSONResponse({"calls": [_view(entry) for entry in found], "next": following})

    async def one(self, request: Request, queued_id: str) -> Response:
        """200 with the call, or 404."""
        caller = await caller_of(request, self.services.store, "calls.read")
        try:
            async with self.services.store.reading() as connection:
                return JSONResponse(_view(await queue.get(connection, caller.account_id, _number(queued_id))))
        except NotQueued as error:
            raise ApiError(404, "not_found", str(error)) from None

    async def cancel(self, request: Request, queued_id: str, *, hang_up: bool = False) -> Response:
        """200 with a call that is cancelled. 202 when it is being made: it is not tried again, and with ``hang_up`` the
        call ends now. 409 when it was over.
        """
        caller = await caller_of(request, self.services.store, "calls.write")
        try:
            async with self.services.store.writing() as connection:
                before = await queue.get(connection, caller.account_id, _number(queued_id))
                entry = await queue.cancel(connection, caller.account_id, before.id)
                if before.state not in queue.FINAL:
                    await audit.note(connection, caller, "queued call cancelled", str(entry.id), {"hang_up": hang_up})
        except NotQueued as error:
            raise ApiError(404, "not_found", str(error)) from None
        if before.state in queue.FINAL:
            raise ApiError(409, "ended", f"the call is {before.state}")
        live = self.services.switch.calls.get(entry.call_id or "")
        if hang_up and live is not None:
            live.call.end("flow", f"hung up by {caller.user}")
        return JSONResponse(_view(entry), status_code=200 if entry.state == "cancelled" else 202)


def _field(name: str, read: Any, text: str) -> Any:
    """``text`` read; ``None`` when it is empty. Raises :class:`ApiError` that names the field."""
    try:
        return read(text) if text else None
    except ValueError as error:
        raise ApiError(400, "bad_request", f"{name}: {error}", field=name) from None


def _schedule(wish: ScheduleWish | None) -> Schedule | None:
    if wish is None:
        return None
    retries = _field("schedule.retries", parse_retries, wish.retries) or ()
    try:
        start, end = window(wish.from_, wish.to)
    except ValueError as error:
        raise ApiError(400, "bad_request", f"schedule: {error}", field="schedule") from None
    return Schedule(parse_days(wish.days), start, end, retries, wish.retry_all)


def _number(text: str) -> int:
    """The id in a path. Raises :class:`NotQueued` for what can be none."""
    if not _ID.fullmatch(text):
        raise NotQueued(f"there is no call {text[:40]!r} in the queue")
    return int(text)


def _when(moment: float | None) -> str | None:
    return iso(moment) if moment is not None else None


def _view(entry: Entry) -> dict[str, Any]:
    schedule = Schedule.of(entry.schedule) if entry.schedule is not None else None
    return {
        "id": entry.id,
        "state": entry.state,
        "result": entry.result,
        "to": entry.address,
        "trunk": entry.trunk or None,
        "flow": entry.flow_id,
        "attempts": entry.attempts,
        "due_at": _when(entry.due_at) if entry.state == queue.QUEUED else None,
        "not_before": _when(entry.not_before),
        "not_after": _when(entry.not_after),
        "time_zone": entry.zone,
        "schedule": None
        if schedule is None
        else {
            "days": sorted(schedule.days),
            "from": clock_text(schedule.start),
            "to": clock_text(schedule.end),
            "retries": [round(delay) for delay in schedule.retries],
            "retry_all": schedule.retry_all,
        },
        "call": entry.call_id,
        "reason": entry.reason,
        "sip": entry.sip_status,
        "created_at": iso(entry.created_at),
        "finished_at": _when(entry.finished_at),
    }

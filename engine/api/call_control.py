"""``POST /api/v1/calls/{id}/…``: what may be done with a call that lives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from engine.api.answers import schema_of
from engine.api.documents import Dialect, text_of
from engine.api.guard import ApiError, body_of, caller_of
from engine.api.parties import party
from engine.calls.control import Control, ControlRefused
from engine.calls.services import Ready
from engine.calls.supervisor import Supervisor
from engine.calls.switch import Switch
from engine.store import Store


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class InlineFlow(Model):
    """A flow in the request itself: ``document`` is text (XML, JSON) or a JSON value."""

    document: Any
    dialect: Dialect = ""

    def text(self) -> str:
        """The document as text."""
        return text_of(self.document)


Side = Literal["", "line", "peer"]


class PartyWish(Model):
    """The body of ``hold`` and ``resume``; it may be left out."""

    party: Side = ""


class TransferWish(Model):
    """The body of ``transfer``."""

    to: Annotated[str, Field(max_length=512), AfterValidator(party)]
    attended: bool = False
    leaves: Side = ""


class FlowWish(Model):
    """The body of ``flow``."""

    flow: Annotated[str, Field(min_length=1)] | InlineFlow


class NoWish(Model):
    """There is nothing to say."""


_STATUS = {"no_target": 422, "not_allowed": 403}
"""By what is wrong with the target; everything else is a conflict."""

Action = Callable[[Request, str], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class LiveCalls:
    """The endpoints. ``over`` says what is wrong with a call that does not live."""

    store: Store
    switch: Switch
    ready: Callable[[str, str | InlineFlow], Awaitable[Ready]]
    over: Callable[[str, str], Awaitable[ApiError]]
    view: Callable[[Supervisor], dict[str, Any]]

    def actions(self) -> list[tuple[str, Action, type[Model], str]]:
        """The last part of the path, what it does, its body, and all that in words."""
        return [
            ("hold", self.hold, PartyWish, "Put somebody on hold, with music"),
            ("resume", self.resume, PartyWish, "Take off hold whoever is"),
            ("transfer", self.transfer, TransferWish, "Hand the call on to somebody else"),
            ("record", self.record, NoWish, "Record the call from now on"),
            ("stop-record", self.stop_record, NoWish, "Record the call no longer"),
            ("flow", self.flow, FlowWish, "Go on with another flow"),
        ]

    async def hold(self, request: Request, call_id: str) -> Response:
        """202 with the call; 409 when the telephone refuses."""
        call, by, _ = await self._call(request, call_id)
        party = (await body_of(request, PartyWish, optional=True)).party
        return await self._done(call, lambda control: control.hold(by=by, party=party))

    async def resume(self, request: Request, call_id: str) -> Response:
        """202 with the call."""
        call, by, _ = await self._call(request, call_id)
        party = (await body_of(request, PartyWish, optional=True)).party
        return await self._done(call, lambda control: control.resume(by=by, party=party))

    async def transfer(self, request: Request, call_id: str) -> Response:
        """202 with the call when it has begun; 422 when there is nobody of that name."""
        call, by, _ = await self._call(request, call_id)
        wish = await body_of(request, TransferWish)
        return await self._done(
            call, lambda control: control.transfer(wish.to, attended=wish.attended, by=by, leaves=wish.leaves)
        )

    async def record(self, request: Request, call_id: str) -> Response:
        """202 with the call, also if it is recorded already."""
        call, by, _ = await self._call(request, call_id)
        await body_of(request, NoWish, optional=True)
        return await self._done(call, lambda control: control.start_recording(by=by))

    async def stop_record(self, request: Request, call_id: str) -> Response:
        """202 with the call, also if it is not recorded."""
        call, by, _ = await self._call(request, call_id)
        await body_of(request, NoWish, optional=True)
        return await self._done(call, lambda control: control.stop_recording(by=by))

    async def flow(self, request: Request, call_id: str) -> Response:
        """202 with the call; 422 for a flow that is not there or not good."""
        call, by, account = await self._call(request, call_id)
        ready = await self.ready(account, (await body_of(request, FlowWish)).flow)
        return await self._done(call, lambda control: control.replace_flow(ready, by=by))

    async def _call(self, request: Request, call_id: str) -> tuple[Supervisor, str, str]:
        """The call, who asks, and the account."""
        caller = await caller_of(request, self.store, "calls.write")
        call = own_call(self.switch, caller.account_id, call_id)
        if call is None:
            raise await self.over(caller.account_id, call_id)
        return call, caller.user, caller.account_id

    async def _done(self, call: Supervisor, act: Callable[[Control], Awaitable[Any]]) -> Response:
        try:
            await act(Control(call))
        except ControlRefused as refused:
            field = {"field": "to"} if refused.code in _STATUS else {}
            raise ApiError(_STATUS.get(refused.code, 409), refused.code, str(refused), **field) from None
        return JSONResponse(self.view(call), status_code=202)


def documented(body: type[Model], *, required: bool = True) -> dict[str, Any]:
    """What OpenAPI is told of a body."""
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema_of(body)}}}}


def own_call(switch: Switch, account: str, call_id: str) -> Supervisor | None:
    """A call of the account that lives."""
    call = switch.calls.get(call_id)
    return call if call is not None and call.plan.account == account else None

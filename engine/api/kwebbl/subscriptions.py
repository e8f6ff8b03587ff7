"""``/subscriptions``: who is told what of the company's calls.

A subscription belongs to the user and the application that made it; whoever has ``calls.events`` sees those of all
users of the application in the company.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import ColumnElement, RowMapping, Table, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import audit, repository
from engine.api.kwebbl.agents import read_agents
from engine.api.kwebbl.documents import SUBSCRIPTION, SUBSCRIPTION_WISH, told
from engine.api.kwebbl.errors import Grant, RealtimeRoute, grant_of, invalid, not_there
from engine.api.kwebbl.wishes import Draft, draft_of
from engine.api.reading import as_json, octets
from engine.api.services import ApiServices
from engine.callbacks.rows import host_of
from engine.store.models import PENDING, Delivery
from engine.store.realtime import EventSubscription, delivered_as

MOST_SUBSCRIPTIONS = 100
"""Of one user and application."""

_TABLE, _DELIVERIES = cast("Table", EventSubscription.__table__), cast("Table", Delivery.__table__)
_SCOPES = ("calls.events", "calls.events.personal", "calls.events.presence")


def subscription_routes(services: ApiServices, changed: Callable[[], None]) -> APIRouter:
    """The endpoints. ``changed`` is called when there are others than before."""
    desk = _Desk(services, changed)
    api = APIRouter(prefix="/subscriptions", route_class=RealtimeRoute, tags=["Kwebbl"])
    one = "/{subscription_id}"
    api.add_api_route(
        "", desk.list, methods=["GET"], summary="List subscriptions", responses=told(200, [SUBSCRIPTION], 401, 403)
    )
    api.add_api_route(
        "",
        desk.make,
        methods=["POST"],
        summary="Subscribe to events",
        status_code=201,
        responses=told(201, SUBSCRIPTION, 400, 401, 403),
        openapi_extra=SUBSCRIPTION_WISH,
    )
    api.add_api_route(
        one, desk.one, methods=["GET"], summary="A subscription", responses=told(200, SUBSCRIPTION, 401, 403, 404)
    )
    api.add_api_route(
        one,
        desk.cancel,
        methods=["DELETE"],
        summary="Cancel a subscription",
        responses=told(200, {"type": "object", "properties": {"ok": {"type": "boolean"}}}, 401, 403, 404),
    )
    return api


@dataclass(frozen=True, slots=True)
class _Desk:
    services: ApiServices
    changed: Callable[[], None]

    async def list(self, request: Request) -> Response:
        """All of the caller's, the oldest first."""
        grant = await grant_of(request, self.services.store, *_SCOPES)
        query = select(_TABLE).where(*_own(grant)).order_by(_TABLE.c.created_at, _TABLE.c.id)
        async with self.services.store.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return JSONResponse([view(row) for row in rows])

    async def make(self, request: Request) -> Response:
        """201 with the new one."""
        grant = await grant_of(request, self.services.store, *_SCOPES)
        body = as_json(await octets(request))
        allow_private = self.services.config.callbacks.allow_private
        async with self.services.store.writing() as connection:
            agents = await read_agents(connection, grant.account)
            row = await _add(connection, grant, draft_of(body, grant, agents, allow_private=allow_private))
            detail = {"host": host_of(row["callback_url"]), "event_types": row["event_types"]}
            await audit.note(connection, grant.caller, "subscription made", row["id"], detail)
        self.changed()
        return JSONResponse(view(row), status_code=201)

    async def one(self, request: Request, subscription_id: str) -> Response:
        """One of the caller's, or 404."""
        grant = await grant_of(request, self.services.store, *_SCOPES)
        query = select(_TABLE).where(*_own(grant), _TABLE.c.id == subscription_id)
        async with self.services.store.reading() as connection:
            row = (await connection.execute(query)).mappings().first()
        if row is None:
            raise not_there("the subscription")
        return JSONResponse(view(row))

    async def cancel(self, request: Request, subscription_id: str) -> Response:
        """It gets nothing more, not even what it is owed."""
        grant = await grant_of(request, self.services.store, *_SCOPES)
        async with self.services.store.writing() as connection:
            gone = await connection.execute(delete(_TABLE).where(*_own(grant), _TABLE.c.id == subscription_id))
            if gone.rowcount != 1:
                raise not_there("the subscription")
            theirs = (_DELIVERIES.c.subscription == delivered_as(subscription_id), _DELIVERIES.c.state == PENDING)
            await connection.execute(delete(_DELIVERIES).where(*theirs))
            await audit.note(connection, grant.caller, "subscription cancelled", subscription_id)
        self.changed()
        return JSONResponse({"ok": True})


def _own(grant: Grant) -> list[ColumnElement[bool]]:
    """Which rows the token may see."""
    where = [_TABLE.c.account_id == grant.account, _TABLE.c.client_id == grant.caller.client_id]
    if not grant.has("calls.events"):
        where.append(_TABLE.c.user_id == grant.caller.user_id)
    return where


async def _add(connection: AsyncConnection, grant: Grant, draft: Draft) -> dict[str, Any]:
    owner = (_TABLE.c.user_id == grant.caller.user_id, _TABLE.c.client_id == grant.caller.client_id)
    known = await connection.scalar(select(func.count()).select_from(_TABLE).where(*owner))
    if known is not None and known >= MOST_SUBSCRIPTIONS:
        raise invalid(f"there are {MOST_SUBSCRIPTIONS} subscriptions already; cancel one first")
    row: dict[str, Any] = {
        "id": repository.new_id(),
        "account_id": grant.account,
        "user_id": grant.caller.user_id,
        "client_id": grant.caller.client_id,
        "event_types": draft.event_types,
        "agents": draft.agents,
        "mode": draft.mode,
        "reach": draft.reach,
        "callback_url": draft.callback_url,
        "failures": 0,
        "error": None,
        "suspended_at": None,
        "created_at": time.time(),
    }
    await connection.execute(insert(_TABLE), row)
    return row


def view(row: RowMapping | dict[str, Any]) -> dict[str, Any]:
    """As the API shows it; the last three are ours."""
    return {
        "id": row["id"],
        "event_types": row["event_types"],
        "agents": row["agents"],
        "mode": row["mode"],
        "callback_url": row["callback_url"],
        "callback_content_type": "application/json",
        "status": "active" if row["suspended_at"] is None else "suspended",
        "failures": row["failures"],
        "last_error": row["error"],
    }

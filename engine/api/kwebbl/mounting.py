"""All routes of the Realtime API: under ``/v100``, and ``/authorize`` and ``/token`` at the root too."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from engine.api.kwebbl.consent import consent_routes
from engine.api.kwebbl.errors import no_such
from engine.api.kwebbl.exchange import token_routes
from engine.api.kwebbl.extensions import extension_routes
from engine.api.kwebbl.managing import managing_routes
from engine.api.kwebbl.placing import placing_routes
from engine.api.kwebbl.subscriptions import subscription_routes
from engine.api.kwebbl.telling import Patience, Teller
from engine.api.paths import ANYTHING
from engine.api.services import ApiServices

BASE = "/v100"


def mount(services: ApiServices) -> APIRouter:
    """The routes; events are told and failures counted from now on."""
    config = services.config.realtime
    teller = Teller(hyphens=config.spelling == "hyphens")
    services.callbacks.announcements.add(teller)
    patience = Patience(services.store, config.suspend_after)
    services.callbacks.on_settled(patience.settled)
    services.background(patience.run())
    oauth = (consent_routes(services), token_routes(services))
    base = APIRouter(prefix=BASE)
    for routes in (
        *oauth,
        extension_routes(services),
        subscription_routes(services, teller.changed),
        placing_routes(services),
        managing_routes(services),
    ):
        base.include_router(routes)
    every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    base.add_api_route(f"/{{rest:{ANYTHING}}}", _nothing, methods=every, include_in_schema=False)
    api = APIRouter()
    for routes in (*oauth, base):
        api.include_router(routes)
    return api


async def _nothing(request: Request) -> Response:
    return no_such(request)

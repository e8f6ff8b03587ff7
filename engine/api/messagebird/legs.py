"""Legs of calls: seen, put on hold, hung up."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request, Response

from engine.api.messagebird.answers import many, nothing, one, page_of
from engine.api.messagebird.controlling import leg_held, leg_hung_up
from engine.api.messagebird.door import caller_of, query_of
from engine.api.messagebird.finding import Finder, Found
from engine.api.services import ApiServices
from flows.uuids import dashed


@dataclass(frozen=True, slots=True)
class Legs:
    """The endpoints."""

    services: ApiServices
    finder: Finder

    async def list(self, request: Request, call_id: str) -> Response:
        caller = await caller_of(request, self.services.store, "calls.read")
        page = page_of(query_of(request))
        found = await self.finder.call(caller.account_id, call_id)
        legs = found.legs()
        path = f"/calls/{dashed(found.row.id)}/legs"
        return many(path, legs[page.offset : page.offset + page.size], page, len(legs))

    async def one(self, request: Request, call_id: str, leg_id: str) -> Response:
        caller = await caller_of(request, self.services.store, "calls.read")
        _, _, leg = await self.finder.leg(caller.account_id, call_id, leg_id)
        return one(leg)

    async def alone(self, request: Request, leg_id: str) -> Response:
        """A leg by its id alone."""
        caller = await caller_of(request, self.services.store, "calls.read")
        found, _ = await self.finder.part(caller.account_id, leg_id, "leg")
        return one(self.finder.leg_of(found, leg_id)[2])

    async def hang_up(self, request: Request, leg_id: str) -> Response:
        found, number, by = await self._wanted(request, leg_id)
        await leg_hung_up(found, number, by)
        return nothing()

    async def hold(self, request: Request, leg_id: str) -> Response:
        return await self._held(request, leg_id, hold=True)

    async def unhold(self, request: Request, leg_id: str) -> Response:
        return await self._held(request, leg_id, hold=False)

    async def _held(self, request: Request, leg_id: str, *, hold: bool) -> Response:
        found, number, by = await self._wanted(request, leg_id)
        await leg_held(found, number, by, hold=hold)
        return await self.alone(request, leg_id)

    async def _wanted(self, request: Request, leg_id: str) -> tuple[Found, int, str]:
        """The call, which leg of it, and who asks."""
        caller = await caller_of(request, self.services.store, "calls.write")
        found, part = await self.finder.part(caller.account_id, leg_id, "leg")
        self.finder.leg_of(found, leg_id)
        return found, part.number, caller.user

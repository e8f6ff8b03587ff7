"""Legs of calls: seen, put on hold, hung up."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request, Response

from engine.api.messagebird.answers import impossible, many, nothing, one, page_of
from engine.api.messagebird.door import caller_of, query_of
from engine.api.messagebird.finding import Finder, Found
from engine.api.services import ApiServices
from engine.calls.supervisor import Supervisor
from flows.uuids import OWN_LEG, dashed


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
        caller = await caller_of(request, self.services.store, "calls.write")
        call = await self._live(caller.account_id, leg_id)
        call.call.end("flow", f"hung up by {caller.user}")
        return nothing()

    async def hold(self, request: Request, leg_id: str) -> Response:
        caller = await caller_of(request, self.services.store, "calls.write")
        call = await self._live(caller.account_id, leg_id)
        if not await call.hold():
            raise impossible("The leg cannot be put on hold now.")
        return await self.alone(request, leg_id)

    async def unhold(self, request: Request, leg_id: str) -> Response:
        caller = await caller_of(request, self.services.store, "calls.write")
        call = await self._live(caller.account_id, leg_id)
        if not await call.resume():
            raise impossible("The leg cannot be taken off hold now.")
        return await self.alone(request, leg_id)

    async def _live(self, account: str, leg_id: str) -> Supervisor:
        """The call whose own leg it is, while it lives."""
        found, part = await self.finder.part(account, leg_id, "leg")
        self.finder.leg_of(found, leg_id)
        return self._controlled(found, part.number)

    def _controlled(self, found: Found, number: int) -> Supervisor:
        if found.live is None:
            raise impossible("The leg has ended already.")
        if number != OWN_LEG:
            raise impossible("Only the call's own leg can be controlled; the flow has the others.")
        return found.live

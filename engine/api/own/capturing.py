"""``/api/v1/calls/{id}/capture``: all of a call in one ZIP, for whoever looks for a fault."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

from engine.accounts import callbook
from engine.api.guard import ApiError, GuardedRoute, caller_of
from engine.api.own.telling import record_of
from engine.api.services import ApiServices
from engine.captures.archive import archive
from engine.transport.tap import Seen


def mount(services: ApiServices) -> APIRouter:
    """The endpoints."""
    captures = _Captures(services)
    api = APIRouter(prefix="/api/v1/calls/{call_id}/capture", route_class=GuardedRoute, tags=["Ivrea: calls"])
    api.add_api_route(
        "", captures.want, methods=["POST"], status_code=202, summary="Keep the SIP messages of a call that lives"
    )
    api.add_api_route(
        "", captures.get, methods=["GET"], response_class=Response,
        summary="A call in a ZIP: ladder, packets, record, recordings",
    )  # fmt: skip
    return api


@dataclass(frozen=True, slots=True)
class _Captures:
    services: ApiServices

    async def want(self, request: Request, call_id: str) -> dict[str, str]:
        """Keep what is said over SIP on a live call, from its begin; for a week."""
        caller = await caller_of(request, self.services.store, "calls.write")
        call = self.services.switch.calls.get(call_id)
        if call is None or call.plan.account != caller.account_id:
            raise ApiError(404, "not_found", f"there is no live call {call_id!r}")
        self.services.captures.want(call_id)
        return {"call": call_id}

    async def get(self, request: Request, call_id: str) -> Response:
        """``ladder.txt``, ``sip.pcap`` (pressed digits and keys are not in it), ``record.json`` and the recordings.

        Of a live call what was seen so far; of one that has ended what was wanted, or 404.
        """
        account = (await caller_of(request, self.services.store, "calls.read")).account_id
        record = await record_of(self.services, account, call_id)
        messages = await self._messages(call_id)
        if not messages:
            raise ApiError(404, "not_captured", "nothing of the call was kept: ask for its capture while it lives")
        async with self.services.store.reading() as connection:
            recordings = [Path(row.path) for row in await callbook.recordings(connection, account, call_id)]
        data = await asyncio.to_thread(archive, messages, record, recordings)
        headers = {"Content-Disposition": f'attachment; filename="{call_id}.zip"'}
        return Response(data, media_type="application/zip", headers=headers)

    async def _messages(self, call_id: str) -> list[Seen]:
        kept = await self.services.captures.messages(call_id)
        call = self.services.switch.calls.get(call_id)
        if call is not None and call.session is not None:
            kept += self.services.tap.seen(call.session.call_id)
        return kept

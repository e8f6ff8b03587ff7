"""``/api/v1/calls/{id}/capture``: all of a call in one ZIP, for whoever looks for a fault."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from engine.accounts import callbook
from engine.api.answers import TEXT, binary, shape, told
from engine.api.guard import ApiError, GuardedRoute, caller_of
from engine.api.own.telling import record_of
from engine.api.services import ApiServices
from engine.captures.archive import archive
from engine.captures.media import CapturedMedia
from engine.transport.tap import Seen

AT_ONCE = 2
"""Archives that are made at a time: each takes a core, and the space of all recordings of a call."""

_PIECE = 256 * 1024


def mount(services: ApiServices) -> APIRouter:
    """The endpoints."""
    captures = _Captures(services)
    api = APIRouter(prefix="/api/v1/calls/{call_id}/capture", route_class=GuardedRoute, tags=["Ivrea: calls"])
    api.add_api_route(
        "", captures.want, methods=["POST"], status_code=202, summary="Keep SIP and RTP of a call that lives",
        responses={202: told(shape(call=TEXT), "They are kept.")},
    )  # fmt: skip
    api.add_api_route(
        "", captures.get, methods=["GET"], response_class=Response,
        summary="A call in a ZIP: ladder, packets, record, recordings", responses={200: binary("application/zip")},
    )  # fmt: skip
    return api


@dataclass(frozen=True, slots=True)
class _Captures:
    services: ApiServices
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def want(self, request: Request, call_id: str) -> dict[str, str]:
        """Keep what is said over SIP on a live call, from its begin, and its RTP from now on; for a week."""
        caller = await caller_of(request, self.services.store, "calls.write")
        call = self.services.switch.calls.get(call_id)
        if call is None or call.plan.account != caller.account_id:
            raise ApiError(404, "not_found", f"there is no live call {call_id!r}")
        self.services.captures.want(call_id)
        return {"call": call_id}

    async def get(self, request: Request, call_id: str) -> Response:
        """``ladder.txt``, ``call.pcap`` (SIP, RTP and RTCP, without keys of SRTP and digits pressed in secret),
        ``capture.json`` (what of the RTP is there), ``record.json`` and the recordings.

        Of a live call what was seen so far; of one that has ended what was wanted, or 404.
        """
        account = (await caller_of(request, self.services.store, "calls.read")).account_id
        record = await record_of(self.services, account, call_id)
        messages, media = await self._messages(call_id), await self._media(call_id)
        if not messages and not media:
            raise ApiError(404, "not_captured", "nothing of the call was kept: ask for its capture while it lives")
        async with self.services.store.reading() as connection:
            recordings = [Path(row.path) for row in await callbook.recordings(connection, account, call_id)]
        file = tempfile.TemporaryFile(dir=self.services.config.store.state)  # noqa: SIM115 - closed when it is sent
        async with self.room:
            await asyncio.to_thread(archive, file, messages, media, record, recordings)
        size = file.seek(0, os.SEEK_END)
        headers = {"Content-Disposition": f'attachment; filename="{call_id}.zip"', "Content-Length": str(size)}
        return StreamingResponse(_pieces(file), media_type="application/zip", headers=headers)

    async def _messages(self, call_id: str) -> list[Seen]:
        kept = await self.services.captures.messages(call_id)
        call = self.services.switch.calls.get(call_id)
        if call is not None and call.session is not None:
            kept += self.services.tap.seen(call.session.call_id)
        return kept

    async def _media(self, call_id: str) -> CapturedMedia:
        lives = call_id in self.services.switch.calls
        return await self.services.captures.captured_media(call_id, lives=lives)


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    """All of a file, which is closed (and gone) at the end, or when nobody wants more."""
    try:
        file.seek(0)
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
    finally:
        file.close()

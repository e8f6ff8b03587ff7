"""``/api/v1/calls/{id}/record`` and its recordings: all that is known of a call, and its sound."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from engine.accounts import callbook
from engine.api.answers import ANYTHING, NUMBER, TEXT, Json, binary, choice, many, schema_of_row, shape, table, told
from engine.api.guard import ApiError, GuardedRoute, caller_of
from engine.api.services import ApiServices

FLUSH_PATIENCE = 1.0
_KINDS = {".wav": "audio/wav", ".mp3": "audio/mpeg"}


def mount(services: ApiServices) -> APIRouter:
    """The endpoints."""
    calls = _Records(services)
    api = APIRouter(prefix="/api/v1/calls/{call_id}", route_class=GuardedRoute, tags=["Ivrea: calls"])
    everything = shape(
        call=schema_of_row(callbook.CallRow),
        legs=many(schema_of_row(callbook.LegRow)),
        recordings=many(_RECORDING),
        timeline=many(shape(at=NUMBER, kind=TEXT, detail=table(ANYTHING))),
    )
    api.add_api_route(
        "/record", calls.record, methods=["GET"], summary="All that is known of a call, with its timeline",
        responses={200: told(everything)},
    )  # fmt: skip
    api.add_api_route(
        "/recordings", calls.recordings, methods=["GET"], summary="The recordings of a call",
        responses={200: told(shape(recordings=many(_RECORDING)))},
    )  # fmt: skip
    files: Json = {"description": "The file.", "content": {}}
    for kind in (*_KINDS.values(), "application/octet-stream"):
        files["content"] |= binary(kind)["content"]
    api.add_api_route(
        "/recordings/{number}", calls.sound, methods=["GET"], summary="The sound of a recording",
        response_class=Response, responses={200: files},
    )  # fmt: skip
    return api


_RECORDING = shape(**schema_of_row(callbook.RecordingRow)["properties"], status=choice("recording", "done"))


@dataclass(frozen=True, slots=True)
class _Records:
    services: ApiServices

    async def record(self, request: Request, call_id: str) -> dict[str, Any]:
        """The call, its legs, recordings and everything that happened, in order; also while it lasts."""
        account = (await caller_of(request, self.services.store, "calls.read")).account_id
        return await record_of(self.services, account, call_id)

    async def recordings(self, request: Request, call_id: str) -> dict[str, Any]:
        """The recordings of a call."""
        return {"recordings": [_told(each) for each in await self._recordings(request, call_id)]}

    async def _recordings(self, request: Request, call_id: str) -> list[callbook.RecordingRow]:
        account = (await caller_of(request, self.services.store, "calls.read")).account_id
        await self.services.callbacks.flush(FLUSH_PATIENCE)
        async with self.services.store.reading() as connection:
            if await callbook.call(connection, account, call_id) is None:
                raise ApiError(404, "not_found", f"there is no call {call_id!r}")
            return await callbook.recordings(connection, account, call_id)

    async def sound(self, request: Request, call_id: str, number: str) -> Response:
        """The file of a recording, also while it is being written: by its ``id``, or by its file's name (``path``, with
        or without what is behind the dot), which flows tell as the recording's URL.
        """
        rows = await self._recordings(request, call_id)
        found = next((row for row in rows if number in (str(row.id), Path(row.path).name, Path(row.path).stem)), None)
        path = Path(found.path) if found is not None else None
        if path is None or not path.is_file():
            raise ApiError(404, "not_found", f"there is no recording {number!r} of the call")
        kind = _KINDS.get(path.suffix, "application/octet-stream")
        return FileResponse(path, media_type=kind, filename=path.name)


async def record_of(services: ApiServices, account: str, call_id: str) -> dict[str, Any]:
    """All that the database has of a call. Raises :class:`ApiError` (404)."""
    await services.callbacks.flush(FLUSH_PATIENCE)
    async with services.store.reading() as connection:
        call = await callbook.call(connection, account, call_id)
        if call is None:
            raise ApiError(404, "not_found", f"there is no call {call_id!r}")
        legs = await callbook.legs(connection, account, call_id)
        recordings = await callbook.recordings(connection, account, call_id)
        timeline = await callbook.timeline(connection, account, call_id)
    return {
        "call": asdict(call),
        "legs": [asdict(leg) for leg in legs],
        "recordings": [_told(each) for each in recordings],
        "timeline": timeline,
    }


def _told(row: callbook.RecordingRow) -> dict[str, Any]:
    told = asdict(row)
    return {**told, "path": Path(row.path).name, "status": "recording" if row.seconds is None else "done"}

"""``/api/v1/media``: sounds that flows name without a URL. A file that cannot be decoded is not taken."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from engine.accounts import audit, repository
from engine.accounts.entities import Media
from engine.api.answers import NUMBER, TEXT, WHOLE, Responses, binary, many, nothing, shape, told
from engine.api.guard import ERROR, ApiError, GuardedRoute, caller_of
from engine.api.own.resources import refusing
from engine.api.reading import Unreadable, media_type, octets
from engine.api.services import ApiServices
from media.files import MediaError, import_media
from media.tts.store import PromptStore

MAX_SOUND = 32 * 1024 * 1024
"""Octets of an uploaded sound: an hour and more of WAV at 8 kHz mono."""


def mount(services: ApiServices) -> APIRouter:
    """The endpoints."""
    sounds = _Sounds(services)
    api = APIRouter(prefix="/api/v1/media", route_class=GuardedRoute, tags=["Ivrea: media"])
    upload: dict[str, Any] = {
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("audio/*",)},
        }
    }
    api.add_api_route(
        "", sounds.list, methods=["GET"], summary="List stored sounds", responses={200: told(shape(media=many(_SOUND)))}
    )
    stored: Responses = {201: told(_SOUND, "Stored."), 422: told(ERROR, "It cannot be played.")}
    api.add_api_route(
        "/{name:path}", sounds.put, methods=["PUT"], status_code=201, summary="Store a sound", openapi_extra=upload,
        responses=stored,
    )  # fmt: skip
    api.add_api_route(
        "/{name:path}", sounds.get, methods=["GET"], summary="The content of a sound", response_class=Response,
        responses={200: binary("*/*", "As it was stored, with its type.")},
    )  # fmt: skip
    api.add_api_route(
        "/{name:path}", sounds.remove, methods=["DELETE"], status_code=204, summary="Delete a sound",
        responses={204: nothing("Deleted.")},
    )  # fmt: skip
    return api


_SOUND = shape(id=TEXT, name=TEXT, content_type=TEXT, size=WHOLE, sha256=TEXT, created_at=NUMBER)


@dataclass(frozen=True, slots=True)
class _Sounds:
    services: ApiServices

    async def list(self, request: Request) -> dict[str, Any]:
        """All sounds of the account."""
        caller = await caller_of(request, self.services.store, "flows.read")
        async with self.services.store.reading() as connection:
            found = await repository.all_of(connection, Media, caller.account_id)
        return {"media": [_told(each) for each in found]}

    async def put(self, request: Request, name: str) -> Response:
        """Store the body under ``name``: 201, or 409 when there is one; 422 when it is no sound that can be played."""
        caller = await caller_of(request, self.services.store, "flows.write")
        if not name or len(name) > 200 or not name.isprintable() or name.startswith(("/", ".")):
            raise ApiError(400, "bad_request", "name: must be 1 to 200 printable characters", field="name")
        try:
            data = await octets(request, MAX_SOUND)
        except Unreadable as error:
            raise ApiError(error.status, "too_large", str(error)) from None
        await self._hear(name, data)
        kind = media_type(request) or "application/octet-stream"
        added = self.services.shelf.add(caller.account_id, name, data, content_type=kind[:100])
        stored = await refusing(added)
        async with self.services.store.writing() as connection:
            await audit.note(connection, caller, "media stored", stored.id, {"name": name, "size": stored.size})
        return JSONResponse(_told(stored), status_code=201)

    async def _hear(self, name: str, data: bytes) -> None:
        """Decode it as a call would, in a process of its own. Raises :class:`ApiError`."""
        store = PromptStore(Path(self.services.config.store.state) / "prompts")
        with tempfile.TemporaryDirectory(prefix="ivrea-upload-") as folder:
            file = Path(folder) / "sound"
            await asyncio.to_thread(file.write_bytes, data)
            try:
                await import_media(file, store, name=name)
            except MediaError as error:
                raise ApiError(422, "bad_media", str(error)) from None

    async def get(self, request: Request, name: str) -> Response:
        """The file as it was stored, by id or name."""
        caller = await caller_of(request, self.services.store, "flows.read")
        async with self.services.store.reading() as connection:
            found = await refusing(repository.get(connection, Media, caller.account_id, name))
        headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
        return FileResponse(self.services.shelf.folder / found.digest, media_type=found.content_type, headers=headers)

    async def remove(self, request: Request, name: str) -> Response:
        """Delete a sound. Its file goes when no account has the same one."""
        caller = await caller_of(request, self.services.store, "flows.write")
        async with self.services.store.writing() as connection:
            found = await refusing(repository.get(connection, Media, caller.account_id, name))
            await repository.remove(connection, Media, caller.account_id, found.id)
            await audit.note(connection, caller, "media deleted", found.id, {"name": found.name})
        await self.services.shelf.clear(found.digest)
        return Response(status_code=204)


def _told(media: Media) -> dict[str, Any]:
    return {
        "id": media.id,
        "name": media.name,
        "content_type": media.content_type,
        "size": media.size,
        "sha256": media.digest,
        "created_at": media.created_at,
    }

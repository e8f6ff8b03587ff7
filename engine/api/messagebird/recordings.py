"""Recordings of legs and their files, transcriptions of them: as parts of a call, or by their ids alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse, PlainTextResponse

from engine.accounts import audit, callbook
from engine.accounts.callbook import RecordingRow
from engine.api.messagebird import views
from engine.api.messagebird.answers import impossible, many, not_found, nothing, one, page_of
from engine.api.messagebird.door import caller_of, object_of, query_of, text_in
from engine.api.messagebird.finding import Finder, Found, is_there
from engine.api.services import ApiServices
from engine.store import transcriptions
from engine.transcripts import Transcripts
from flows.uuids import dashed, leg_uuid, recording_uuid

KINDS = {"wav": "audio/wav", "mp3": "audio/mpeg"}

MOST_TRANSCRIPTIONS = 20
"""Transcriptions of a recording."""

DEFAULT_LANGUAGE = "en-US"


@dataclass(frozen=True, slots=True)
class Recordings:
    """The endpoints. ``call_id`` and ``leg_id`` are ``None`` in the short forms of paths."""

    services: ApiServices
    finder: Finder
    transcripts: Transcripts

    async def list(self, request: Request, call_id: str, leg_id: str) -> Response:
        caller = await caller_of(request, self.services.store, "calls.read")
        page = page_of(query_of(request))
        found, rows = await self.finder.recordings(caller.account_id, call_id, leg_id)
        shown = [_shown(found, row) for row in rows[page.offset : page.offset + page.size]]
        path = f"/calls/{dashed(found.row.id)}/legs/{leg_uuid(found.row.id)}/recordings"
        return many(path, shown, page, len(rows))

    async def one(
        self, request: Request, recording_id: str, call_id: str | None = None, leg_id: str | None = None
    ) -> Response:
        caller = await caller_of(request, self.services.store, "calls.read")
        found, row, _ = await self.finder.recording(caller.account_id, recording_id, call_id, leg_id)
        return one(_shown(found, row))

    async def wav(
        self, request: Request, recording_id: str, call_id: str | None = None, leg_id: str | None = None
    ) -> Response:
        return await self._file(request, "wav", recording_id, call_id, leg_id)

    async def mp3(
        self, request: Request, recording_id: str, call_id: str | None = None, leg_id: str | None = None
    ) -> Response:
        return await self._file(request, "mp3", recording_id, call_id, leg_id)

    async def _file(
        self, request: Request, kind: str, recording_id: str, call_id: str | None, leg_id: str | None
    ) -> Response:
        caller = await caller_of(request, self.services.store, "calls.read")
        _, row, _ = await self.finder.recording(caller.account_id, recording_id, call_id, leg_id)
        if row.seconds is None or Path(row.path).suffix != f".{kind}" or not await is_there(row.path):
            raise not_found("file of the recording")
        return FileResponse(row.path, media_type=KINDS[kind], filename=f"{recording_id}.{kind}")

    async def remove(
        self, request: Request, recording_id: str, call_id: str | None = None, leg_id: str | None = None
    ) -> Response:
        caller = await caller_of(request, self.services.store, "calls.write")
        found, row, number = await self.finder.recording(caller.account_id, recording_id, call_id, leg_id)
        if row.seconds is None and found.live is not None:
            raise impossible("The recording is still being made.")
        await asyncio.to_thread(_unlink, row.path)
        async with self.services.store.writing() as connection:
            await callbook.forget_recording(connection, row)
            await transcriptions.forget(connection, caller.account_id, row.call_id, number)
            await audit.note(connection, caller, "recording deleted", row.call_id, {"path": row.path})
        return nothing()

    # --- transcriptions -------------------------------------------------------------------

    async def transcriptions(
        self, request: Request, recording_id: str, call_id: str | None = None, leg_id: str | None = None
    ) -> Response:
        caller = await caller_of(request, self.services.store, "calls.read")
        page = page_of(query_of(request))
        _, row, number = await self.finder.recording(caller.account_id, recording_id, call_id, leg_id)
        async with self.services.store.reading() as connection:
            found = await transcriptions.all_of(connection, caller.account_id, row.call_id, number)
        shown = [views.transcription_view(each) for each in found[page.offset : page.offset + page.size]]
        return many(_path(row, number), shown, page, len(found))

    async def transcribe(
        self, request: Request, recording_id: str, call_id: str | None = None, leg_id: str | None = None
    ) -> Response:
        caller = await caller_of(request, self.services.store, "calls.write")
        body = await object_of(request, may_be_empty=True)
        language = text_in(body, "language", most=35, required=False) or DEFAULT_LANGUAGE
        _, row, number = await self.finder.recording(caller.account_id, recording_id, call_id, leg_id)
        if row.seconds is None or row.reason:
            raise impossible("The recording is not complete.")
        async with self.services.store.reading() as connection:
            there = await transcriptions.all_of(connection, caller.account_id, row.call_id, number)
        if len(there) >= MOST_TRANSCRIPTIONS:
            raise impossible(f"The recording has {len(there)} transcriptions already.")
        made = await self.transcripts.ask(caller.account_id, row.call_id, number, row.path, language)
        return one(views.transcription_view(made), 201)

    async def transcription(
        self,
        request: Request,
        transcription_id: str,
        recording_id: str | None = None,
        call_id: str | None = None,
        leg_id: str | None = None,
    ) -> Response:
        caller = await caller_of(request, self.services.store, "calls.read")
        where = (recording_id, call_id, leg_id)
        return one(
            views.transcription_view(await self.finder.transcription(caller.account_id, transcription_id, *where))
        )

    async def text(
        self,
        request: Request,
        transcription_id: str,
        recording_id: str | None = None,
        call_id: str | None = None,
        leg_id: str | None = None,
    ) -> Response:
        caller = await caller_of(request, self.services.store, "calls.read")
        where = (recording_id, call_id, leg_id)
        found = await self.finder.transcription(caller.account_id, transcription_id, *where)
        if found.status != "done":
            raise not_found("text of the transcription")
        return PlainTextResponse(found.text or "")


def _shown(found: Found, row: RecordingRow) -> dict[str, object]:
    return views.recording_view(row, ended=found.live is None)


def _path(row: RecordingRow, number: int) -> str:
    leg, recording = leg_uuid(row.call_id), recording_uuid(row.call_id, number)
    return f"/calls/{dashed(row.call_id)}/legs/{leg}/recordings/{recording}/transcriptions"


def _unlink(path: str) -> None:
    Path(path).unlink(missing_ok=True)

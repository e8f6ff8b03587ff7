"""What is asked about, found in the caller's account: calls, legs, recordings, transcriptions by their UUIDs.

Calls that live are looked at where they are, the others and all else in the database; a call that has just begun or
ended may be on its way there, which is waited for. What is not there raises :class:`VoiceError` (404, 13), and so does
what belongs to somebody else.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.accounts import callbook
from engine.accounts.callbook import CallRow, LegRow, RecordingRow
from engine.api.messagebird import views
from engine.api.messagebird.answers import not_found
from engine.api.services import ApiServices
from engine.calls.outbound import OutgoingCall
from engine.calls.supervisor import Supervisor
from engine.store import transcriptions
from engine.store.transcriptions import Transcription
from flows.uuids import OWN_LEG, Part, calls_like, digits_of, part_of

FLUSH_PATIENCE = 1.0
"""Seconds to wait for the database to have what happened."""


@dataclass(frozen=True, slots=True)
class Found:
    """A call with its dialled legs; ``live`` while it is one of this process."""

    row: CallRow
    dialled: Sequence[LegRow]
    live: Supervisor | None = None

    @property
    def ringing(self) -> bool:
        """Whether a telephone is known to ring."""
        return isinstance(self.live, OutgoingCall) and self.live.state == "ringing"

    def legs(self) -> list[dict[str, Any]]:
        return views.legs_of(self.row, self.dialled, ringing=self.ringing)


@dataclass(frozen=True, slots=True)
class Finder:
    """Looks for an account."""

    services: ApiServices

    async def call(self, account: str, uuid: str) -> Found:
        """A call by its UUID."""
        call = digits_of(uuid)
        if not call:
            raise not_found("call")
        live = self.live(account, call)
        row, dialled = await self._stored(account, call)
        if row is None or (live is None and row.finished_at is None):
            await self.services.callbacks.flush(FLUSH_PATIENCE)
            row, dialled = await self._stored(account, call)
        if live is not None:
            row = live_row(live) if row is None else overlaid(row, live)
        if row is None:
            raise not_found("call")
        return Found(row, dialled, live)

    async def part(self, account: str, uuid: str, what: str) -> tuple[Found, Part]:
        """The call that has a leg or a recording (``what``), and which that is."""
        digits = digits_of(uuid)
        live = [
            call for call in self.services.switch.calls_of(account) if call.id.startswith(calls_like(digits) or "-")
        ]
        async with self.services.store.reading() as connection:
            rows = await callbook.calls_beginning(connection, account, calls_like(digits))
        for call in dict.fromkeys([*(each.id for each in live), *(each.id for each in rows)]):
            part = part_of(call, digits)
            if part is not None and part.kind == what:
                return await self.call(account, call), part
        raise not_found(what)

    async def leg(self, account: str, call_uuid: str, leg_uuid: str) -> tuple[Found, int, dict[str, Any]]:
        """A leg of a call: its number, and the object."""
        found = await self.call(account, call_uuid)
        return self.leg_of(found, leg_uuid)

    def leg_of(self, found: Found, leg_uuid: str) -> tuple[Found, int, dict[str, Any]]:
        digits = digits_of(leg_uuid)
        part = part_of(found.row.id, digits)
        for leg in found.legs():
            if part is not None and part.kind == "leg" and digits_of(leg["id"]) == digits:
                return found, part.number, leg
        raise not_found("leg")

    async def recordings(self, account: str, call_uuid: str, leg_uuid: str) -> tuple[Found, list[RecordingRow]]:
        """The recordings of a leg. All those of a call are made on its own leg."""
        found, number, _ = await self.leg(account, call_uuid, leg_uuid)
        if number != OWN_LEG:
            return found, []
        return found, await self._recordings(account, found)

    async def recording(
        self, account: str, uuid: str, call_uuid: str | None = None, leg_uuid: str | None = None
    ) -> tuple[Found, RecordingRow, int]:
        """A recording with its number, by its UUID alone or as one of a leg."""
        if call_uuid is not None and leg_uuid is not None:
            found, rows = await self.recordings(account, call_uuid, leg_uuid)
        else:
            found, _ = await self.part(account, uuid, "recording")
            rows = await self._recordings(account, found)
        part = part_of(found.row.id, digits_of(uuid))
        for row in rows:
            number = views.number_of_recording(row.call_id, row.path)
            if part is not None and part.kind == "recording" and number == part.number:
                return found, row, number
        raise not_found("recording")

    async def _recordings(self, account: str, found: Found) -> list[RecordingRow]:
        if found.live is not None:
            await self.services.callbacks.flush(FLUSH_PATIENCE)
        async with self.services.store.reading() as connection:
            rows = await callbook.recordings(connection, account, found.row.id)
        return [row for row in rows if views.number_of_recording(row.call_id, row.path) is not None]

    async def transcription(
        self,
        account: str,
        uuid: str,
        recording_uuid: str | None = None,
        call_uuid: str | None = None,
        leg_uuid: str | None = None,
    ) -> Transcription:
        """A transcription, by its UUID alone or as one of a recording."""
        async with self.services.store.reading() as connection:
            found = await transcriptions.get(connection, account, digits_of(uuid) or "-")
        if found is None:
            raise not_found("transcription")
        if recording_uuid is not None:
            _, row, number = await self.recording(account, recording_uuid, call_uuid, leg_uuid)
            if (row.call_id, number) != (found.call_id, found.recording):
                raise not_found("transcription")
        return found

    def live(self, account: str, call: str) -> Supervisor | None:
        """A call of this process, unless it is about to be over."""
        found = self.services.switch.calls.get(call)
        mine = found is not None and found.plan.account == account and found.call.ending is None
        return found if mine else None

    async def _stored(self, account: str, call: str) -> tuple[CallRow | None, Sequence[LegRow]]:
        async with self.services.store.reading() as connection:
            return await callbook.call(connection, account, call), await callbook.legs(connection, account, call)


def live_row(call: Supervisor) -> CallRow:
    """A call of this process that the database has not heard of."""
    return CallRow(
        id=call.id,
        account_id=call.plan.account,
        direction=call.direction,
        caller=call.parties.caller,
        callee=call.parties.callee,
        flow=call.plan.flow_name,
        flow_version=call.plan.flow_version,
        source=call.parties.source,
        started_at=call.started_at,
        answered_at=call.answered_wall(),
        finished_at=None,
        ended_by=None,
        reason=None,
        sip_status=None,
        sip_reason=None,
        q850=None,
        cause=None,
        path=None,
        duration=None,
    )


def overlaid(row: CallRow, live: Supervisor) -> CallRow:
    """What the database has of a call that lives, with what may be newer."""
    return dataclasses.replace(row, answered_at=row.answered_at or live.answered_wall())


async def is_there(path: str) -> bool:
    """Whether there is such a file."""
    return await asyncio.to_thread(Path(path).is_file)

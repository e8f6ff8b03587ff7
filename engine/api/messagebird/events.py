"""Webhooks: what happened to calls, legs, recordings and transcriptions, told to those who asked for it.

The body is ``{"id", "timestamp", "items": [{"type", "payload"}]}``, an object of the API as it was then in each item.
One request for each thing that happened, in order for each call and webhook; a repeat has the same ``id``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import callbook
from engine.accounts.callbook import RecordingRow
from engine.api.messagebird import views
from engine.api.messagebird.signing import SIGNER
from engine.callbacks import records
from engine.callbacks.announcing import Happening, owed
from engine.callbacks.rows import Row
from engine.log import get_logger
from engine.store import transcriptions, webhooks
from engine.store.transcriptions import Transcription
from engine.store.webhooks import Webhook

log = get_logger(__name__)

Item = dict[str, Any]


class Events:
    """The announcer of the Voice API."""

    def __init__(self) -> None:
        self._perhaps = True  # until the database has said that there are no webhooks at all

    def wants(self) -> bool:
        """Whether there may be a webhook."""
        return self._perhaps

    def added(self) -> None:
        """There is a new webhook."""
        self._perhaps = True

    async def announce(self, connection: AsyncConnection, happenings: Sequence[Happening]) -> Iterable[Row]:
        """The requests that are owed for ``happenings``."""
        calls = {each.call.id: each.call for each in happenings}
        listeners = await webhooks.wanting(connection, {each.id: each.account_id for each in calls.values()})
        if not listeners:
            self._perhaps = await webhooks.any_at_all(connection)
            return []
        numbers = await callbook.number_ids(connection, calls.values())
        rows: list[Row] = []
        for each in happenings:
            hooks = listeners.get(each.call.id, [])
            if not hooks:
                continue
            try:
                items = await _items(connection, each, numbers.get(each.call.id))
            except SQLAlchemyError:
                raise
            except Exception:  # a defect of ours: the journal goes on
                log.exception("event_not_told", call_id=each.call.id, record=type(each.record).__name__)
                continue
            if items:
                rows += deliveries(each.call.id, each.record.at, items, hooks)
        return rows

    async def transcription(self, connection: AsyncConnection, changed: Transcription, *, new: bool) -> list[Row]:
        """The requests that are owed for a transcription that is new, or has come further."""
        hooks = (await webhooks.wanting(connection, {changed.call_id: changed.account_id})).get(changed.call_id, [])
        kind = "transcriptionCreated" if new else "transcriptionUpdated"
        item = {"type": kind, "payload": views.transcription_view(changed)}
        return deliveries(changed.call_id, changed.updated_at, [item], hooks)


def deliveries(call: str, at: float, items: Sequence[Item], hooks: Iterable[Webhook]) -> list[Row]:
    """A row of the outbox for each webhook."""
    return [
        owed(
            call,
            at,
            hook.url,
            json.dumps({"id": str(uuid.uuid4()), "timestamp": views.when(at), "items": items}, ensure_ascii=False),
            subscription=hook.id,
            signer=SIGNER if hook.token else None,
            secret=hook.token or None,
        )
        for hook in hooks
    ]


async def _items(connection: AsyncConnection, happening: Happening, number_id: str | None) -> list[Item]:
    match happening.record:
        case records.CallStarted() | records.CallAnswered() | records.CallFinished():
            return _of_call(happening, number_id)
        case records.LegStarted() | records.LegAnswered() | records.LegFinished():
            return _of_leg(happening)
        case records.Rang(leg=leg):
            return _of_leg(happening) if leg else _of_ringing(happening)
        case records.RecordingStarted(path=path) | records.RecordingFinished(path=path):
            return await _of_recording(connection, happening, path)
    return []


def _of_call(happening: Happening, number_id: str | None) -> list[Item]:
    call = views.as_of(happening.call, happening.record.at)
    what = "Created" if isinstance(happening.record, records.CallStarted) else "Updated"
    return [
        {"type": f"call{what}", "payload": views.call_view(call, number_id)},
        {"type": f"leg{what}", "payload": views.own_leg(call)},
    ]


def _of_ringing(happening: Happening) -> list[Item]:
    """Whoever is called rings. Who calls in does so from the beginning."""
    call = views.as_of(happening.call, happening.record.at)
    if call.direction == "inbound":
        return []
    return [{"type": "legUpdated", "payload": views.own_leg(call, ringing=True)}]


def _of_leg(happening: Happening) -> list[Item]:
    call, leg, record = happening.call, happening.leg, happening.record
    if leg is None or views.number_of_leg(leg.id) is None or views.is_attempt(call, leg):
        return []
    what = "Created" if isinstance(record, records.LegStarted) else "Updated"
    rings = isinstance(record, records.Rang)
    payload = views.dialled_leg(views.as_of(call, record.at), views.as_of(leg, record.at), ringing=rings)
    return [{"type": f"leg{what}", "payload": payload}]


async def _of_recording(connection: AsyncConnection, happening: Happening, path: str) -> list[Item]:
    call, record = happening.call, happening.record
    number = views.number_of_recording(call.id, path)
    if number is None:
        return []
    if isinstance(record, records.RecordingStarted):
        begun = RecordingRow(0, call.id, path, record.at, None, None, None)
        return [{"type": "recordingCreated", "payload": views.recording_view(begun, ended=False)}]
    found = await callbook.recordings(connection, call.account_id, call.id)
    items = [
        {"type": "recordingUpdated", "payload": views.recording_view(each, ended=False)}
        for each in found
        if each.path == path
    ]
    asked_for = await transcriptions.all_of(connection, call.account_id, call.id, number)
    return items + [{"type": "transcriptionCreated", "payload": views.transcription_view(each)} for each in asked_for]

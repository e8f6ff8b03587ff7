"""Rows as the objects of the Voice API. Pure: what an object needs comes with it.

Ids are UUIDs, telephone numbers have no ``+``, times are RFC 3339 in whole seconds. ``_links`` are paths below the
root.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from engine.accounts.callbook import CallRow, LegRow, RecordingRow
from engine.accounts.entities import Flow, FlowVersion, Number
from engine.store.transcriptions import Transcription
from engine.store.webhooks import Webhook
from flows.causes import cause_of
from flows.uuids import OWN_LEG, WHOLE_CALL, dashed, leg_uuid, recording_uuid

_Row = TypeVar("_Row", CallRow, LegRow)

CallStatus = Literal["queued", "starting", "ongoing", "ended"]
LegStatus = Literal["starting", "ringing", "ongoing", "busy", "no_answer", "failed", "hangup"]

_ENDED: Mapping[str, LegStatus] = {
    "completed": "hangup",
    "canceled": "hangup",
    "busy": "busy",
    "no-answer": "no_answer",
    "failed": "failed",
}
_LEG = re.compile(r"[0-9a-f]{32}-leg([0-9]{1,5})\Z")
_RECORDING = re.compile(r"([0-9a-f]{32})(?:-([0-9]{1,5}))?\Z")


def when(seconds: float | None) -> str | None:
    """A time in seconds since the epoch as RFC 3339 has it."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def plain(number: str) -> str:
    """A telephone number without its ``+``; URIs and names as they are."""
    return number.removeprefix("+")


# --- calls and legs -----------------------------------------------------------------------


def as_of(row: _Row, at: float) -> _Row:
    """A call or a leg as it was at a time: what came later has not happened."""
    later: dict[str, Any] = {name: None for name in ("answered_at", "finished_at") if (getattr(row, name) or 0.0) > at}
    return dataclasses.replace(row, **later) if later else row


def call_view(call: CallRow, number_id: str | None = None) -> dict[str, Any]:
    """``number_id``: of the account's number that was called."""
    ident = dashed(call.id)
    status: CallStatus = "starting"
    if call.finished_at is not None:
        status = "ended"
    elif call.answered_at is not None:
        status = "ongoing"
    return {
        "id": ident,
        "status": status,
        "source": plain(call.caller),
        "destination": plain(call.callee),
        "numberId": dashed(number_id) if number_id else None,
        "createdAt": when(call.started_at),
        "updatedAt": when(call.finished_at or call.answered_at or call.started_at),
        "endedAt": when(call.finished_at),
        "_links": {"self": f"/calls/{ident}", "legs": f"/calls/{ident}/legs"},
    }


def own_leg(call: CallRow, *, ringing: bool = False) -> dict[str, Any]:
    """The leg of whoever called, or was called. ``ringing``: whether it is known to."""
    status: LegStatus = "ringing" if ringing or call.direction == "inbound" else "starting"
    if call.finished_at is not None:
        cause = cause_of(call.sip_status, call.q850, call.cause)
        status = "hangup" if call.answered_at is not None else _ENDED[cause.status]
    elif call.answered_at is not None:
        status = "ongoing"
    return _leg(
        call,
        OWN_LEG,
        destination=call.callee,
        status=status,
        direction="incoming" if call.direction == "inbound" else "outgoing",
        times=(call.started_at, call.answered_at, call.finished_at),
        duration=call.duration,
        sip_status=call.sip_status,
    )


def dialled_leg(call: CallRow, leg: LegRow, *, ringing: bool = False) -> dict[str, Any]:
    """A leg that a flow has dialled. ``ringing``: whether it is known to."""
    status: LegStatus = "ringing" if ringing else "starting"
    if leg.finished_at is not None:
        status = "hangup" if leg.answered_at is not None else _ENDED[cause_of(leg.sip_status, leg.q850).status]
        if leg.answered_at is None and leg.sip_status == 487 and leg.ended_by == "local":
            status = "no_answer"
    elif leg.answered_at is not None:
        status = "ongoing"
    return _leg(
        call,
        number_of_leg(leg.id) or 0,
        destination=leg.callee.removesuffix(f" via {leg.trunk}") if leg.trunk else leg.callee,
        status=status,
        direction="outgoing",
        times=(leg.started_at, leg.answered_at, leg.finished_at),
        duration=leg.duration,
        sip_status=leg.sip_status,
    )


def number_of_leg(name: str) -> int | None:
    """1 for ``<call>-leg1``; ``None`` for other names."""
    found = _LEG.match(name)
    return int(found[1]) if found else None


def is_attempt(call: CallRow, leg: LegRow) -> bool:
    """Whether a dialled leg is one of those that were to reach the destination of a call that goes out.

    The call's own leg stands for them: there may be several telephones of one user, several trunks.
    """
    return call.direction == "outbound" and (call.answered_at is None or leg.started_at < call.answered_at)


def legs_of(call: CallRow, dialled: Sequence[LegRow], *, ringing: bool = False) -> list[dict[str, Any]]:
    """All legs of a call, its own first."""
    others = [leg for leg in dialled if number_of_leg(leg.id) is not None and not is_attempt(call, leg)]
    return [own_leg(call, ringing=ringing), *(dialled_leg(call, leg) for leg in others)]


def _leg(
    call: CallRow,
    number: int,
    *,
    destination: str,
    status: LegStatus,
    direction: Literal["incoming", "outgoing"],
    times: tuple[float, float | None, float | None],
    duration: float | None,
    sip_status: int | None,
) -> dict[str, Any]:
    started, answered, ended = times
    ident, call_ident = leg_uuid(call.id, number), dashed(call.id)
    path = f"/calls/{call_ident}/legs/{ident}"
    return {
        "id": ident,
        "callId": call_ident,
        "callID": call_ident,
        "source": plain(call.caller),
        "destination": plain(destination),
        "status": status,
        "direction": direction,
        "cost": None,
        "currency": None,
        "duration": int(duration or 0) if ended is not None and answered is not None else 0,
        "createdAt": when(started),
        "updatedAt": when(ended or answered or started),
        "answeredAt": when(answered),
        "endedAt": when(ended),
        "sipResponseCode": (sip_status or None) if ended is not None else 200 if answered is not None else None,
        "_links": {"self": path, "call": f"/calls/{call_ident}", "recordings": f"{path}/recordings"},
    }


# --- recordings and transcriptions --------------------------------------------------------


def number_of_recording(call: str, path: str) -> int | None:
    """0 for the recording of the whole call, N for the flow's N-th; ``None`` for files that are none of them."""
    found = _RECORDING.match(Path(path).stem)
    if found is None or found[1] != call:
        return None
    return int(found[2]) if found[2] else WHOLE_CALL


def recording_view(recording: RecordingRow, *, ended: bool) -> dict[str, Any]:
    """``ended``: whether its call has; what has no end then has lost it."""
    number = number_of_recording(recording.call_id, recording.path) or WHOLE_CALL
    ident, leg = recording_uuid(recording.call_id, number), leg_uuid(recording.call_id)
    path = f"/calls/{dashed(recording.call_id)}/legs/{leg}/recordings/{ident}"
    if recording.seconds is None:
        status = "failed" if ended else "recording"
    else:
        status = "failed" if recording.reason else "done"
    kind = Path(recording.path).suffix[1:] or "wav"
    links = {"self": path, "transcriptions": f"{path}/transcriptions"}
    if recording.seconds is not None:
        links["file"] = f"{path}.{kind}"
    return {
        "id": ident,
        "format": kind,
        "type": "call",
        "legId": leg,
        "legID": leg,
        "status": status,
        "duration": int(recording.seconds or 0),
        "createdAt": when(recording.started_at),
        "updatedAt": when(recording.started_at + (recording.seconds or 0.0)),
        "deletedAt": None,
        "_links": links,
    }


def transcription_view(transcription: Transcription) -> dict[str, Any]:
    call = transcription.call_id
    leg, recording, ident = leg_uuid(call), recording_uuid(call, transcription.recording), dashed(transcription.id)
    path = f"/calls/{dashed(call)}/legs/{leg}/recordings/{recording}/transcriptions/{ident}"
    links = {"self": path}
    if transcription.status == "done":
        links["file"] = f"{path}.txt"
    return {
        "id": ident,
        "recordingId": recording,
        "recordingID": recording,
        "legId": leg,
        "legID": leg,
        "status": transcription.status,
        "language": transcription.language,
        "error": transcription.error,
        "createdAt": when(transcription.created_at),
        "updatedAt": when(transcription.updated_at),
        "_links": links,
    }


# --- flows, numbers, webhooks -------------------------------------------------------------


def flow_view(version: FlowVersion) -> dict[str, Any]:
    """A stored flow: its document as it was checked and kept."""
    flow: Flow = version.flow
    ident = dashed(flow.id)
    try:
        document = json.loads(version.document)
    except ValueError:
        document = {}
    document = document if isinstance(document, dict) else {}
    return {
        "id": ident,
        "title": document.get("title", flow.name),
        "record": document.get("record") is True,
        "steps": document.get("steps", []),
        "default": flow.fallback,
        "createdAt": when(flow.created_at),
        "updatedAt": when(version.created_at),
        "_links": {"self": f"/call-flows/{ident}", "numbers": f"/call-flows/{ident}/numbers"},
    }


def number_view(number: Number) -> dict[str, Any]:
    flow = dashed(number.flow_id)
    return {
        "id": dashed(number.id),
        "number": plain(number.number),
        "callFlowId": flow,
        "createdAt": when(number.created_at),
        "updatedAt": when(number.created_at),
        "_links": {"self": f"/call-flows/{flow}/numbers"},
    }


def webhook_view(webhook: Webhook) -> dict[str, Any]:
    ident = dashed(webhook.id)
    return {
        "id": ident,
        "url": webhook.url,
        "token": webhook.token,
        "title": webhook.title or None,
        "createdAt": when(webhook.created_at),
        "updatedAt": when(webhook.updated_at),
        "_links": {"self": f"/webhooks/{ident}"},
    }

"""The Voice Calling API of MessageBird (version 20170314), under ``/v1`` and at the root.

:mod:`.door` lets requests in and errors out, :mod:`.finding` finds what they ask about, :mod:`.views` shows it; the
other modules have the endpoints, and :mod:`.events` tells webhooks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from engine.api.answers import schema_of
from engine.api.messagebird import models as m
from engine.api.messagebird.answers import IMPOSSIBLE, VoiceError, not_found
from engine.api.messagebird.calls import Calls
from engine.api.messagebird.door import VERSION, VoiceRoute
from engine.api.messagebird.events import Events
from engine.api.messagebird.finding import Finder
from engine.api.messagebird.flows import CallFlows
from engine.api.messagebird.legs import Legs
from engine.api.messagebird.recordings import Recordings
from engine.api.messagebird.signing import SIGNER, sign
from engine.api.messagebird.webhooks import Webhooks
from engine.api.paths import ANYTHING
from engine.api.services import ApiServices
from engine.callbacks.signing import SIGNERS
from engine.transcription import Transcriber
from engine.transcripts import Transcripts

__all__ = ["mount"]

TAG = "MessageBird Voice"

_ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_ROOTS = ("calls", "call-flows", "legs", "recordings", "transcriptions", "webhooks")

_VERSION = {
    "name": "X-MessageBird-Version",
    "in": "header",
    "description": "The version of the API that is meant.",
    "schema": {"type": "string", "enum": [VERSION]},
}
_PARAMETERS = [
    {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 1}},
    {"name": "perPage", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}},
]


def mount(services: ApiServices) -> APIRouter:
    """The routes of the API. Its webhooks are told from now on, and what is asked for is transcribed."""
    SIGNERS[SIGNER] = sign
    events = Events()
    services.callbacks.announcements.add(events)
    transcriber = Transcriber(vosk_model=services.config.speech.vosk_model)
    transcripts = Transcripts(services.store, transcriber, services.callbacks.wake)
    transcripts.told.append(events.transcription)
    services.background(transcripts.run())
    finder = Finder(services)
    routes = list(
        _routes(
            CallFlows(services),
            Calls(services, events, finder),
            Legs(services, finder),
            Recordings(services, finder, transcripts),
            Webhooks(services, events),
        )
    )
    both = APIRouter()
    both.include_router(_router(routes), prefix="/v1")
    both.include_router(_router(routes), include_in_schema=False)
    return both


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    path: str
    endpoint: Callable[..., Awaitable[Response]]
    summary: str
    answer: Any = None
    body: type[BaseModel] | None = None
    status: int = 200
    paged: bool = False
    media_type: str = ""


def _routes(flows: CallFlows, calls: Calls, legs: Legs, recordings: Recordings, hooks: Webhooks) -> Iterator[_Route]:
    """What comes first has the path that two could have."""
    flow, call = "/call-flows/{flow_id}", "/calls/{call_id}"
    yield _Route("GET", "/call-flows", flows.list, "The call flows of the account", m.Many[m.CallFlow], paged=True)
    yield _Route("POST", "/call-flows", flows.make, "Store a call flow", m.One[m.CallFlow], m.FlowBody, 201)
    yield _Route("GET", flow, flows.one, "A call flow", m.One[m.CallFlow])
    yield _Route("PUT", flow, flows.replace, "Replace a call flow", m.One[m.CallFlow], m.FlowBody)
    yield _Route("DELETE", flow, flows.remove, "Delete a call flow", status=204)
    numbers, listed = f"{flow}/numbers", m.Many[m.FlowNumber]
    yield _Route("GET", numbers, flows.numbers, "The numbers that a call flow answers", listed, paged=True)
    yield _Route("POST", numbers, flows.add_numbers, "Have a call flow answer more numbers", listed, m.NumbersBody)
    yield _Route("PUT", numbers, flows.replace_numbers, "Say which numbers it answers", listed, m.NumbersBody)
    yield _Route("GET", "/calls", calls.list, "The calls of the account", m.Many[m.Call], paged=True)
    yield _Route("POST", "/calls", calls.make, "Make a call", m.One[m.Call], m.CallBody, 201)
    yield _Route("GET", call, calls.one, "A call", m.One[m.Call])
    yield _Route("PUT", call, calls.change, "Give a call another flow, or another webhook", m.One[m.Call], m.CallChange)
    yield _Route("DELETE", call, calls.hang_up, "Hang a call up", status=204)
    yield _Route("POST", f"{call}/{{destination}}", calls.transfer, "Transfer a call", m.One[m.Call])
    yield _Route("GET", f"{call}/legs", legs.list, "The legs of a call", m.Many[m.Leg], paged=True)
    yield _Route("GET", f"{call}/legs/{{leg_id}}", legs.one, "A leg of a call", m.One[m.Leg])
    yield _Route("GET", "/legs/{leg_id}", legs.alone, "A leg by its id", m.One[m.Leg])
    yield _Route("DELETE", "/legs/{leg_id}", legs.hang_up, "Hang a leg up", status=204)
    yield _Route("POST", "/legs/{leg_id}/hold", legs.hold, "Put a leg on hold", m.One[m.Leg])
    yield _Route("POST", "/legs/{leg_id}/unhold", legs.unhold, "Take a leg off hold", m.One[m.Leg])
    of_leg = f"{call}/legs/{{leg_id}}/recordings"
    yield _Route("GET", of_leg, recordings.list, "The recordings of a leg", m.Many[m.Recording], paged=True)
    for base in (of_leg, "/recordings"):
        yield from _of_recordings(recordings, f"{base}/{{recording_id}}")
    for base in (f"{of_leg}/{{recording_id}}/transcriptions", "/transcriptions"):
        text, alone = f"{base}/{{transcription_id}}.txt", f"{base}/{{transcription_id}}"
        yield _Route("GET", text, recordings.text, "The text of a transcription", media_type="text/plain")
        yield _Route("GET", alone, recordings.transcription, "A transcription", m.One[m.Transcription])
    yield _Route("GET", "/webhooks", hooks.list, "The webhooks of the account", m.Many[m.Webhook], paged=True)
    yield _Route("POST", "/webhooks", hooks.make, "Be told of all calls", m.One[m.Webhook], m.WebhookBody, 201)
    yield _Route("GET", "/webhooks/{webhook_id}", hooks.one, "A webhook", m.One[m.Webhook])
    yield _Route("PUT", "/webhooks/{webhook_id}", hooks.change, "Change a webhook", m.One[m.Webhook], m.WebhookChange)
    yield _Route("DELETE", "/webhooks/{webhook_id}", hooks.remove, "Delete a webhook", status=204)


def _of_recordings(recordings: Recordings, path: str) -> Iterator[_Route]:
    yield _Route("GET", f"{path}.wav", recordings.wav, "The file of a recording", media_type="audio/wav")
    yield _Route("GET", f"{path}.mp3", recordings.mp3, "The file of a recording in MP3", media_type="audio/mpeg")
    yield _Route("GET", path, recordings.one, "A recording", m.One[m.Recording])
    yield _Route("DELETE", path, recordings.remove, "Delete a recording and its file", status=204)
    texts = f"{path}/transcriptions"
    answer, body = m.One[m.Transcription], m.TranscriptionBody
    yield _Route("GET", texts, recordings.transcriptions, "Its transcriptions", m.Many[m.Transcription], paged=True)
    yield _Route("POST", texts, recordings.transcribe, "Have a recording transcribed", answer, body, 201)


def _router(routes: list[_Route]) -> APIRouter:
    api = APIRouter(route_class=VoiceRoute, tags=[TAG])
    served: dict[str, list[str]] = {}
    for route in routes:
        served.setdefault(route.path, []).append(route.method)
        _add(api, route)
        if "." not in route.path:
            api.add_api_route(
                f"{route.path}/",
                route.endpoint,
                methods=[route.method],
                summary=route.summary,
                include_in_schema=False,
            )
    for path, methods in served.items():
        others = [method for method in _ALL_METHODS if method not in methods]
        for spelling in (path, f"{path}/"):
            api.add_api_route(spelling, _not_allowed(methods), methods=others, include_in_schema=False)
    for root in _ROOTS:
        api.add_api_route(f"/{root}/{{rest:{ANYTHING}}}", _nowhere, methods=list(_ALL_METHODS), include_in_schema=False)
    return api


def _add(api: APIRouter, route: _Route) -> None:
    responses: dict[int | str, dict[str, Any]] = {}
    if route.media_type:
        responses[200] = {"content": {route.media_type: {"schema": {"type": "string", "format": "binary"}}}}
    elif route.answer is not None:
        responses[route.status] = {"model": route.answer}
    else:
        responses[route.status] = {"description": "Done"}
    extra: dict[str, Any] = {"parameters": [_VERSION, *(_PARAMETERS if route.paged else ())]}
    if route.body is not None:
        extra["requestBody"] = {"content": {"application/json": {"schema": schema_of(route.body)}}}
    api.add_api_route(
        route.path,
        route.endpoint,
        methods=[route.method],
        summary=route.summary,
        status_code=route.status,
        responses=responses,
        response_class=Response,
        openapi_extra=extra,
    )


def _not_allowed(methods: list[str]) -> Callable[[Request], Awaitable[Response]]:
    allowed = ", ".join(methods)

    async def refuse(request: Request) -> Response:
        text = f"The method {request.method[:20]} is not allowed here; {allowed} may be used."
        raise VoiceError(405, IMPOSSIBLE, text, Allow=allowed)

    return refuse


async def _nowhere(request: Request) -> Response:
    raise not_found("resource")

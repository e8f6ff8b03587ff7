"""Kazoo's envelopes, and the route that answers every error in one.

An error is ``{"data", "error": "404", "message": "not_found", "status": "error", "request_id"}``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from engine.api.answers import DocumentedRoute, Json
from engine.api.reading import Unreadable, nameable
from engine.log import get_logger

log = get_logger(__name__)

VERSION = "v2"
_ID = re.compile(r"[\w.-]{1,64}")


class KazooError(Exception):
    """The answer is no. ``message`` is a word for programs, ``data`` says more."""

    def __init__(self, status: int, message: str, data: Mapping[str, Any] | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.data = dict(data or {})
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def bad(name: str, why: str) -> KazooError:
    """400 for a parameter: its name, and what is wrong with it."""
    return KazooError(400, "validation_error", {name: {"invalid": {"message": why}}})


def request_id(request: Request) -> str:
    """That of the client (``X-Request-ID``), or a new one."""
    given = request.headers.get("X-Request-ID", "")
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def fine(request: Request, data: Any, **more: Any) -> JSONResponse:
    """200 with ``data``."""
    told = request_id(request)
    body = {"data": data, **more, "request_id": told, "status": "success", "version": VERSION}
    return JSONResponse(body, headers={"X-Request-ID": told})


def refusal(request: Request, error: KazooError) -> JSONResponse:
    """The answer of an error."""
    told = request_id(request)
    body = {
        "data": error.data,
        "error": str(error.status),
        "message": error.message,
        "request_id": told,
        "status": "error",
        "version": VERSION,
    }
    return JSONResponse(body, status_code=error.status, headers={**error.headers, "X-Request-ID": told})


ERROR: Json = {
    "type": "object",
    "required": ["data", "error", "message", "request_id", "status"],
    "properties": {
        "data": {"type": "object"},
        "error": {"type": "string", "examples": ["404"]},
        "message": {"type": "string", "examples": ["not_found"]},
        "request_id": {"type": "string"},
        "status": {"const": "error"},
        "version": {"type": "string"},
    },
}
"""The schema of an error."""


class KazooRoute(DocumentedRoute):
    """Answers every error in the envelope."""

    refused = ERROR

    @classmethod
    def refusals(cls, path: str, methods: frozenset[str]) -> Iterable[int]:
        return (400, 401, 403, 404, 429, 503)

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                if not nameable(request):
                    raise KazooError(404, "not_found")
                return await handle(request)
            except KazooError as error:
                return refusal(request, error)
            except Unreadable as error:
                return refusal(request, KazooError(error.status, "bad_request", {"message": str(error)}))
            except (SQLAlchemyError, OSError) as error:
                log.error("api_without_database", path=request.url.path, error=f"{type(error).__name__}: {error}")
                return refusal(request, KazooError(503, "datastore_unreachable", Retry_After="5"))

        return guarded

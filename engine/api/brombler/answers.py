"""What Brombler answers: ``{"response": 200, "responseText": "OK"}`` and more; ``response`` is HTTP's status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from engine.api.answers import TEXT, WHOLE, DocumentedRoute, shape
from engine.api.reading import Unreadable
from engine.log import get_logger

log = get_logger(__name__)


class Refusal(Exception):
    """The answer is no: HTTP's status, and why in words."""

    def __init__(self, status: int, why: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.headers = dict(headers or {})


def fine(**more: Any) -> Response:
    """It is done."""
    return Response(fine_text(**more), media_type="application/json")


def fine_text(**more: Any) -> bytes:
    """The same as it is sent. A list may be of a thousand calls, and sent every second."""
    return msgspec.json.encode({"response": 200, "responseText": "OK", **more})


class BromblerRoute(DocumentedRoute):
    """Answers refusals in the envelope."""

    refused = shape(response=WHOLE, responseText=TEXT)

    @classmethod
    def refusals(cls, path: str, methods: frozenset[str]) -> Iterable[int]:
        yield from (400, 401, 403, 413, 429, 503)
        if "POST" in methods:
            yield 415
        if path in ("/close.cas", "/refer.cas"):
            yield 404
        if path == "/refer.cas":
            yield 409

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except Refusal as error:
                return refused(error.status, str(error), error.headers)
            except Unreadable as error:
                return refused(error.status, str(error), {})
            except (SQLAlchemyError, OSError) as error:
                log.error("api_without_database", path=request.url.path, error=f"{type(error).__name__}: {error}")
                return refused(503, "the database is out of reach", {"Retry-After": "5"})

        return guarded


def refused(status: int, why: str, headers: Mapping[str, str]) -> JSONResponse:
    """The envelope of a refusal."""
    body = {"response": status, "responseText": f"{HTTPStatus(status).phrase}: {why}"}
    return JSONResponse(body, status_code=status, headers=dict(headers))

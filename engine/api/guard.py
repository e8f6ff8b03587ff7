"""Who asks, and how an API says no: bearer tokens (RFC 6750), errors as JSON.

An error is ``{"error": {"code", "message"}}``, with ``field`` where one is at fault and ``findings`` for a flow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from engine.accounts import tokens
from engine.accounts.entities import Caller
from engine.api.answers import TEXT, DocumentedRoute, many, shape
from engine.api.noting import begins
from engine.api.reading import Unreadable, check_json, nameable
from engine.log import get_logger
from engine.store import Store

log = get_logger(__name__)

MAX_BODY = 2 * 1024 * 1024
"""Octets of a request's body."""

_Body = TypeVar("_Body", bound=BaseModel)


class ApiError(Exception):
    """The answer is no: ``status`` is HTTP's, ``code`` a word for programs, the text is for people."""

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.headers: dict[str, str] = {}
        self.body = {"error": {"code": code, "message": message, **more}}


ERROR = shape(
    error=shape(
        code=TEXT,
        message=TEXT,
        optional={"field": TEXT, "findings": many(shape(code=TEXT, where=TEXT, message=TEXT))},
    )
)
"""The schema of an error."""


class GuardedRoute(DocumentedRoute):
    """Answers :class:`ApiError` and bad parameters as JSON, and a database out of reach with 503."""

    refused = ERROR

    @classmethod
    def refusals(cls, path: str, methods: frozenset[str]) -> Iterable[int]:
        yield from (400, 401, 403, 429, 503)
        if "{" in path or "POST" in methods:
            yield 404
        if methods != {"GET"}:
            yield from (409, 413)

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                if not nameable(request):
                    raise ApiError(404, "not_found", "there is nothing of this name")
                if b"%00" in request.scope.get("query_string", b""):
                    raise ApiError(400, "bad_request", "the query has characters that are none")
                return await handle(request)
            except ApiError as error:
                return JSONResponse(error.body, status_code=error.status, headers=error.headers)
            except RequestValidationError as error:
                problem = error.errors()[0]
                field = ".".join(str(part) for part in problem["loc"][1:])
                body = {"error": {"code": "bad_request", "message": f"{field}: {problem['msg']}", "field": field}}
                return JSONResponse(body, status_code=400)
            except IntegrityError:
                body = {"error": {"code": "conflict", "message": "somebody else is changing the same: try again"}}
                return JSONResponse(body, status_code=409)
            except (SQLAlchemyError, OSError) as error:
                log.error("api_without_database", path=request.url.path, error=f"{type(error).__name__}: {error}")
                body = {"error": {"code": "unavailable", "message": "the database is out of reach"}}
                return JSONResponse(body, status_code=503, headers={"Retry-After": "5"})

        return guarded


async def caller_of(request: Request, store: Store, needs: str) -> Caller:
    """Whom the request's token speaks for. Raises :class:`ApiError`: 401, or 403 when the role does not allow it."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    caller = None
    if scheme.lower() == "bearer" and token.strip():
        async with store.reading() as connection:
            caller = await tokens.verify(connection, token.strip())
    if caller is None:
        refused = ApiError(401, "unauthorized", "a bearer token of an account is needed")
        refused.headers["WWW-Authenticate"] = 'Bearer realm="ivrea"'
        raise refused
    if not caller.may(needs):
        raise ApiError(403, "forbidden", f"the role {caller.role} may not do this ({needs})")
    begins(request, store, caller, needs)
    return caller


async def body_of(request: Request, kind: type[_Body], *, optional: bool = False) -> _Body:
    """The request's JSON; with ``optional`` what ``kind`` is by itself when there is none, however that is said
    (``Content-Length: 0`` or chunks). Raises :class:`ApiError`: 413, or 400 that names the field.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise ApiError(413, "too_large", f"the body is larger than {MAX_BODY >> 20} MiB")
    if optional and not data:
        return kind()
    try:
        check_json(bytes(data))
        return kind.model_validate_json(bytes(data))
    except Unreadable as error:
        raise ApiError(error.status, "bad_request", str(error)) from None
    except ValidationError as error:
        raise problem_of(error) from None


def problem_of(error: ValidationError) -> ApiError:
    """The first thing that is wrong with a body, by its field: 400."""
    problem = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, problem["loc"]))
    message = problem["msg"].removeprefix("Value error, ")
    return ApiError(400, "bad_request", f"{field}: {message}" if field else message, field=field)

"""How the Realtime API says no: ``{"status_code", "error_code", "message"}``, and its bearer tokens (RFC 6750)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from engine.accounts import tokens
from engine.accounts.entities import Caller
from engine.api.answers import DocumentedRoute
from engine.api.kwebbl.documents import PROBLEM
from engine.api.kwebbl.scopes import any_of, grantable, is_admin
from engine.api.noting import begins
from engine.api.reading import Unreadable, nameable
from engine.log import get_logger
from engine.store import Store

log = get_logger(__name__)

ACCESS, REFRESH, LOGIN = tokens.BY_LOGIN
"""Kinds of tokens: an application's, what it gets new ones with, a person's between login and consent."""


class Problem(Exception):
    """The answer is no. ``code``: ``validation``, ``invalid_grant``, ``access_denied``, ``entity_not_exist``, …"""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers or {}


def invalid(message: str) -> Problem:
    """Something in the request cannot be used; ``message`` begins with its field."""
    return Problem(400, "validation", message)


def not_there(what: str) -> Problem:
    """An id of nothing, or of something that is somebody else's: nobody can tell which."""
    return Problem(404, "entity_not_exist", f"{what} does not exist")


def answer_of(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The envelope."""
    body = {"status_code": status, "error_code": code, "message": message}
    return JSONResponse(body, status_code=status, headers=headers)


def no_such(request: Request) -> JSONResponse:
    """The answer to a path that there is not, or not with this method."""
    return answer_of(404, "entity_not_exist", f"there is no {request.method[:20]} {request.url.path[:200]}")


class RealtimeRoute(DocumentedRoute):
    """Answers every refusal in the API's envelope, and a database out of reach with 503."""

    refused = PROBLEM

    @classmethod
    def refusals(cls, path: str, methods: frozenset[str]) -> Iterable[int]:
        yield from (401, 403, 429, 503)
        if "{" in path:
            yield 404
        if methods != {"GET"}:
            yield from (400, 409, 413)

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                if not nameable(request):
                    raise not_there("this")
                return await handle(request)
            except Problem as problem:
                return answer_of(problem.status, problem.code, str(problem), problem.headers)
            except Unreadable as error:
                code = "validation" if error.status == 400 else "too_large" if error.status == 413 else "unsupported"
                return answer_of(error.status, code, str(error))
            except RequestValidationError as error:
                first = error.errors()[0]
                return answer_of(400, "validation", f"{first['loc'][-1]}: {first['msg']}")
            except IntegrityError:
                return answer_of(409, "conflict", "somebody else is changing the same: try again")
            except (SQLAlchemyError, OSError) as error:
                log.error("api_without_database", path=request.url.path, error=f"{type(error).__name__}: {error}")
                return answer_of(503, "unavailable", "the database is out of reach", {"Retry-After": "5"})

        return guarded


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom a token speaks for, and what it is good for now: scopes that the role does not allow any more are gone."""

    caller: Caller
    scopes: frozenset[str]

    @property
    def account(self) -> str:
        """Whose calls, users and dialplans they are."""
        return self.caller.account_id

    @property
    def admin(self) -> bool:
        """Whether the user is an admin."""
        return is_admin(self.caller.role)

    def has(self, *wanted: str) -> bool:
        """Whether one of ``wanted`` was granted."""
        return any_of(self.scopes, *wanted)

    def needs(self, *wanted: str) -> None:
        """Raises :class:`Problem` (403) when none of ``wanted`` was granted."""
        if not self.has(*wanted):
            text = f"the scope {' or '.join(wanted)} is needed"
            challenge = f'Bearer realm="ivrea", error="insufficient_scope", scope="{" ".join(wanted)}"'
            raise Problem(403, "access_denied", text, {"WWW-Authenticate": challenge})


async def grant_of(request: Request, store: Store, *needed: str) -> Grant:
    """Whom the request's access token speaks for. Raises :class:`Problem`: 401, or 403 without any ``needed`` scope."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    caller = None
    if scheme.lower() == "bearer" and token.strip():
        async with store.reading() as connection:
            caller = await tokens.verify(connection, token.strip(), ACCESS)
    if caller is None:
        challenge = 'Bearer realm="ivrea"' + (', error="invalid_token"' if token else "")
        raise Problem(401, "invalid_grant", "the access token is invalid or expired", {"WWW-Authenticate": challenge})
    grant = Grant(caller, frozenset(grantable(caller.scopes, caller.role)))
    if needed:
        grant.needs(*needed)
    begins(request, store, caller, "realtime.write")
    return grant

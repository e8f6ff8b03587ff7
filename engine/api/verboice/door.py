"""Who asks, and how Verboice says no.

The name and password of HTTP's Basic authentication (RFC 7617) are email address and password of a user. Errors of
``/api/call`` are ``{"error": …}`` with 400; what is not there is a 404 without a body; a role that may not is a 401.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from engine.accounts import repository
from engine.accounts.entities import Caller
from engine.api.answers import TEXT, DocumentedRoute, shape
from engine.api.doors import network_of
from engine.api.noting import begins
from engine.api.reading import Unreadable, nameable, storable
from engine.api.services import ApiServices
from engine.log import get_logger

log = get_logger(__name__)

TAGS: list[str | Enum] = ["Verboice"]


class Refused(Exception):
    """The answer is no: with ``{"error": message}``, or with ``response``."""

    def __init__(self, status: int, message: str = "", response: Response | None = None) -> None:
        super().__init__(message)
        self.response = response or JSONResponse({"error": message}, status_code=status)


def not_found() -> Refused:
    """404, and nothing else."""
    return Refused(404, response=Response(status_code=404))


def in_words(status: int, text: str) -> Refused:
    """A sentence as plain text."""
    return Refused(status, text, PlainTextResponse(text, status_code=status))


def problems(action: str, what: str, *properties: tuple[str, str]) -> Refused:
    """What is wrong with something that is created or updated, by property; with 200, as Verboice has it."""
    summary = f"There were problems {action} the {what}"
    body = {"summary": summary, "properties": [{name: message} for name, message in properties]}
    return Refused(200, summary, JSONResponse(body))


class VerboiceRoute(DocumentedRoute):
    """Answers errors in Verboice's way."""

    refused = shape(error=TEXT)
    bare = frozenset({404})

    @classmethod
    def refusals(cls, path: str, methods: frozenset[str]) -> Iterable[int]:
        yield from (400, 401, 404, 409, 413, 429, 503)

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                if not nameable(request):
                    raise not_found()
                return await handle(request)
            except Refused as error:
                return error.response
            except Unreadable as error:
                return JSONResponse({"error": str(error)}, status_code=error.status)
            except RequestValidationError as error:
                problem = error.errors()[0]
                field = ".".join(str(part) for part in problem["loc"][1:])
                return JSONResponse({"error": f"{field}: {problem['msg']}"}, status_code=400)
            except IntegrityError:
                return JSONResponse({"error": "somebody else is changing the same: try again"}, status_code=409)
            except (SQLAlchemyError, OSError) as error:
                log.error("api_without_database", path=request.url.path, error=f"{type(error).__name__}: {error}")
                return JSONResponse(
                    {"error": "the database is out of reach"}, status_code=503, headers={"Retry-After": "5"}
                )

        return guarded


async def login(request: Request, services: ApiServices, needs: str) -> Caller:
    """Who asks. Raises :class:`Refused`: 401, or 429 after too many wrong passwords."""
    name, password = _credentials(request)
    if not name or not password:  # as clients come first that wait to be asked: no guess, and nothing to be counted
        raise _unauthorised("Invalid email or password.")
    async with services.store.reading() as connection:
        user = await repository.user_by_email(connection, name)
    kept = (user.password if user else "") or ""
    right = await services.passwords.check(name.casefold(), password, kept, network_of(request.scope))
    if right is None:
        answer = JSONResponse({"error": "Too many wrong passwords"}, status_code=429, headers={"Retry-After": "900"})
        raise Refused(429, response=answer)
    if user is None or not right:
        raise _unauthorised("Invalid email or password.")
    caller = Caller(user.account_id, user.id, user.name, user.role, "basic")
    if not caller.may(needs):
        raise _unauthorised(f"the role {user.role} may not do this ({needs})")
    begins(request, services.store, caller, needs)
    return caller


def _unauthorised(message: str) -> Refused:
    headers = {"WWW-Authenticate": 'Basic realm="Application", charset="UTF-8"'}
    return Refused(401, message, JSONResponse({"error": message}, status_code=401, headers=headers))


def _credentials(request: Request) -> tuple[str, str]:
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, colon, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return (name.strip(), password) if colon and storable(name) else ("", "")

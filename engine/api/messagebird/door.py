"""Who may come in, and in what form: access keys, versions, bodies; and how every error leaves."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from fastapi import Request, Response
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from starlette.routing import Match
from starlette.types import Scope

from engine.accounts import tokens
from engine.accounts.entities import Caller
from engine.api import reading
from engine.api.answers import DocumentedRoute, schema_of
from engine.api.messagebird.answers import (
    BAD_VERSION,
    FORBIDDEN,
    IMPOSSIBLE,
    INTERNAL,
    NO_AUTH,
    UNPARSABLE,
    VoiceError,
    bad_query,
    bad_value,
    missing,
)
from engine.api.messagebird.models import VoiceErrors
from engine.api.noting import begins
from engine.log import get_logger
from engine.store import Store

log = get_logger(__name__)

VERSION = "20170314"
"""The latest version of the API, and the only one that is spoken."""

TOKEN_KIND = "access_key"  # noqa: S105 - the kind, not a token

METHODS = ("GET", "POST", "PUT", "DELETE")
LONGEST_QUERY = 2048
"""Octets at the end of a query in which ``_method`` is looked for."""

_METHOD = re.compile(rb"(?:^|&)_method=([A-Za-z]{1,10})(?:&|$)")


class VoiceRoute(DocumentedRoute):
    """Takes ``_method`` for the method, as some clients send it; answers every error in the API's envelope."""

    refused = schema_of(VoiceErrors, mode="serialization")

    @classmethod
    def refusals(cls, path: str, methods: frozenset[str]) -> Iterable[int]:
        yield from (400, 401, 403, 404, 429, 503)
        if methods != {"GET"}:
            yield from (409, 413)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        method = _overridden(scope)
        if not method:
            return super().matches(scope)
        match, more = super().matches({**scope, "method": method})
        return match, {**more, "method": method}

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                check_version(request)
                return await handle(request)
            except VoiceError as error:
                return error.response()
            except reading.Unreadable as error:
                return VoiceError(error.status, UNPARSABLE, _sentence(error)).response()
            except IntegrityError:
                return VoiceError(409, IMPOSSIBLE, "Somebody else is changing the same: try again.").response()
            except (SQLAlchemyError, OSError) as error:
                log.error("api_without_database", path=request.url.path, error=f"{type(error).__name__}: {error}")
                return VoiceError(503, INTERNAL, "The database is out of reach.", Retry_After="5").response()

        return guarded


def _overridden(scope: Scope) -> str:
    """The method that the query of a POST names in its place; empty when it names none.

    Every route is asked for every request, whoever sends it: nothing here may take long.
    """
    if scope["type"] != "http" or scope["method"] != "POST":
        return ""
    query: bytes = scope.get("query_string", b"")
    if b"_method=" not in query:
        return ""
    found = _METHOD.search(query[-LONGEST_QUERY:])
    method = found[1].decode().upper() if found is not None else ""
    return method if method in METHODS else ""


def check_version(request: Request) -> None:
    """Raises :class:`VoiceError` (17) for a version that is not spoken."""
    wanted = request.headers.get("X-MessageBird-Version", VERSION).strip()
    if wanted != VERSION:
        raise VoiceError(400, BAD_VERSION, f"The X-MessageBird-Version header must be {VERSION}.")


async def caller_of(request: Request, store: Store, needs: str) -> Caller:
    """Whom the access key speaks for. Raises :class:`VoiceError`: 401 with 15 or 14, 403 with 14 for the role."""
    scheme, _, key = request.headers.get("Authorization", "").strip().partition(" ")
    key = key.strip()
    if scheme.lower() != "accesskey" or not key:
        text = "The Authorization header must have the form AccessKey {accessKey}."
        raise VoiceError(401, NO_AUTH, text, WWW_Authenticate="AccessKey")
    async with store.reading() as connection:
        caller = await tokens.verify(connection, key, TOKEN_KIND)
    if caller is None:
        raise VoiceError(401, FORBIDDEN, "The access key is not valid.", WWW_Authenticate="AccessKey")
    if not caller.may(needs):
        raise VoiceError(403, FORBIDDEN, f"The role {caller.role} may not do this ({needs}).")
    begins(request, store, caller, needs)
    return caller


def query_of(request: Request) -> Mapping[str, str]:
    """The query; of what is there twice the last. Raises :class:`VoiceError` (18)."""
    try:
        pairs = dict(reading.query_of(request))
    except reading.Unreadable as error:
        raise bad_query("query", str(error)) from None
    for name, value in pairs.items():
        if "\0" in value:
            raise bad_query(name[:40], "has a NUL character in it")
    return pairs


async def object_of(request: Request, *, may_be_empty: bool = False) -> dict[str, Any]:
    """The JSON object in the body. Raises :class:`VoiceError` and :class:`~engine.api.reading.Unreadable`."""
    data = await reading.octets(request)
    if may_be_empty and not data.strip():
        return {}
    value = reading.as_json(data)
    if not isinstance(value, dict):
        raise VoiceError(400, UNPARSABLE, "The request body must be a JSON object.")
    return value


def text_in(record: Mapping[str, Any], name: str, *, path: str = "", most: int = 4096, required: bool = True) -> str:
    """A text, or a number taken as one. ``path`` goes before the name in errors; null and an empty text are absent.

    Raises :class:`VoiceError` (11, 12).
    """
    value, shown = record.get(name), f"{path}{name}"
    if value is None or value == "":
        if required:
            raise missing(shown)
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**20:
        value = str(value)
    if not isinstance(value, str):
        raise bad_value(shown, "must be a text")
    if len(value) > most:
        raise bad_value(shown, f"must not be longer than {most} characters")
    if not value.isprintable():
        raise bad_value(shown, "must not have control characters in it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise bad_value(shown, "is no Unicode text") from None
    return value


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."

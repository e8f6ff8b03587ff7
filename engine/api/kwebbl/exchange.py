"""``/token``: codes and refresh tokens become access tokens (RFC 6749 sections 4.1.3, 5 and 6; the statuses are the
seed's).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from engine.accounts import clients
from engine.api.answers import TEXT, WHOLE, shape, told
from engine.api.kwebbl import grants
from engine.api.kwebbl.authorizing import printable
from engine.api.kwebbl.grants import Denied, Issued, Lifetimes
from engine.api.kwebbl.scopes import read_scopes
from engine.api.reading import Unreadable, as_form, as_json, media_type, octets
from engine.api.services import ApiServices
from engine.log import get_logger

log = get_logger(__name__)

LONGEST_BODY = 64 * 1024
STATUS = {
    "invalid_request": 400,
    "invalid_client": 401,
    "invalid_grant": 401,
    "unauthorized_client": 401,
    "server_error": 500,
}


def token_routes(services: ApiServices) -> APIRouter:
    """The endpoint."""
    desk = _Desk(services)
    api = APIRouter()
    example = {"grant_type": "authorization_code", "code": "ZdadQ538…", "redirect_uri": "https://client.example.com/cb"}
    body = {"schema": {"type": "object", "required": ["grant_type"], "properties": _PROPERTIES}, "example": example}
    api.add_api_route(
        "/token",
        desk.give,
        methods=["POST"],
        tags=["Kwebbl"],
        summary="Tokens for a code or a refresh token",
        responses={
            200: {
                "description": "A pair of tokens.",
                "content": {"application/json": {"schema": _PAIR, "example": _ANSWER}},
            },
            400: {
                "description": "`invalid_request`",
                "content": {"application/json": {"schema": _REFUSAL, "example": _ERROR}},
            },
            401: told(_REFUSAL, "`invalid_client`, `invalid_grant`, `unauthorized_client`"),
            429: told(_REFUSAL, "`temporarily_unavailable`: too many failed logins from this address."),
            413: told(_REFUSAL, "`invalid_request`: the body is too large."),
            503: told(_REFUSAL, "`server_error`: the database is out of reach."),
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": body, "application/x-www-form-urlencoded": {"schema": body["schema"]}},
            }
        },
    )
    return api


@dataclass(frozen=True, slots=True)
class _Credentials:
    """Of a client; ``by_header``: by HTTP Basic, and the answer to a wrong one is a challenge."""

    id: str
    secret: str
    by_header: bool


class _Refused(Exception):
    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


@dataclass(frozen=True, slots=True)
class _Desk:
    services: ApiServices

    async def give(self, request: Request) -> Response:
        """A pair of tokens, or an error as JSON."""
        by_header = bool(request.headers.get("Authorization"))
        try:
            values = await _values(request)
            issued = await self._issue(values, _credentials(request, values))
        except _Refused as refused:
            return _error(refused.error, str(refused), challenge=by_header)
        except Unreadable as error:
            return _error("invalid_request", str(error), status=error.status)
        except (SQLAlchemyError, OSError) as error:
            log.error("api_without_database", path=request.url.path, error=f"{type(error).__name__}: {error}")
            return _error("server_error", "the database is out of reach", status=503)
        answer = {
            "access_token": issued.access,
            "refresh_token": issued.refresh,
            "expires_in": int(self._lifetimes.access),
            "token_type": "Bearer",
            "scope": " ".join(issued.scopes),
        }
        if issued.state is not None:
            answer["state"] = issued.state
        return JSONResponse(answer, headers=_NOT_KEPT)

    @property
    def _lifetimes(self) -> Lifetimes:
        config = self.services.config.realtime
        return Lifetimes(config.access_lifetime, config.refresh_lifetime)

    async def _issue(self, values: dict[str, str], credentials: _Credentials) -> Issued:
        kind = values.get("grant_type", "")
        if kind not in ("authorization_code", "refresh_token"):
            what = "is missing" if not kind else "must be authorization_code or refresh_token"
            raise _Refused("invalid_request", f"grant_type: {what}")
        needed = ("code", "redirect_uri") if kind == "authorization_code" else ("refresh_token",)
        for name in needed:
            if not values.get(name):
                raise _Refused("invalid_request", f"{name}: is missing")
        try:
            narrowed = read_scopes(values["scope"]) if values.get("scope") else None
        except ValueError as error:
            raise _Refused("invalid_request", str(error)) from None
        async with self.services.store.reading() as connection:  # strangers never have the database write
            client = await clients.verify(connection, credentials.id, credentials.secret)
        if client is None:
            raise _Refused("invalid_client", "client authentication failed")
        if not client.redirect_uris:
            raise _Refused("unauthorized_client", "the client may not use this authorization method")
        async with self.services.store.writing() as connection:
            if kind == "authorization_code":
                found: Issued | Denied = await grants.exchange(
                    connection,
                    client,
                    values["code"],
                    values["redirect_uri"],
                    values.get("code_verifier", ""),
                    narrowed,
                    self._lifetimes,
                )
            elif values.get("redirect_uri", client.redirect_uris[0]) not in client.redirect_uris:
                found = Denied("invalid_grant", "redirect_uri: is none of the client's")
            else:
                found = await grants.refresh(connection, client, values["refresh_token"], narrowed, self._lifetimes)
        if isinstance(found, Denied):  # outside: a code that was used twice has changed something
            raise _Refused(found.error, found.description)
        return found


async def _values(request: Request) -> dict[str, str]:
    """The parameters of a JSON object or a form. Raises :class:`_Refused` and Unreadable."""
    data = await octets(request, LONGEST_BODY)
    kind = media_type(request)
    if kind == "application/json" or (kind == "" and data.lstrip()[:1] == b"{"):
        found = as_json(data)
        if not isinstance(found, dict):
            raise _Refused("invalid_request", "the body is not a JSON object")
        for name, value in found.items():
            if value is not None and not isinstance(value, str):
                raise _Refused("invalid_request", f"{name}: must be a string")
        return {name: value for name, value in found.items() if value is not None}
    if kind not in ("application/x-www-form-urlencoded", ""):
        raise _Refused("invalid_request", "the body must be JSON or a form")
    values: dict[str, str] = {}
    for name, value in as_form(data):
        if name in values:
            raise _Refused("invalid_request", f"{name}: came more than once")
        values[name] = value
    return values


def _credentials(request: Request, values: dict[str, str]) -> _Credentials:
    """Id and secret, from one place (RFC 6749 section 2.3). Raises :class:`_Refused`."""
    header = request.headers.get("Authorization", "")
    if not header:
        if not values.get("client_id") or not values.get("client_secret"):
            raise _Refused("invalid_client", "the client did not authenticate")
        return _Credentials(values["client_id"], values["client_secret"], by_header=False)
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise _Refused("invalid_client", "clients authenticate by HTTP Basic or in the body")
    try:
        name, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _Refused("invalid_client", "the Authorization header cannot be read") from None
    name, secret = unquote_plus(name), unquote_plus(secret)  # RFC 6749 section 2.3.1
    if "client_secret" in values or values.get("client_id", name) != name:
        raise _Refused("invalid_request", "the client authenticates in the header and in the body")
    if not colon or not name:
        raise _Refused("invalid_client", "the Authorization header has no client id")
    return _Credentials(name, secret, by_header=True)


def _error(error: str, description: str, *, status: int = 0, challenge: bool = False) -> Response:
    description = printable(description)
    headers = dict(_NOT_KEPT)
    if challenge:
        headers["WWW-Authenticate"] = f'Basic realm="ivrea", error="{error}", error_description="{description}"'
    body = {"error": error, "error_description": description}
    return JSONResponse(body, status_code=status or STATUS[error], headers=headers)


_NOT_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 section 5.1

_REFUSAL = shape(error=TEXT, error_description=TEXT)
_PAIR = shape(
    access_token=TEXT,
    refresh_token=TEXT,
    expires_in=WHOLE,
    token_type=TEXT,
    scope=TEXT,
    optional={"state": TEXT},
)
_TEXT = {"type": "string"}
_PROPERTIES: dict[str, Any] = {
    "grant_type": {"type": "string", "enum": ["authorization_code", "refresh_token"]},
    "code": _TEXT,
    "redirect_uri": _TEXT,
    "code_verifier": _TEXT,
    "refresh_token": _TEXT,
    "scope": _TEXT,
    "client_id": _TEXT,
    "client_secret": _TEXT,
}
_ANSWER = {
    "access_token": "ivrea_…",
    "refresh_token": "ivrea_…",
    "expires_in": 900,
    "token_type": "Bearer",
    "scope": "…",
}
_ERROR = {"error": "invalid_request", "error_description": "grant_type: is missing"}

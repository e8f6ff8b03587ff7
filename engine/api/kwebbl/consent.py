"""``/authorize``: a person logs in and says whether an application may (RFC 6749 section 4.1.1 and 4.1.2).

What the application asked for stays in the query of the page's address; forms post to it, so that nothing of it need be
kept. Between login and consent a cookie has a token of that kind. A form is taken only with a secret that was made for
the cookie of the same browser, and never from another site.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.exc import SQLAlchemyError

from engine.accounts import audit, clients, repository, tokens
from engine.accounts.entities import Caller, Client
from engine.api.answers import told
from engine.api.doors import network_of
from engine.api.kwebbl import grants, pages
from engine.api.kwebbl.authorizing import BadRequest, Refusal, Wish, origin_of, read_client, read_wish
from engine.api.kwebbl.errors import LOGIN
from engine.api.kwebbl.scopes import grantable
from engine.api.reading import Unreadable, as_form, media_type, octets, query_of
from engine.api.services import ApiServices
from engine.log import get_logger

log = get_logger(__name__)

LOGIN_SECONDS = 600.0
"""From the login to the consent."""
LONGEST_FORM = 16 * 1024


def consent_routes(services: ApiServices) -> APIRouter:
    """The pages."""
    desk = _Desk(services)
    api = APIRouter()
    responses: dict[int | str, dict[str, Any]] = {
        303: {"description": "Back to the application, with `code` or `error`; or on to the next page."},
        400: {"description": "Client or redirect URI are wrong: a page, and no redirection."},
        429: {"description": "Too many failed logins."},
        503: {"description": "The database is out of reach."},
    }
    for status, answer in responses.items():
        if status != 303:
            answer["content"] = {"text/html": {"schema": {"type": "string"}}}
    add: dict[str, Any] = {"response_class": HTMLResponse, "tags": ["Kwebbl"], "responses": responses}
    api.add_api_route(
        "/authorize", desk.show, methods=["GET"], summary="Ask a person for access", openapi_extra=_QUERY, **add
    )
    refused = {
        403: told({"type": "string"}, "The form is too old, or of another browser.", media="text/html"),
        413: told({"type": "string"}, "The form is too large.", media="text/html"),
        415: told({"type": "string"}, "It is no form.", media="text/html"),
    }
    add["responses"] = {**responses, **refused}
    api.add_api_route(
        "/authorize", desk.take, methods=["POST"], summary="What the person said", openapi_extra=_FORM, **add
    )
    return api


@dataclass(frozen=True, slots=True)
class _Visit:
    """A request to the page: who asks for what, and who is there."""

    request: Request
    client: Client
    company: str
    wish: Wish
    person: Caller | None

    @property
    def origin(self) -> str:
        return origin_of(self.wish.redirect_uri)


@dataclass(frozen=True, slots=True)
class _Desk:
    services: ApiServices

    async def show(self, request: Request) -> Response:
        """The login, or for who has logged in the consent."""
        return await self._with_visit(request, self._page)

    async def take(self, request: Request) -> Response:
        """A form: ``action`` is ``login``, ``allow``, ``deny`` or ``leave``."""
        return await self._with_visit(request, self._act)

    async def _with_visit(self, request: Request, then: Callable[[_Visit], Awaitable[Response]]) -> Response:
        try:
            return await then(await self._visit(request))
        except BadRequest as error:
            return pages.problem("This request cannot be used", str(error))
        except Unreadable as error:
            return pages.problem("This request cannot be read", str(error), status=error.status)
        except Refusal as refusal:
            return _go(refusal.location)
        except (SQLAlchemyError, OSError) as error:
            log.error("api_without_database", path=request.url.path, error=f"{type(error).__name__}: {error}")
            return pages.problem("Please try again", "Our database is out of reach.", status=503, retry_after=5)

    async def _visit(self, request: Request) -> _Visit:
        values, twice = read_client(query_of(request))
        login = request.cookies.get(_name(request, "login"), "")
        async with self.services.store.reading() as connection:
            client = await clients.get(connection, values["client_id"])
            if client is None:
                raise BadRequest("There is no application with this client_id.")
            wish = read_wish(values, twice, client.redirect_uris)
            company = await repository.account(connection, client.account_id)
            person = await tokens.verify(connection, login, LOGIN) if login else None
        if person is not None and person.account_id != client.account_id:
            person = None
        return _Visit(request, client, company.name, wish, person)

    async def _page(self, visit: _Visit) -> Response:
        if visit.person is None:
            return self._login(visit)
        granted = grantable(visit.wish.scopes, visit.person.role)
        refused = [name for name in visit.wish.scopes if name not in granted]
        hidden = [("csrf", _proof(visit.request.cookies[_name(visit.request, "login")]))]
        return pages.consent(
            visit.client.name, visit.company, visit.person.user, granted, refused, hidden, visit.origin
        )

    def _login(self, visit: _Visit, *, email: str = "", problem: str = "") -> Response:
        secret = visit.request.cookies.get(_name(visit.request, "form"), "")
        fresh = secret if len(secret) == 43 else secrets.token_urlsafe(32)
        hidden = [("csrf", _proof(fresh))]
        answer = pages.login(visit.client.name, visit.company, hidden, visit.origin, email=email, problem=problem)
        _set_cookie(answer, visit.request, "form", fresh, LOGIN_SECONDS)
        return answer

    # --- forms --------------------------------------------------------------------------

    async def _act(self, visit: _Visit) -> Response:
        request = visit.request
        if media_type(request) != "application/x-www-form-urlencoded":
            raise Unreadable(415, "The form is not application/x-www-form-urlencoded.")
        form = dict(as_form(await octets(request, LONGEST_FORM)))
        own = _name(request, "login" if visit.person is not None else "form")
        proof = _proof(request.cookies.get(own, ""))
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none") or not (
            request.cookies.get(own)
            and hmac.compare_digest(proof.encode(), form.get("csrf", "").encode("utf-8", "replace"))
        ):
            again = "This form is too old, or your browser keeps no cookies. Go back to the application and try again."
            return pages.problem("The form was not taken", again, status=403)
        match form.get("action", ""):
            case "deny":
                raise Refusal(
                    visit.wish.redirect_uri, visit.wish.state, "access_denied", "the user refused to grant access"
                )
            case "login" if visit.person is None:
                return await self._log_in(visit, form.get("email", "").strip(), form.get("password", ""))
            case "allow" if visit.person is not None:
                return await self._allow(visit, visit.person)
            case "leave" if visit.person is not None:
                return await self._leave(visit)
        return pages.problem("The form was not taken", "It does not belong to this page.")

    async def _log_in(self, visit: _Visit, email: str, password: str) -> Response:
        if not email or not password:
            return self._login(visit, email=email, problem="E-mail address and password are both needed.")
        where = network_of(visit.request.scope)
        async with self.services.store.reading() as connection:
            user = await repository.user_by_email(connection, email)
        if user is not None and user.account_id != visit.client.account_id:
            user = None  # a stranger to this application
        kept = user.password if user is not None else None
        right = await self.services.passwords.check(email.casefold(), password, kept or "", where)
        if right is None:
            log.warning("login_refused_for_now", address=where)
            text = "There were too many wrong passwords. Please wait a quarter of an hour."
            return pages.problem("Please wait", text, status=429, retry_after=900)
        if not right or user is None:
            log.info("login_failed", address=where, client=visit.client.id)
            raise Refusal(
                visit.wish.redirect_uri, visit.wish.state, "invalid_grant", "the user's credentials are invalid"
            )
        async with self.services.store.writing() as connection:
            token = await tokens.issue(
                connection, user.account_id, user.id, name="login", lifetime=LOGIN_SECONDS, kind=LOGIN
            )
        answer = _go(_here(visit.request))
        _set_cookie(answer, visit.request, "login", token, LOGIN_SECONDS)
        answer.delete_cookie(_name(visit.request, "form"), path="/")
        return answer

    async def _allow(self, visit: _Visit, person: Caller) -> Response:
        wish = visit.wish
        granted = grantable(wish.scopes, person.role)
        if not granted:
            raise Refusal(wish.redirect_uri, wish.state, "access_denied", "the user may not grant these scopes")
        try:
            async with self.services.store.writing() as connection:
                code = await grants.new_code(connection, person, wish, granted)
                await audit.note(connection, person, "access granted", wish.client_id, {"scopes": list(granted)})
                await tokens.revoke(connection, visit.request.cookies[_name(visit.request, "login")])
        except (SQLAlchemyError, OSError) as error:
            log.error("api_without_database", path="/authorize", error=f"{type(error).__name__}: {error}")
            raise Refusal(wish.redirect_uri, wish.state, "server_error", "the database is out of reach") from None
        log.info("access_granted", client=wish.client_id, user=person.user, scopes=list(granted))
        answer = _go(wish.back(code=code))
        answer.delete_cookie(_name(visit.request, "login"), path="/")
        return answer

    async def _leave(self, visit: _Visit) -> Response:
        name = _name(visit.request, "login")
        async with self.services.store.writing() as connection:
            await tokens.revoke(connection, visit.request.cookies[name])
        answer = _go(_here(visit.request))
        answer.delete_cookie(name, path="/")
        return answer


def _go(location: str) -> Response:
    """303: whatever the method was, the browser asks with GET (RFC 9700 section 4.12)."""
    answer = RedirectResponse("", status_code=303, headers={"Cache-Control": "no-store"})
    answer.headers["Location"] = location  # as it is: RedirectResponse would escape what was escaped
    return answer


def _here(request: Request) -> str:
    """Where this page is, relative: whatever name and scheme the browser has for us."""
    return f"{request.url.path}?{request.url.query}"


def _proof(secret: str) -> str:
    """What a form has to show for the cookie's ``secret``: not to be had without it, nor it from this."""
    return hashlib.sha256(f"form\0{secret}".encode("utf-8", "replace")).hexdigest()


def _name(request: Request, kind: str) -> str:
    """The name of a cookie. With TLS browsers keep others from setting it (``__Host-``)."""
    return f"__Host-ivrea-{kind}" if request.url.scheme == "https" else f"ivrea-{kind}"


def _set_cookie(answer: Response, request: Request, kind: str, value: str, seconds: float) -> None:
    answer.set_cookie(
        _name(request, kind),
        value,
        max_age=int(seconds),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def _parameter(name: str, description: str, *, required: bool = False, example: str = "") -> dict[str, object]:
    shown = {"example": example} if example else {}
    about = {"name": name, "in": "query", "required": required, "description": description}
    return {**about, "schema": {"type": "string"}, **shown}


_QUERY = {
    "parameters": [
        _parameter("client_id", "The application's id.", required=True, example="s6BhdRkqt3"),
        _parameter("redirect_uri", "Exactly one of those that it registered.", required=True),
        _parameter("response_type", "`code`.", required=True, example="code"),
        _parameter("state", "Comes back with the answer."),
        _parameter("scope", "Scopes, separated by blanks; without it all that need no admin."),
        _parameter("code_challenge", "PKCE (RFC 7636)."),
        _parameter("code_challenge_method", "`S256`."),
    ]
}
_FIELDS = {name: {"type": "string"} for name in ("csrf", "action", "email", "password")}
_FORM = {
    **_QUERY,
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {"type": "object", "required": ["csrf", "action"], "properties": _FIELDS}
            }
        },
    },
}

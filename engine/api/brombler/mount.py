"""The endpoints of Brombler's API. Parameters come in the query, in a form, or as JSON; a body's win."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from engine.accounts import clients, tokens
from engine.accounts.entities import Caller as Who
from engine.api.answers import TEXT, WHOLE, Json, shape, table, told
from engine.api.brombler.answers import BromblerRoute, Refusal, fine
from engine.api.brombler.calls import LISTED, listed
from engine.api.brombler.forwarding import Forwarder
from engine.api.limits import RateLimit, retry_after
from engine.api.noting import about, begins
from engine.api.parties import party
from engine.api.reading import Unreadable, as_form, as_json, media_type, octets, query_of
from engine.api.services import ApiServices
from engine.calls.allowance import NotAllowed
from engine.calls.control import Control, ControlRefused
from engine.calls.media import MediaError
from engine.calls.outbound import Wish
from engine.calls.services import FlowError
from engine.calls.supervisor import Supervisor

KIND, WEB_KIND = "brombler", "brombler-web"
"""Of tokens: for the API, and for telephones in a browser (``webrtc=1``)."""

DEFAULT_LIFETIME, LONGEST_LIFETIME = 3600, 30 * 86_400
MAX_TREE = 1024 * 1024


def mount(services: ApiServices) -> APIRouter:
    """The endpoints; ``$forward`` begins to work."""
    brombler = _Brombler(services)
    services.background(Forwarder(services.switch, services.fetcher).run())
    api = APIRouter(route_class=BromblerRoute, tags=["Brombler"])
    api.add_api_route(
        "/auth.cas", brombler.auth, methods=["POST"], summary="A token for a client id and secret",
        responses={200: told(_TOKEN)}, openapi_extra=_body(_CREDENTIALS),
    )  # fmt: skip
    for path, act, summary, answer, wish in (
        ("/call.cas", brombler.call, "Call somebody with a call tree", _fine(id=TEXT), _CALL),
        ("/list.cas", brombler.list, "The live calls of the account", _fine(list=table(LISTED)), None),
        ("/close.cas", brombler.close, "End a call, by its id", _fine(), _WHO),
        ("/refer.cas", brombler.refer, "Send a call to an agent", _fine(), _AGENT),
    ):
        for method in ("GET", "POST"):
            told_of = {} if wish is None else _query(wish) if method == "GET" else _body(wish)
            api.add_api_route(
                path, act, methods=[method], summary=summary, responses={200: told(answer)}, openapi_extra=told_of
            )
    return api


_CALL: Json = {
    "type": "object",
    "required": ["who", "tree"],
    "properties": {
        "who": {"type": "string", "description": "The number to call."},
        "tree": {
            "anyOf": [{"type": "string"}, {"type": "object"}],
            "description": "Text to say, or a call tree: an object, or its JSON as a string.",
        },
        "timeout": {"type": "number", "exclusiveMinimum": 0, "description": "Seconds that the call may last."},
    },
}
_WHO: Json = {
    "type": "object",
    "required": ["who"],
    "properties": {"who": {"type": "string", "description": "The id of the call."}},
}
_AGENT: Json = {
    "type": "object",
    "required": ["who", "user"],
    "properties": {**_WHO["properties"], "user": {"type": "string", "description": "The agent who gets the call."}},
}
_CREDENTIALS: Json = {
    "type": "object",
    "required": ["client_id", "client_secret"],
    "properties": {
        "client_id": TEXT,
        "client_secret": TEXT,
        "exp": {
            "type": "number",
            "minimum": 1,
            "maximum": LONGEST_LIFETIME,
            "default": DEFAULT_LIFETIME,
            "description": "Seconds that the token lasts.",
        },
        "webrtc": {**TEXT, "description": "1: a token for a telephone in a browser."},
    },
}
_TOKEN = shape(access_token=TEXT, expires_in=WHOLE, token_type=TEXT)


def _fine(**more: Json) -> Json:
    return shape(response={"const": 200}, responseText=TEXT, **more)


def _body(schema: Json) -> Json:
    """Fields in a form, or in JSON."""
    content = {kind: {"schema": schema} for kind in ("application/json", "application/x-www-form-urlencoded")}
    return {"requestBody": {"required": True, "content": content}}


def _query(schema: Json) -> Json:
    """The same fields as parameters."""
    return {
        "parameters": [
            {"name": name, "in": "query", "required": name in schema["required"], "schema": _as_text(each)}
            for name, each in schema["properties"].items()
        ]
    }


def _as_text(field: Json) -> Json:
    return {**TEXT, "description": field["description"]} if "anyOf" in field else field


@dataclass(slots=True)
class _Brombler:
    services: ApiServices
    _calls: RateLimit = field(init=False)
    _logins: RateLimit = field(default_factory=lambda: RateLimit(rate=1.0, burst=5.0))

    def __post_init__(self) -> None:
        self._calls = RateLimit(self.services.config.api.brombler_rate)

    # --- who asks -----------------------------------------------------------------------

    async def auth(self, request: Request) -> Response:
        """``client_id`` and ``client_secret`` for a token that lasts ``exp`` seconds."""
        address = request.client.host if request.client is not None else ""
        self._limit(self._logins, address)
        given = await parameters(request)
        lifetime = int(_seconds(given, "exp", least=1, most=LONGEST_LIFETIME) or DEFAULT_LIFETIME)
        kind = WEB_KIND if str(given.get("webrtc", "")) in ("1", "true") else KIND
        name, secret = _text(given, "client_id"), _text(given, "client_secret")
        async with self.services.store.reading() as connection:  # strangers never have the database write
            client = await clients.verify(connection, name, secret)
        if client is None:
            raise _strange()
        if client.user_id is None and client.redirect_uris:
            raise Refusal(403, "this client gets tokens from users who consent, and has none of its own")
        async with self.services.store.writing() as connection:
            if await clients.verify(connection, name, secret) is None:  # not any more
                raise _strange()
            user = client.user_id or (await tokens.owner_of(connection, client.account_id)).id
            token = await tokens.issue(
                connection, client.account_id, user, name=client.name, lifetime=lifetime, kind=kind, client_id=client.id
            )
        body = {"access_token": token, "expires_in": lifetime, "token_type": "Bearer"}
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    async def _who(self, request: Request, needs: str) -> Who:
        """Whom the token speaks for; at most so many requests a second."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        who = None
        if scheme.lower() == "bearer" and token.strip():
            async with self.services.store.reading() as connection:
                who = await tokens.verify(connection, token.strip(), KIND)
        if who is None:
            raise Refusal(401, "the token is none, or none any more", {"WWW-Authenticate": 'Bearer realm="ivrea"'})
        self._limit(self._calls, who.account_id)
        if not who.may(needs):
            raise Refusal(403, f"the role {who.role} may not do this")
        begins(request, self.services.store, who, needs)
        return who

    def _limit(self, limit: RateLimit, name: str) -> None:
        wait = limit.wait(name, asyncio.get_running_loop().time())
        if wait:
            raise Refusal(429, "too many requests", {"Retry-After": retry_after(wait)})

    # --- calls --------------------------------------------------------------------------

    async def call(self, request: Request) -> Response:
        """Begin a call: answered once it is being dialled, with its ``id``."""
        who = await self._who(request, "calls.write")
        given = await parameters(request)
        try:
            number = party(_text(given, "who"))
        except ValueError as error:
            raise Refusal(400, f"who: {error}") from None
        tree = given.get("tree")
        if isinstance(tree, dict):
            text = json.dumps(tree, ensure_ascii=False)
        elif isinstance(tree, str) and tree.strip():
            text = tree
        else:
            raise Refusal(400, "tree: is missing" if tree in (None, "") else "tree: must be text or an object")
        if len(text.encode("utf-8", "replace")) > MAX_TREE:
            raise Refusal(413, "tree: is larger than 1 MiB")
        seconds = _seconds(given, "timeout")
        try:
            flow = await self.services.originator.inline(who.account_id, text, "brombler")
        except FlowError as error:
            found = next(iter(error.findings), None)
            raise Refusal(400, f"tree: {found}" if found is not None else f"tree: {error}") from None
        wish = Wish(to=number, source=who.user, longest=seconds)
        try:
            call = self.services.originator.call(who.account_id, wish, flow)
        except NotAllowed as error:
            raise Refusal(error.status, f"who: {error}") from None
        except (MediaError, FlowError) as error:
            raise Refusal(503, str(error), {"Retry-After": "5"}) from None
        return fine(id=call.id)

    async def list(self, request: Request) -> Response:
        """The live calls of the account, whoever made them."""
        who = await self._who(request, "calls.read")
        return fine(list=listed(self.services.switch.calls_of(who.account_id), time.time()))

    async def close(self, request: Request) -> Response:
        """End the call whose id is ``who``."""
        who = await self._who(request, "calls.write")
        call = self._own(who, _text(await parameters(request), "who"))
        about(request, call.id)
        call.call.end("flow", f"hung up by {who.user}")
        return fine()

    async def refer(self, request: Request) -> Response:
        """Connect whoever is on the call ``who`` with ``user``: a user, a telephone or a number of the account."""
        who = await self._who(request, "calls.write")
        given = await parameters(request)
        call = self._own(who, _text(given, "who"))
        about(request, call.id)
        try:
            await Control(call).transfer(party(_text(given, "user")), by=who.user)
        except ValueError as error:
            raise Refusal(400, f"user: {error}") from None
        except ControlRefused as error:
            raise Refusal({"no_target": 404, "not_allowed": 403}.get(error.code, 409), f"user: {error}") from None
        return fine()

    def _own(self, who: Who, call_id: str) -> Supervisor:
        call = self.services.switch.calls.get(call_id)
        if call is None or call.plan.account != who.account_id:
            raise Refusal(404, f"who: there is no live call {call_id!r}")
        return call


def _strange() -> Refusal:
    return Refusal(401, "client_id and client_secret do not belong together")


# --- parameters -------------------------------------------------------------------------


async def parameters(request: Request) -> dict[str, Any]:
    """Those of the query, and over them those of the body. A body that says nothing of itself is a form."""
    given: dict[str, Any] = dict(query_of(request))
    data = await octets(request, 2 * MAX_TREE)
    if not data:
        return given
    kind = media_type(request)
    if kind in ("application/x-www-form-urlencoded", ""):
        return given | dict(as_form(data))
    if kind != "application/json":
        raise Unreadable(415, f"{kind} is not understood: send a form or JSON")
    found = as_json(data)
    if not isinstance(found, dict):
        raise Unreadable(400, "the body must be a JSON object")
    return given | found


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise Refusal(400, f"{name}: is missing" if value in (None, "") else f"{name}: must be text")
    text = str(value).strip()
    if len(text) > 255 or not text.isprintable():
        raise Refusal(400, f"{name}: must be at most 255 printable characters")
    return text


def _seconds(given: dict[str, Any], name: str, *, least: int = 0, most: int = 86_400) -> float:
    """A duration; 0.0 when there is none. ``least``: 0 for anything more than that."""
    value = given.get(name)
    if value in (None, ""):
        return 0.0
    seconds = -1.0
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            seconds = float(value)
    if not seconds > 0 or not least <= seconds <= most:
        raise Refusal(
            400, f"{name}: must be seconds, {f'at least {least}' if least else 'more than 0'} and at most {most}"
        )
    return seconds

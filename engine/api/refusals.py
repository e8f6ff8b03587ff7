"""What a request is told that no API has seen: in the words of the API that it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from engine.api.brombler.answers import refused as brombler
from engine.api.doors import host_of
from engine.api.kazoo.envelopes import KazooError
from engine.api.kazoo.envelopes import refusal as kazoo
from engine.api.kwebbl import pages
from engine.api.kwebbl.errors import answer_of as kwebbl
from engine.api.limits import retry_after
from engine.api.messagebird.answers import NO_AUTH, VoiceError

MESSAGE = "too many failed logins from this address"


class TooManyFailures:
    """Makes the answer 429 to who has failed to log in too often."""

    def __init__(self, hosts: Mapping[str, str], routes: Mapping[str, Sequence[BaseRoute]]) -> None:
        """``hosts`` has the API by host name, ``routes`` those of each API."""
        self._systems = {host.lower(): system for host, system in hosts.items()}
        self._routes = routes

    def __call__(self, scope: Scope, seconds: float) -> Response:
        """The answer to the request of ``scope``: it may come again after ``seconds``."""
        wait = retry_after(seconds)
        answer = _ANSWERS.get(self._system(scope), _ours)(Request(scope), wait)
        answer.headers["Retry-After"] = wait
        return answer

    def _system(self, scope: Scope) -> str:
        if (system := self._systems.get(host_of(scope))) is not None:
            return system
        matching = (
            system
            for system, routes in self._routes.items()
            if any(route.matches(scope)[0] is not Match.NONE for route in routes)
        )
        return next(matching, "")


def _ours(_request: Request, _wait: str) -> Response:
    return JSONResponse({"error": {"code": "too_many_failures", "message": MESSAGE}}, 429)


def _kazoo(request: Request, wait: str) -> Response:
    return kazoo(request, KazooError(429, "too_many_requests", {"message": MESSAGE, "retry_after": int(wait)}))


def _kwebbl(request: Request, wait: str) -> Response:
    """Of ``/token`` RFC 6749 section 5.2 has the form, and ``/authorize`` is for people."""
    path = request.url.path
    if path.endswith("/authorize"):
        return pages.problem("Please wait", "There were too many failed logins.", status=429, retry_after=int(wait))
    if path.endswith("/token"):
        headers = {"Cache-Control": "no-store"}
        return JSONResponse({"error": "temporarily_unavailable", "error_description": MESSAGE}, 429, headers)
    return kwebbl(429, "too_many_requests", MESSAGE)


_ANSWERS: Mapping[str, Callable[[Request, str], Response]] = {
    "brombler": lambda _request, _wait: brombler(429, MESSAGE, {}),
    "kazoo": _kazoo,
    "kwebbl": _kwebbl,
    "messagebird": lambda _request, _wait: VoiceError(429, NO_AUTH, f"{MESSAGE.capitalize()}.").response(),
    "verboice": lambda _request, _wait: JSONResponse({"error": MESSAGE.capitalize()}, 429),
}

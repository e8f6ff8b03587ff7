"""What a request is told that no API has seen: in the words of the API that it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from engine.api.brombler.answers import refused as brombler
from engine.api.doors import Systems
from engine.api.kazoo.envelopes import KazooError
from engine.api.kazoo.envelopes import refusal as kazoo
from engine.api.kwebbl import pages
from engine.api.kwebbl.errors import answer_of as kwebbl
from engine.api.kwebbl.errors import no_such
from engine.api.limits import retry_after
from engine.api.messagebird.answers import IMPOSSIBLE, NO_AUTH, NOT_FOUND, VoiceError

MESSAGE = "too many failed logins from this address"
NOTHING = "there is nothing here"


class TooManyFailures:
    """Makes the answer 429 to who has failed to log in too often."""

    def __init__(self, systems: Systems) -> None:
        self._systems = systems

    def __call__(self, scope: Scope, seconds: float) -> Response:
        """The answer to the request of ``scope``: it may come again after ``seconds``."""
        wait = retry_after(seconds)
        answer = _ANSWERS.get(self._systems.of(scope), _ours)(Request(scope), wait)
        answer.headers["Retry-After"] = wait
        return answer


class NotThere:
    """Makes the answer to a path that there is not (404), or not with this method (405)."""

    def __init__(self, systems: Systems) -> None:
        self._systems = systems

    async def __call__(self, request: Request, error: Exception) -> Response:
        """The answer. ``error`` is Starlette's, who has asked all routes."""
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            return _NOT_THERE.get(self._systems.of(request.scope), _not_ours)(request, 404, NOTHING)
        methods = self._systems.methods(request.scope)
        allowed = ", ".join(methods) or (error.headers or {}).get("Allow", "")
        text = f"the method {request.method[:20]} is not allowed here: {allowed} may be used"
        answer = _NOT_THERE.get(self._systems.of(request.scope), _not_ours)(request, 405, text)
        if answer.status_code == 405:
            answer.headers["Allow"] = allowed
        return answer


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


# --- no such path, or no such method ----------------------------------------------------


def _not_ours(_request: Request, status: int, text: str) -> Response:
    code = "not_found" if status == 404 else "method_not_allowed"
    return JSONResponse({"error": {"code": code, "message": text}}, status)


def _not_kazoo(request: Request, status: int, text: str) -> Response:
    """The words are those of Crossbar's system errors."""
    if status == 404:
        return kazoo(request, KazooError(404, "not_found", {"cause": request.url.path[:200]}))
    return kazoo(request, KazooError(status, "invalid_method", {"message": text}))


def _not_messagebird(_request: Request, status: int, text: str) -> Response:
    code = NOT_FOUND if status == 404 else IMPOSSIBLE
    return VoiceError(status, code, f"{text[0].upper()}{text[1:]}.").response()


def _not_verboice(_request: Request, status: int, text: str) -> Response:
    return Response(status_code=404) if status == 404 else JSONResponse({"error": text}, status)


_NOT_THERE: Mapping[str, Callable[[Request, int, str], Response]] = {
    "brombler": lambda _request, status, text: brombler(status, text, {}),
    "kazoo": _not_kazoo,
    "kwebbl": lambda request, _status, _text: no_such(request),
    "messagebird": _not_messagebird,
    "verboice": _not_verboice,
}

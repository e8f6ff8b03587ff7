"""Requests to the authorization endpoint, judged (RFC 6749 section 4.1.1, RFC 7636 for PKCE, RFC 9700).

Pure: what the request says and whose client it is go in, a :class:`Wish` or a refusal comes out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from engine.accounts.redirects import redirect_problem
from engine.api.kwebbl.scopes import read_scopes

MOST_STATE = 2048
"""Characters of ``state``: it comes back in a URL."""

_VSCHAR = re.compile(r"[\x20-\x7e]*")  # RFC 6749 appendix A
_CHALLENGE = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636 section 4.2
_VERIFIER = _CHALLENGE  # section 4.1: the same characters and lengths


class BadRequest(Exception):
    """Nobody can be sent back to: what a person is told on a page. The text is for them."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What an application asks of a user. ``challenge``: PKCE's, of S256; empty when it uses none."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    challenge: str

    def back(self, **answer: str) -> str:
        """The URL that answers the application."""
        return with_answer(self.redirect_uri, {**answer, **({} if self.state is None else {"state": self.state})})


class Refusal(Exception):
    """An error that the application gets: ``location`` is where the browser goes."""

    def __init__(self, redirect_uri: str, state: str | None, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        answer = {"error": error, "error_description": description}
        self.location = with_answer(redirect_uri, answer if state is None else {**answer, "state": state})


def read_client(pairs: Iterable[tuple[str, str]]) -> tuple[dict[str, str], Collection[str]]:
    """The request's parameters, and the names of those that came twice (RFC 6749 section 3.1).

    Raises :class:`BadRequest` when client or redirection are missing or came twice.
    """
    values: dict[str, str] = {}
    twice: set[str] = set()
    for name, value in pairs:
        if name in values:
            twice.add(name)
        values[name] = value
    for name in ("client_id", "redirect_uri"):
        if not values.get(name):
            raise BadRequest(f"The parameter {name} is missing.")
        if name in twice:
            raise BadRequest(f"The parameter {name} came more than once.")
    return values, twice


def read_wish(values: Mapping[str, str], twice: Collection[str], registered: Collection[str]) -> Wish:
    """The wish of a known client. ``registered`` are its redirect URIs.

    Raises :class:`BadRequest` for a redirection that is none of them, character by character (RFC 9700 section 4.1.3),
    and :class:`Refusal` for everything else.
    """
    redirect_uri = values["redirect_uri"]
    if redirect_uri not in registered:
        raise BadRequest("The address to return to (redirect_uri) is none of those that the application registered.")
    if problem := redirect_problem(redirect_uri):  # it was registered before that was looked at
        raise BadRequest(f"The address to return to (redirect_uri) {problem}.")
    state = values.get("state")
    sendable = state if state is not None and len(state) <= MOST_STATE and _VSCHAR.fullmatch(state) else None

    def refuse(error: str, description: str) -> Refusal:
        return Refusal(redirect_uri, sendable, error, description)

    if "state" in twice or sendable != state:
        raise refuse("invalid_request", f"state: at most {MOST_STATE} printable ASCII characters, once")
    for name in ("response_type", "scope", "code_challenge", "code_challenge_method"):
        if name in twice:
            raise refuse("invalid_request", f"{name}: came more than once")
    match values.get("response_type", ""):
        case "code":
            pass
        case "":
            raise refuse("invalid_request", "response_type: is missing")
        case _:
            raise refuse("unsupported_response_type", "response_type: only code is supported")
    try:
        scopes = read_scopes(values.get("scope", ""))
        challenge = _challenge(values)
    except ValueError as error:
        raise refuse("invalid_request", printable(str(error))) from None
    return Wish(values["client_id"], redirect_uri, scopes, state, challenge)


def _challenge(values: Mapping[str, str]) -> str:
    challenge, method = values.get("code_challenge", ""), values.get("code_challenge_method", "")
    if not challenge:
        if method:
            raise ValueError("code_challenge: is missing")
        return ""
    if method != "S256":  # without a method it is "plain", which proves nothing to whoever read the request
        raise ValueError("code_challenge_method: only S256 is supported")
    if not _CHALLENGE.fullmatch(challenge):
        raise ValueError("code_challenge: must be 43 to 128 unreserved characters")
    return challenge


def proves(challenge: str, verifier: str) -> bool:
    """Whether ``verifier`` belongs to ``challenge`` (RFC 7636 section 4.6). None is right where none was announced."""
    if not challenge:
        return not verifier  # RFC 9700 section 2.1.1: against a downgrade
    if not _VERIFIER.fullmatch(verifier):
        return False
    made = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return hmac.compare_digest(made, challenge)


def with_answer(redirect_uri: str, answer: Mapping[str, str]) -> str:
    """``redirect_uri`` with ``answer`` after its own query, which stays as it is (RFC 6749 section 4.1.2)."""
    parts = urlsplit(redirect_uri)
    query = "&".join(filter(None, (parts.query, urlencode(answer))))
    return urlunsplit(parts._replace(query=query))


def origin_of(redirect_uri: str) -> str:
    """What a Content-Security-Policy calls the place that the browser is sent to: an origin, or a scheme of an app."""
    parts = urlsplit(redirect_uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def pairs_of(query: str) -> list[tuple[str, str]]:
    """Parameters of a query or a form, empty ones too. Raises :class:`ValueError` for too many."""
    return parse_qsl(query, keep_blank_values=True, max_num_fields=64)


def printable(text: str) -> str:
    """As ``error_description`` may be (RFC 6749 appendix A.8): no quotes, backslashes or what is not ASCII."""
    return "".join(char if " " <= char <= "~" and char not in '"\\' else "?" for char in text)[:300]

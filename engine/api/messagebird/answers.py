"""How the Voice API answers: envelopes, pages, errors with their codes (seed: "Errors", "HTTP status code")."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import JSONResponse, Response

PER_PAGE = 10
MOST_PER_PAGE = 100
LAST_PAGE = 1_000_000

MISSING, BAD_VALUE, NOT_FOUND, FORBIDDEN, NO_AUTH = 11, 12, 13, 14, 15
UNPARSABLE, BAD_VERSION, BAD_QUERY, INTERNAL, IMPOSSIBLE = 16, 17, 18, 21, 25

Json = Mapping[str, Any]

_WHOLE = re.compile(r"[0-9]{1,9}\Z")


class VoiceError(Exception):
    """The answer is no. ``errors``: code and text of each."""

    def __init__(self, status: int, code: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.errors: list[tuple[int, str]] = [(code, text)]
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self) -> JSONResponse:
        """The seed's table calls the text ``description``, its sample ``message``: there are both."""
        errors = [{"message": text, "description": text, "code": code} for code, text in self.errors]
        return JSONResponse({"data": None, "errors": errors}, status_code=self.status, headers=self.headers)


def missing(name: str) -> VoiceError:
    return VoiceError(400, MISSING, f"The `{name}` parameter is required.")


def bad_value(name: str, why: str) -> VoiceError:
    return VoiceError(400, BAD_VALUE, f"The `{name}` parameter {why}.")


def bad_query(name: str, why: str) -> VoiceError:
    return VoiceError(400, BAD_QUERY, f"The `{name}` query parameter {why}.")


def not_found(what: str) -> VoiceError:
    """For what is not there, and for what belongs to somebody else."""
    return VoiceError(404, NOT_FOUND, f"The {what} could not be found.")


def impossible(why: str, status: int = 400) -> VoiceError:
    return VoiceError(status, IMPOSSIBLE, why)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for: ``size`` entries behind ``offset``."""

    offset: int = 0
    size: int = PER_PAGE

    @property
    def number(self) -> int:
        """Counted from 1."""
        return self.offset // self.size + 1

    def before(self) -> Page:
        """The one that ends where this one begins: smaller, if there is no more."""
        return Page(max(self.offset - self.size, 0), min(self.offset, self.size))


def page_of(query: Mapping[str, str]) -> Page:
    """``page`` and ``perPage``, or ``offset`` and ``limit`` as some client libraries send them.

    Raises :class:`VoiceError` (18).
    """
    size_name = "perPage" if "perPage" in query else "limit"
    size = _whole(query, size_name, PER_PAGE, 1, MOST_PER_PAGE)
    if "page" in query:
        return Page((_whole(query, "page", 1, 1, LAST_PAGE) - 1) * size, size)
    return Page(_whole(query, "offset", 0, 0, LAST_PAGE * MOST_PER_PAGE), size)


def _whole(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    value = int(text) if _WHOLE.match(text) else -1
    if not least <= value <= most:
        raise bad_query(name, f"must be a whole number from {least} to {most}")
    return value


def one(value: Json, status: int = 200) -> JSONResponse:
    """A single object, in a list like all others."""
    headers = {"Location": value["_links"]["self"]} if status == 201 else {}
    return JSONResponse({"data": [value], "_links": value["_links"]}, status_code=status, headers=headers)


def many(path: str, values: Sequence[Json], page: Page, total: int) -> JSONResponse:
    """A page of a list; ``path`` is that of the list."""
    pages = max(-(-total // page.size), 1)
    counted = page.offset % page.size == 0  # else no page that is counted from 1 begins there
    links = {"self": _link(path, page, counted=counted)}
    if page.offset > 0:
        links["previous"] = _link(path, page.before(), counted=counted)
    if page.offset + page.size < total:
        links["next"] = _link(path, Page(page.offset + page.size, page.size), counted=counted)
    pagination = {"totalCount": total, "pageCount": pages, "currentPage": page.number, "perPage": page.size}
    return JSONResponse({"data": list(values), "_links": links, "pagination": pagination})


def nothing() -> Response:
    """204: it is done, there is nothing to be said."""
    return Response(status_code=204)


def _link(path: str, page: Page, *, counted: bool) -> str:
    query = {"page": page.number, "perPage": page.size} if counted else {"offset": page.offset, "limit": page.size}
    return f"{path}?{urlencode(query)}"

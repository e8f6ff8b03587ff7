"""Bodies and parameters of requests, read within limits, for APIs that each say no in a way of their own."""

from __future__ import annotations

import json
import math
import re
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request

MAX_BODY = 1024 * 1024
"""Octets of a request's body, 1 MiB: the size of the largest flow."""

MAX_FIELDS = 2000
"""Parameters of a query or a form."""

MAX_DEPTH = 200
"""Lists and objects of JSON inside each other: more than a flow may have, and far less than our stack."""

_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|[eE]\+?[0-9]{3}|[0-9]{300}")
"""Where JSON may have what :func:`as_json` refuses; whatever has none of this has not."""


class Unreadable(Exception):
    """The request cannot be read: ``status`` is HTTP's (400, 413, 415), the text says what is wrong."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def octets(request: Request, limit: int = MAX_BODY) -> bytes:
    """The body. Raises :class:`Unreadable` (413) when it is larger than ``limit`` octets; the rest is not read."""
    told = request.headers.get("Content-Length", "")
    if told.isascii() and told.isdigit() and int(told[:12]) > limit:
        raise Unreadable(413, f"the body is larger than {limit} octets")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limit:
            raise Unreadable(413, f"the body is larger than {limit} octets")
    return bytes(data)


def as_json(data: bytes) -> Any:
    """JSON strictly as RFC 8259 has it, with nothing in it that a database could not keep or an answer could not say:
    NUL, halves of characters, numbers beyond all bounds. Raises :class:`Unreadable` (400) with the position.
    """
    try:
        found = json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise Unreadable(400, f"the body is not UTF-8 (octet {error.start})") from None
    except json.JSONDecodeError as error:
        raise Unreadable(
            400, f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(400, f"the body is not JSON: {error}") from None
    _refuse_depth(found)
    if _SUSPECT.search(data) and not all_storable(found):
        raise Unreadable(400, "the body has characters that are none")
    return found


def check_json(data: bytes) -> None:
    """For JSON that somebody else reads: raises what :func:`as_json` does, but for mistakes of grammar."""
    if _SUSPECT.search(data):
        as_json(data)


def as_form(data: bytes) -> list[tuple[str, str]]:
    """A form (``application/x-www-form-urlencoded``), in order. Raises :class:`Unreadable` (400)."""
    try:
        pairs = parse_qsl(
            data.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS, encoding="utf-8", errors="strict"
        )
    except UnicodeDecodeError:
        raise Unreadable(400, "the form is not UTF-8") from None
    except ValueError:
        raise Unreadable(400, f"the form has more than {MAX_FIELDS} fields") from None
    if b"%00" in data and not all(storable(part) for pair in pairs for part in pair):
        raise Unreadable(400, "the form has characters that are none")
    return pairs


def query_of(request: Request) -> list[tuple[str, str]]:
    """The parameters of the query, in order. Raises :class:`Unreadable` (400)."""
    raw: bytes = request.scope.get("query_string", b"")
    try:
        return as_form(raw)
    except Unreadable as error:
        raise Unreadable(400, str(error).replace("form", "query")) from None


def media_type(request: Request) -> str:
    """The media type of the body without its parameters, in small letters; empty when none is said."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def nameable(request: Request) -> bool:
    """Whether the path of a request may name anything: no database has a NUL character in a name."""
    return "\0" not in request.scope["path"]


def storable(text: str) -> bool:
    """Whether a database takes ``text``: no NUL in it, and no half of a character."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def all_storable(value: Any) -> bool:
    """The same for all texts in a JSON value."""
    match value:
        case str():
            return storable(value)
        case dict():
            return all(storable(str(key)) and all_storable(each) for key, each in value.items())
        case list():
            return all(map(all_storable, value))
    return True


def _refuse_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            each
            for outer in level
            for each in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(each, dict | list)
        ]
        if not level:
            return
    raise Unreadable(400, f"the body is nested deeper than {MAX_DEPTH} levels")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")

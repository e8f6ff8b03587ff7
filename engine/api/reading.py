"""Bodies and parameters of requests, read within limits, for APIs that each say no in a way of their own."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request

MAX_BODY = 1024 * 1024
"""Octets of a request's body, 1 MiB: the size of the largest flow."""

MAX_FIELDS = 2000
"""Parameters of a query or a form."""


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
    """JSON strictly as RFC 8259 has it. Raises :class:`Unreadable` (400) with the position."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise Unreadable(400, f"the body is not UTF-8 (octet {error.start})") from None
    except json.JSONDecodeError as error:
        raise Unreadable(
            400, f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(400, f"the body is not JSON: {error}") from None


def as_form(data: bytes) -> list[tuple[str, str]]:
    """A form (``application/x-www-form-urlencoded``), in order. Raises :class:`Unreadable` (400)."""
    try:
        return parse_qsl(
            data.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS, encoding="utf-8", errors="strict"
        )
    except UnicodeDecodeError:
        raise Unreadable(400, "the form is not UTF-8") from None
    except ValueError:
        raise Unreadable(400, f"the form has more than {MAX_FIELDS} fields") from None


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


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")

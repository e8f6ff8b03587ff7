"""Parameters as Rails reads them: of query and body, ``vars[name]=value`` as a table, ``addresses[]`` as a list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from engine.api.reading import Unreadable, all_storable, as_form, as_json, media_type, octets, query_of
from engine.api.verboice.door import Refused

_TABLE = re.compile(r"([A-Za-z_]\w{0,63})\[([^\]\[]{0,256})\]", re.ASCII)
_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Params:
    """``body`` is what was posted when it is neither a form nor JSON, or looks like XML."""

    values: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    body: str = ""

    def text(self, name: str) -> str:
        """A parameter without blanks around it; empty when it is not there."""
        return self.values.get(name, "").strip()

    def number(self, name: str) -> int | None:
        """A parameter that is an id, ``None`` when it is not there; one that can be no id is 0."""
        text = self.text(name)
        return as_id(text) if text else None

    def table(self, name: str) -> Mapping[str, str]:
        """``name[key]=value`` by key."""
        return self.tables.get(name, {})


def as_id(text: str) -> int:
    """An id; 0, which none is, for a text that can be none."""
    return int(text) if _ID.fullmatch(text) else 0


async def params_of(request: Request) -> Params:
    """Query and body. Raises :class:`Unreadable`, :class:`~engine.api.verboice.door.Refused`."""
    pairs = query_of(request)
    data = await octets(request)
    body = ""
    kind = media_type(request)
    if data.lstrip().startswith(b"<"):
        body = _decoded(data)
    elif kind == "application/json" and data.strip():
        found = as_json(data)
        if not isinstance(found, dict):
            raise Unreadable(400, "the body is no JSON object")
        pairs += _flat(found)
    elif kind == "application/x-www-form-urlencoded":
        pairs += as_form(data)
    else:
        body = _decoded(data)
    return _read(pairs, body)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(400, f"the body is not UTF-8 (octet {error.start})") from None


def _read(pairs: Iterable[tuple[str, str]], body: str) -> Params:
    values: dict[str, str] = {}
    tables: dict[str, dict[str, str]] = {}
    lists: dict[str, list[str]] = {}
    for name, value in pairs:
        if not all_storable([name, value]):
            raise Refused(400, "a parameter has characters that are none")
        inside = _TABLE.fullmatch(name)
        if inside is None:
            values[name] = value
        elif inside[2]:
            tables.setdefault(inside[1], {})[inside[2]] = value
        else:
            lists.setdefault(inside[1], []).append(value)
    return Params(values, tables, {name: tuple(each) for name, each in lists.items()}, body)


def _flat(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A JSON object as the pairs that a form would have."""
    pairs: list[tuple[str, str]] = []
    for name, value in data.items():
        match value:
            case dict():
                pairs += [(f"{name}[{key}]", scalar(each)) for key, each in value.items()]
            case list():
                pairs += [(f"{name}[]", scalar(each)) for each in value]
            case None:
                pass
            case _:
                pairs.append((name, scalar(value)))
    return pairs


def scalar(value: Any) -> str:
    """A JSON value as text."""
    return value if isinstance(value, str) else json.dumps(value)


async def object_of(request: Request) -> dict[str, Any]:
    """A JSON object as the body. Raises :class:`Unreadable`, :class:`~engine.api.verboice.door.Refused`."""
    found = as_json(await octets(request))
    if not isinstance(found, dict):
        raise Unreadable(400, "the body is no JSON object")
    if not all_storable(found):
        raise Refused(400, "the body has characters that are none")
    return found

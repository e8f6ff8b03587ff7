"""What web servers are to answer in a simulation, read from a table: URL, or method and URL, to answers.

An answer has ``status`` (200), ``type`` (its content type; seen from the body without it), and one of ``body`` (text),
``json`` (a value) and ``file``. ``fail`` with a reason: none comes. A text alone is the body. In a list, each is
given once, the last for ever.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from flows.call import FetchFailed, Reply

Replies = Mapping[str, Sequence[Reply | FetchFailed]]

_KEYS = ("status", "type", "body", "json", "file", "fail")
_BODIES = ("body", "json", "file", "fail")
_TYPES = {".json": "application/json", ".xml": "text/xml", ".txt": "text/plain"}
_STARTS = {b"<": "text/xml", b"{": "application/json", b"[": "application/json"}


Path = tuple[str | int, ...]


class RepliesError(ValueError):
    """A table that cannot be used: the text says where and why, ``path`` is the place in the table."""

    def __init__(self, path: Path, why: str, *, no_file: bool = False) -> None:
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path[1:])
        super().__init__(f"{path[0]}{place}: {why}" if path else why)
        self.path = path
        self.no_file = no_file
        """A file that it names cannot be read."""


def read_replies(table: Any, read_file: Callable[[str], bytes]) -> Replies:
    """The answers of ``table``. ``read_file`` has the content of a file, or raises ``OSError``."""
    if not isinstance(table, Mapping):
        raise RepliesError((), "the replies are URLs, each with its answer")
    found: dict[str, Sequence[Reply | FetchFailed]] = {}
    for url, value in table.items():
        if not isinstance(url, str) or "://" not in url:
            why = f"{url!r} is neither a URL nor a method and a URL, as in POST https://example.org/next"
            raise RepliesError((), why)
        answers = value if isinstance(value, list) else [value]
        if not answers:
            raise RepliesError((url,), "an empty list of answers")
        where = url.rpartition(" ")[2]
        found[_key(url)] = [
            _reply((url, place) if isinstance(value, list) else (url,), each, where, read_file)
            for place, each in enumerate(answers)
        ]
    return found


def _key(url: str) -> str:
    method, space, rest = url.strip().rpartition(" ")
    return f"{method.strip().upper()} {rest}" if space else rest


def _reply(at: Path, value: Any, url: str, read_file: Callable[[str], bytes]) -> Reply | FetchFailed:
    if isinstance(value, str):
        value = {"body": value}
    if not isinstance(value, Mapping):
        raise RepliesError(at, f"an answer is a text or an object with {', '.join(_KEYS)}")
    for key in value:
        if key not in _KEYS:
            raise RepliesError(at, f"{key!r} is none of {', '.join(_KEYS)}")
    bodies = [key for key in _BODIES if key in value]
    if len(bodies) > 1:
        raise RepliesError(at, f"an answer has one of {' and '.join(bodies)}, not both")
    if "fail" in value:
        return FetchFailed(str(value["fail"] or "no answer came"))
    status = value.get("status", 200)
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 599:
        raise RepliesError((*at, "status"), f"{status!r} is no HTTP status from 100 to 599")
    body, kind = _body(at, value, read_file)
    given = value.get("type", kind)
    if not isinstance(given, str):
        raise RepliesError((*at, "type"), "a content type is a text, as in application/json")
    return Reply(status, given, body, url)


def _body(at: Path, value: Mapping[str, Any], read_file: Callable[[str], bytes]) -> tuple[bytes, str]:
    """The body of an answer and the type that it seems to have."""
    if "json" in value:
        try:
            return json.dumps(value["json"], ensure_ascii=False).encode(), "application/json"
        except (TypeError, ValueError) as error:
            raise RepliesError((*at, "json"), str(error)) from None
    if "file" in value:
        name = value["file"]
        if not isinstance(name, str):
            raise RepliesError((*at, "file"), "the name of a file is a text")
        try:
            body = read_file(name)
        except OSError as error:
            raise RepliesError((*at, "file"), f"{name}: {error.strerror or error}", no_file=True) from None
        return body, _TYPES.get(PurePath(name).suffix.lower(), _looks_like(body))
    text = value.get("body", "")
    if not isinstance(text, str | int | float) or isinstance(text, bool):
        raise RepliesError((*at, "body"), "a body is a text; a value to send as JSON stands under json")
    body = str(text).encode()
    return body, _looks_like(body)


def _looks_like(body: bytes) -> str:
    return _STARTS.get(body.lstrip()[:1], "text/plain")

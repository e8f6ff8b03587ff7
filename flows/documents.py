"""Reading a JSON document that somebody wrote by hand, or sent with bad intent.

Numbers come back as :class:`Number`, text as it was written, so that nothing is rounded or
cut; objects as :class:`Object`, which remembers keys that were given twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from .findings import Findings

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 10_000
MAX_POINTER = 8000
"""Characters of the JSON pointer of a node: every node keeps its own."""


class Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


class Object(dict[str, Any]):
    """A JSON object in document order; ``repeated`` are the keys that it had more than once."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: Iterable[tuple[str, Any]] = ()) -> None:
        super().__init__()
        self.repeated: list[str] = []
        for key, value in pairs:
            if key in self:
                self.repeated.append(key)
            else:  # the first one wins, as the first of two equal patterns would
                self[key] = value


def fits(document: str | bytes, findings: Findings) -> bool:
    """Whether a document is within the limit on its size; an error among the findings when it is not."""
    size = len(document) if isinstance(document, bytes) else len(document.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        findings.error("too-large", "", f"the document has {size:,} bytes, the limit is {MAX_BYTES:,}")
    return size <= MAX_BYTES


def decode(document: str | bytes, findings: Findings) -> str | None:
    """The text of a document, within the limit on its size; ``None`` after an error."""
    if not fits(document, findings):
        return None
    if isinstance(document, str):
        return document.removeprefix("\ufeff")
    try:
        return document.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = document.count(b"\n", 0, error.start) + 1
        findings.error("not-utf8", f"line {line}", f"byte {error.start} is not UTF-8", "save the file as UTF-8")
        return None


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse_json(text: str, findings: Findings) -> Any:
    """The JSON value in ``text``; ``None`` with an error among the findings when there is none."""
    try:
        return json.loads(
            text, object_pairs_hook=Object, parse_int=Number, parse_float=Number, parse_constant=_constant
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        findings.error("bad-json", where, f"not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}", _hint(text, error))
    except RecursionError:
        findings.error("too-deep", "", f"the document is nested deeper than {MAX_DEPTH} levels")
    except ValueError as error:
        findings.error("bad-json", "", f"not valid JSON: {error}")
    return None


def _hint(text: str, error: json.JSONDecodeError) -> str:
    """What people usually did when this error shows."""
    before = text[: error.pos].rstrip()
    at = text[error.pos : error.pos + 1]
    if "trailing comma" in error.msg or (before.endswith(",") and at in ("}", "]")):
        return "remove the comma before the closing bracket"
    if "Expecting ',' delimiter" in error.msg or ("Extra data" in error.msg and before.endswith("}")):
        return "a comma or a bracket is missing before this place"
    if "property name" in error.msg:
        return "remove the comma before the closing bracket" if at in ("}", "]") else 'keys are in double quotes: "yes"'
    if "Invalid control character" in error.msg:
        return "a line break inside a text is written \\n"
    if not at:
        return "the document ends too early: a closing bracket or quotation mark is missing"
    return ""


def well_formed(text: str) -> str:
    """``text`` without lone surrogates, which have no UTF-8 form."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")

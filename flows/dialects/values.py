"""Any structure as plain JSON values, within the limits: what a JSON Schema can be asked about."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from flows.documents import MAX_DEPTH, Number, decode, parse_json, well_formed
from flows.findings import Findings, has_errors, pointer

from .compiling import kind_of, text_of

MAX_VALUES = 600_000
"""Values in one document, more than 1 MiB of JSON can have: one that was not JSON may contain itself."""

MAX_DIGITS = 15
"""Digits that a number may have and stay one: longer ones are text, so that none is lost."""
MAX_WRITTEN = 100
"""Characters that a number may be written with."""
MAX_TOLD = 100
"""Errors that are told."""

Path = tuple[str | int, ...]
"""Keys and places in lists, from the outside in."""

_DIGITS = re.compile(r"-?[0-9]+\Z", re.ASCII)


def pointer_to(path: Path) -> str:
    """The JSON pointer of a place."""
    return "".join(pointer("", key) for key in path)


def dotted(path: Path) -> str:
    """A place as users of an API write it: ``steps[2].options.voice``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")


def told(path: Path, what: str) -> str:
    """What is said of a place, where a dialect has no form of its own for it."""
    return f"{dotted(path) or 'the document'} {what}"


def plain(
    document: object, findings: Findings, *, depth: int = MAX_DEPTH, message: Callable[[Path, str], str] = told
) -> Any:
    """A document (JSON as ``str`` or ``bytes``, or a structure) as dict, list, str, int, float, bool and None.

    ``None`` with an error among the findings when it is too large, nested deeper than ``depth``, not JSON, or has a
    key twice. ``message`` puts a place and what is said of it together.
    """
    if isinstance(document, bytearray | memoryview):
        document = bytes(document)
    value: Any = document
    if isinstance(document, str | bytes) and not isinstance(document, Number):
        text = decode(document, findings)
        value = None if text is None else parse_json(text, findings)
    if not has_errors(findings):
        value = _Plain(findings, depth, message).of(value)
    return None if has_errors(findings) else value


class _Plain:
    """Copies a structure and counts what it copies."""

    def __init__(self, findings: Findings, depth: int, message: Callable[[Path, str], str]) -> None:
        self.findings = findings
        self.depth = depth
        self.message = message
        self.left = MAX_VALUES
        self.told = 0
        self.path: list[str | int] = []  # of the value that is looked at

    def _error(self, code: str, what: str, hint: str = "", *inner: str) -> None:
        """Tell of the value that is looked at, or one in it; of the first few only: paths may be long."""
        self.told += 1
        if self.told <= MAX_TOLD:
            path = (*self.path, *inner)
            self.findings.error(code, pointer_to(path), self.message(path, what), hint)

    def of(self, value: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            if self.left == -1:
                self.findings.error("too-large", "", self.message((), f"has more than {MAX_VALUES:,} values"))
            return None
        if len(self.path) > self.depth:
            self.findings.error("too-deep", "", self.message((), f"is nested deeper than {self.depth} levels"))
            self.left = 0
            return None
        match value:
            case None | bool():
                return value
            case Number():
                return self._number(str(value))
            case str():
                return well_formed(value)
            case Mapping():
                return self._object(value)
            case list() | tuple():
                return self._list(value)
            case int() | float():
                return self._number(text_of(value) or "")
        self._error("wrong-type", f"must not be {kind_of(value)}")
        return None

    def _inside(self, key: str | int, value: Any) -> Any:
        self.path.append(key)
        try:
            return self.of(value)
        finally:
            self.path.pop()

    def _list(self, values: list[Any] | tuple[Any, ...]) -> list[Any]:
        found: list[Any] = []
        for number, value in enumerate(values):
            if self.left < 0:
                break
            found.append(self._inside(number, value))
        return found

    def _object(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        for key in getattr(value, "repeated", ()):
            self._error("duplicate-key", "is given twice", "merge the two", well_formed(key))
        found: dict[str, Any] = {}
        for raw, each in value.items():
            if self.left < 0:
                break
            if isinstance(raw, str):
                key = well_formed(raw)
                found[key] = self._inside(key, each)
            else:
                self._error("wrong-type", "has a key that is not a text")
        return found

    def _number(self, text: str) -> int | float | str | None:
        """A number as ``int`` or ``float`` where that is exact enough to compare; else as it was written."""
        if 0 < len(text) <= MAX_WRITTEN:
            if _DIGITS.match(text):
                return int(text) if len(text) <= MAX_DIGITS else text
            value = float(text)
            if math.isfinite(value):
                if abs(value) >= 10**MAX_DIGITS:
                    return text
                return int(value) if value.is_integer() else value
        self._error("bad-value", "is a number that is too large")
        return None

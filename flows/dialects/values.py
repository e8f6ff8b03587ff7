"""Any structure as plain JSON values, within the limits: what a JSON Schema can be asked about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flows.documents import MAX_DEPTH, Number, decode, parse_json, well_formed
from flows.findings import Findings, has_errors, pointer

from .compiling import kind_of, text_of

MAX_VALUES = 400_000
"""Values in one document, whatever they are: a document that was not JSON may contain itself."""

MAX_DIGITS = 15
"""Digits that a number may have and stay one: longer ones are text, so that none is lost."""
MAX_TOLD = 100
"""Errors that are told."""

Path = tuple[str | int, ...]
"""Keys and places in lists, from the outside in."""

_DIGITS = re.compile(r"-?[0-9]+\Z", re.ASCII)


def plain(document: object, findings: Findings) -> Any:
    """A document (JSON as ``str`` or ``bytes``, or a structure) as dict, list, str, int, float, bool and None.

    ``None`` with an error among the findings when it is too large, too deep, not JSON, or has a key twice.
    """
    if isinstance(document, bytearray | memoryview):
        document = bytes(document)
    value: Any = document
    if isinstance(document, str | bytes) and not isinstance(document, Number):
        text = decode(document, findings)
        value = None if text is None else parse_json(text, findings)
    if not has_errors(findings):
        value = _Plain(findings).value(value, ())
    return None if has_errors(findings) else value


def pointer_to(path: Path) -> str:
    """The JSON pointer of a place."""
    return "".join(pointer("", key) for key in path)


def dotted(path: Path) -> str:
    """A place as users of an API write it: ``steps[2].options.voice``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")


class _Plain:
    """Copies a structure and counts what it copies."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.left = MAX_VALUES
        self.told = 0

    def _error(self, code: str, path: Path, message: str) -> None:
        """Tell of something at ``path``, ``{}`` in the message; of the first few only: paths may be long."""
        self.told += 1
        if self.told <= MAX_TOLD:
            self.findings.error(code, pointer_to(path), message.format(_name(path)))

    def value(self, value: Any, path: Path) -> Any:
        self.left -= 1
        if self.left < 0:
            if self.left == -1:
                self._error("too-large", (), f"{{}} has more than {MAX_VALUES:,} values.")
            return None
        if len(path) > MAX_DEPTH:
            self._error("too-deep", (), f"{{}} is nested deeper than {MAX_DEPTH} levels.")
            self.left = 0
            return None
        if isinstance(value, Mapping):
            return self._object(value, path)
        if isinstance(value, list | tuple):
            return self._list(value, path)
        if isinstance(value, Number):
            return _number(value)
        if isinstance(value, str):
            return well_formed(value)
        if value is None or isinstance(value, bool):
            return value
        if (text := text_of(value)) is not None:
            return _number(text)
        self._error("bad-value", path, f"{{}} must not be {kind_of(value)}.")
        return None

    def _list(self, values: list[Any] | tuple[Any, ...], path: Path) -> list[Any]:
        plain: list[Any] = []
        for number, value in enumerate(values):
            if self.left < 0:
                break
            plain.append(self.value(value, (*path, number)))
        return plain

    def _object(self, value: Mapping[Any, Any], path: Path) -> dict[str, Any]:
        for key in getattr(value, "repeated", ()):
            self._error("duplicate-key", (*path, well_formed(key)), "{} is given twice.")
        plain: dict[str, Any] = {}
        for raw in value:
            if self.left < 0:
                break
            if isinstance(raw, str):
                key = well_formed(raw)
                plain[key] = self.value(value[raw], (*path, key))
            else:
                self._error("bad-value", path, "{} has a key that is not a text.")
        return plain


def _number(text: str) -> int | float | str:
    """A number as ``int`` or ``float`` where that is exact enough to compare; else as it was written."""
    text = str(text)  # a Number is no plain text
    if _DIGITS.match(text):
        return int(text) if len(text) <= MAX_DIGITS else text
    try:
        value = float(text)
    except ValueError:
        return text
    if not abs(value) < 10**MAX_DIGITS:
        return text
    return int(value) if value.is_integer() else value


def _name(path: Path) -> str:
    return f"The `{dotted(path)}` parameter" if path else "The document"

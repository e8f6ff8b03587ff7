"""JSON Schemas of the JSON dialects, and validation by them. The schemas are published under ``docs/schemas`` too.

A schema says what a document may look like; what a schema cannot say (numbers as text, steps by name, what an option
means) the compiler of the dialect does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jsonschema_rs

from flows.findings import pointer

_NUMBER = re.compile(r"\+?[0-9]{1,20}\Z", re.ASCII)

MOST_PROBLEMS = 200
"""Problems of one document that are told; the rest are not looked for."""

MANY_VALUES = 20_000
"""Of a document with more values only the first problem is told: to find all of them takes their number in time."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not fit: ``where`` is a JSON pointer, ``keyword`` the schema's (``required``, ``enum``, ``type`` …)."""

    where: str
    path: tuple[str | int, ...]
    keyword: str
    message: str
    missing: str = ""
    """The property that is required and not there."""


@cache
def schema(name: str) -> dict[str, Any]:
    """The schema of a dialect, as it is published."""
    text = resources.files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def _validator(name: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(schema(name))


def problems(name: str, document: Any) -> Iterator[Problem]:
    """What in ``document`` (plain JSON values: dict, list, str, int, float, bool, None) the schema does not allow."""
    keys = _Keys()
    for count, error in enumerate(_errors(_validator(name), document)):
        if count == MOST_PROBLEMS:
            return
        path = keys.path(document, tuple(error.instance_path), error.instance)
        where = ""
        for key in path:
            where = pointer(where, key)
        keyword = next((str(part) for part in reversed(error.schema_path) if isinstance(part, str)), "")
        missing = getattr(error.kind, "property", "") if keyword == "required" else ""
        yield Problem(where, path, keyword, error.message, missing)


class _Keys:
    """Keys of objects as they are written.

    The validator tells one that looks like a number (``01``) as that number (1), and leaves an empty one out.
    """

    def __init__(self) -> None:
        self._known: dict[int, dict[int, list[str]]] = {}

    def path(self, value: Any, told: tuple[str | int, ...], instance: Any) -> tuple[str | int, ...]:
        """The path to ``instance`` inside ``value``, from the one that was told."""
        return self._inside(value, told, instance) or told

    def _inside(self, value: Any, told: tuple[str | int, ...], instance: Any) -> tuple[str | int, ...] | None:
        if not told and value == instance:
            return ()
        for key in self._candidates(value, told[0]) if told else ():
            if (found := self._inside(value[key], told[1:], instance)) is not None:
                return (key, *found)
        if isinstance(value, dict) and "" in value and (found := self._inside(value[""], told, instance)) is not None:
            return ("", *found)
        return None

    def _candidates(self, value: Any, told: str | int) -> list[str] | list[int]:
        if isinstance(value, list):
            return [told] if isinstance(told, int) and told < len(value) else []
        if not isinstance(value, dict):
            return []
        if isinstance(told, str):
            return [told] if told in value else []
        if id(value) not in self._known:
            numbers = self._known[id(value)] = {}
            for key in value:
                if _NUMBER.match(key):
                    numbers.setdefault(int(key), []).append(key)
        return self._known[id(value)].get(told, [])


def _errors(validator: jsonschema_rs.Validator, document: Any) -> Iterator[jsonschema_rs.ValidationError]:
    if validator.is_valid(document):
        return
    if not _more_values_than(MANY_VALUES, document):
        yield from validator.iter_errors(document)
        return
    try:
        validator.validate(document)
    except jsonschema_rs.ValidationError as error:
        yield error


def _more_values_than(most: int, document: Any) -> bool:
    ahead = [document]
    while ahead and most >= 0:
        most -= 1
        value = ahead.pop()
        if isinstance(value, dict):
            ahead.extend(value.values())
        elif isinstance(value, list):
            ahead.extend(value)
    return bool(ahead) or most < 0

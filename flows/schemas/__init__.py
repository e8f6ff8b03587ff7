"""JSON Schemas of the JSON dialects, and validation by them. The schemas are published under ``docs/schemas`` too.

A schema says what a document may look like; what a schema cannot say (numbers as text, steps by name, what an option
means) the compiler of the dialect does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jsonschema_rs

from flows.findings import pointer

MOST_PROBLEMS = 200
"""Problems of one document that are told; the rest are not looked for."""


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
    for count, error in enumerate(_validator(name).iter_errors(document)):
        if count == MOST_PROBLEMS:
            return
        path = tuple(error.instance_path)
        where = ""
        for key in path:
            where = pointer(where, key)
        keyword = next((str(part) for part in reversed(error.schema_path) if isinstance(part, str)), "")
        missing = getattr(error.kind, "property", "") if keyword == "required" else ""
        yield Problem(where, path, keyword, error.message, missing)

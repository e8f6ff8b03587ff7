"""What all compilers have in common: what they return, and how they write steps down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flows import graph as g
from flows.documents import Number
from flows.findings import Finding


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a document came to: a graph, unless there are errors among the findings."""

    graph: g.Graph | None
    findings: tuple[Finding, ...]


class Chain:
    """Steps of one node, each the ``next`` of the one before."""

    def __init__(self, steps: dict[str, g.Step], where: str, number: int) -> None:
        self.number = number
        self.steps = steps
        self.where = where
        self.first = ""
        self._last = ""

    def add(self, verb: type[g.Step], label: str, *, origin: str | None = None, **fields: Any) -> str:
        identity = f"{self.number}.{label}"
        origin = self.where if origin is None else origin
        self.steps[identity] = verb(id=identity, origin=origin, exits={}, **fields)
        self.to(identity)
        self.first = self.first or identity
        self._last = identity
        return identity

    def to(self, target: str) -> None:
        """Go on with ``target`` after the last step."""
        if self._last:
            self.link(self._last, {g.NEXT: target})

    def link(self, step: str, exits: Mapping[str, str]) -> None:
        """Add ``exits`` (name to step) to a step."""
        self.steps[step] = replace(self.steps[step], exits={**self.steps[step].exits, **exits})


def text_of(value: Any) -> str | None:
    """A JSON text or number as text; numbers that came as such (not from JSON) too."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value)
    return None


def _number(value: float) -> str:
    try:
        return str(value)
    except ValueError:  # an integer beyond sys.get_int_max_str_digits()
        return ""


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Number() | int() | float():
            return "a number"
        case str():
            return "a text"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
        case _:
            return f"a {type(value).__name__}"

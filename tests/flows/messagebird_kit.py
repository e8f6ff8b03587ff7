"""MessageBird call flows in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from flows import graph as g
from flows.dialects.messagebird import compile_messagebird, errors
from flows.graph import Graph
from flows.orders import Order

S = TypeVar("S", bound=g.Step)
O = TypeVar("O", bound=Order)  # noqa: E741 (an order)


def step(action: str, *, extra: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """A step; ``extra`` stands beside ``action``."""
    return {"action": action, "options": options, **(extra or {})}


def say(payload: str = "Hello.", *, extra: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    return step("say", extra=extra, **{"payload": payload, "language": "en-gb", "voice": "male", **options})


def flow(*steps: object, **fields: Any) -> dict[str, Any]:
    return {"title": "A flow", "steps": list(steps), **fields}


def graph_of(document: object) -> Graph:
    compiled = compile_messagebird(document)
    assert compiled.graph is not None, compiled.findings
    return compiled.graph


def only(document: object, kind: type[S]) -> S:
    """The one step of a kind in the graph of a document."""
    (found,) = (each for each in graph_of(document).steps.values() if isinstance(each, kind))
    return found


def order_of(document: object, kind: type[O]) -> O:
    """The one order of a kind in the graph of a document."""
    steps = graph_of(document).steps.values()
    (found,) = (each.order for each in steps if isinstance(each, g.Perform) and isinstance(each.order, kind))
    return found


def codes_of(document: object) -> list[tuple[int, str]]:
    """Code and message of the errors, as the API tells them."""
    return [(each["code"], each["message"]) for each in errors(compile_messagebird(document).findings)]


def warnings_of(document: object) -> list[tuple[str, str]]:
    """Code and place of the warnings about a document that compiles."""
    compiled = compile_messagebird(document)
    assert compiled.graph is not None, compiled.findings
    return [(each.code, each.where) for each in compiled.findings]

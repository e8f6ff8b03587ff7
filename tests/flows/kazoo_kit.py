"""A callflow in one line, what it compiles to, and a call through it."""

from __future__ import annotations

from typing import Any, TypeVar

from flows import graph as g
from flows.dialects.kazoo import compile_kazoo
from flows.orders import Order
from flows.simulate import Scenario, Simulation, simulate

_S = TypeVar("_S", bound=g.Step)
_O = TypeVar("_O", bound=Order)
SAY_BYE = {"module": "tts", "data": {"text": "bye"}}


def node(module: str, data: Any = None, **children: Any) -> dict[str, Any]:
    """A node; a child that is a text speaks it."""
    spoken = {
        key: {"module": "tts", "data": {"text": child}} if isinstance(child, str) else child
        for key, child in children.items()
    }
    return {"module": module, "data": {} if data is None else data, "children": spoken}


def graph_of(document: object, **options: Any) -> g.Graph:
    compiled = compile_kazoo(document, **options)
    assert compiled.graph is not None, compiled.findings
    return compiled.graph


def found(document: object) -> list[tuple[str, str, str]]:
    """Code, severity and place of every finding."""
    return [(each.code, each.severity, each.where) for each in compile_kazoo(document).findings]


def messages(document: object) -> str:
    return "\n".join(map(str, compile_kazoo(document).findings))


def step_of(document: object, verb: type[_S], **options: Any) -> _S:
    """The one step of a kind."""
    (step,) = [step for step in graph_of(document, **options).steps.values() if isinstance(step, verb)]
    return step


def order_of(document: object, kind: type[_O]) -> _O:
    """The one order of a kind."""
    steps = graph_of(document).steps.values()
    (order,) = [step.order for step in steps if isinstance(step, g.Perform) and isinstance(step.order, kind)]
    return order


def verbs(document: object) -> list[str]:
    """The kinds of all steps, in document order, paths aside."""
    steps = graph_of(document).steps.values()
    return [type(step).__name__ for step in steps if not isinstance(step, g.Enter)]


def play(document: object, script: str = "", **scenario: Any) -> Simulation:
    return simulate(graph_of(document), script, scenario=Scenario(**scenario))


def texts(simulation: Simulation) -> list[str]:
    return [each.prompt.text or each.prompt.media for each in simulation.spoken]

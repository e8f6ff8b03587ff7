"""TwiML in one line: what it compiles to and what is said about it."""

from __future__ import annotations

from typing import TypeVar

from flows.check import check_compiled
from flows.dialects import DIALECTS
from flows.dialects.compiling import Compiled
from flows.graph import NEXT, Fetch, Graph, Param, Perform, Step

FLAVOURS = ("twiml", "verboice", "pivot")
BASE = "https://example.org/flows/start?x=1"

_S = TypeVar("_S", bound=Step)
_T = TypeVar("_T")


def compiled(verbs: str, flavour: str = "twiml", *, base: str = BASE, language: str = "") -> Compiled:
    document = f"<Response>{verbs}</Response>"
    return DIALECTS[flavour](document, base=base, language=language)


def graph(verbs: str, flavour: str = "twiml", *, base: str = BASE, language: str = "") -> Graph:
    result = compiled(verbs, flavour, base=base, language=language)
    assert result.graph is not None, result.findings
    return result.graph


def only(verbs: str, kind: type[_S], flavour: str = "twiml", *, base: str = BASE, language: str = "") -> _S:
    """The one step of a kind."""
    (step,) = of(graph(verbs, flavour, base=base, language=language), kind)
    return step


def of(steps: Graph, kind: type[_S]) -> list[_S]:
    return [step for step in steps.steps.values() if isinstance(step, kind)]


def order(verbs: str, kind: type[_T], flavour: str = "twiml", *, base: str = BASE) -> _T:
    """The one order of a kind."""
    (found,) = (step.order for step in of(graph(verbs, flavour, base=base), Perform) if isinstance(step.order, kind))
    return found


def way(steps: Graph, *, exit_name: str = NEXT, start: str = "") -> list[str]:
    """Names of the kinds of steps, from the start along an exit, ``next`` where there is no such one."""
    names: list[str] = []
    step: Step | None = steps.steps[start or steps.start]
    while step is not None:
        names.append(type(step).__name__)
        step = steps.follow(step, exit_name)
    return names


def findings(verbs: str, flavour: str = "twiml", *, base: str = BASE) -> list[tuple[str, str]]:
    """Code and severity of everything that is said about a document, the check's findings too."""
    return [(f.code, f.severity) for f in check_compiled(compiled(verbs, flavour, base=base))]


def params(step: Fetch) -> dict[str, str]:
    """Parameters of a request, by name, as they are written."""
    return {param.name: _value(param) for param in (*step.query, *step.params)}


def _value(param: Param) -> str:
    return f"each {param.each}" if param.each else str(param.value)

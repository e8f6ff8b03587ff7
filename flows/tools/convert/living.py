"""Which variables still matter from each step of a graph on: what is known of others need not be kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from flows import graph as g
from flows.templates import Condition, Var


def living(graph: g.Graph) -> Mapping[str, frozenset[str]]:
    """For each step, the variables that it or a step behind it asks for before they are set anew."""
    before: dict[str, set[str]] = {identity: set() for identity in graph.steps}
    for step in graph.steps.values():
        for target in step.exits.values():
            before[target].add(step.id)
    asked = {step.id: frozenset(_asked(step)) for step in graph.steps.values()}
    alive: dict[str, frozenset[str]] = dict(asked)
    ahead = deque(graph.steps)
    waiting = set(ahead)
    while ahead:
        identity = ahead.popleft()
        waiting.discard(identity)
        step = graph.steps[identity]
        behind = frozenset().union(*(alive[target] for target in step.exits.values()))
        new = asked[identity] | (behind - _set(step))
        if new != alive[identity]:
            alive[identity] = new
            ahead += (each for each in before[identity] if each not in waiting)
            waiting |= before[identity]
    return alive


def _set(step: g.Step) -> frozenset[str]:
    match step:
        case g.SetVariables():
            return frozenset(name for name, _ in step.values)
        case g.Collect():
            return frozenset((step.into,))
        case _:
            return frozenset()


def _asked(value: Any) -> Iterator[str]:
    """The variables named anywhere in a step."""
    if isinstance(value, Var):
        yield value.name
    elif isinstance(value, tuple):
        for each in value:
            yield from _asked(each)
    elif is_dataclass(value):
        if isinstance(value, Condition):
            yield value.variable
        for field in fields(value):
            yield from _asked(getattr(value, field.name))

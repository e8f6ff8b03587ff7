"""Any graph: steps of every kind with values of every type, from the annotations of their classes."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from flows import graph as g
from flows import orders
from flows.keywords import Choice, Choices, parse_pattern

STEPS = [
    each for each in vars(g).values() if isinstance(each, type) and issubclass(each, g.Step) and each is not g.Step
]
ORDERS = [each for each in vars(orders).values() if isinstance(each, type) and issubclass(each, orders.Order)][1:]


def value_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of the type that an annotation names."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Choices:
        patterns = st.sampled_from(["yes | sure", "want -not", "key:12", "1", "ye*", '"not that"', "-x"])
        named = patterns.map(lambda text: Choice(text, parse_pattern(text)[0], "/x"))
        return st.lists(named, max_size=3).map(lambda items: Choices(items, "en"))
    if hint is orders.Order:
        return st.one_of(*map(instance_of, ORDERS))
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(value_of, args))
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(value_of(args[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(value_of, args))
    if origin is Mapping:
        return st.dictionaries(st.text(max_size=3), value_of(args[1]), max_size=2)
    if hint is float:
        return st.floats(-1e9, 1e9) | st.integers(0, 9)
    scalars: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=5),
        int: st.integers(-(10**9), 10**9),
        bool: st.booleans(),
        type(None): st.none(),
    }
    return scalars[hint] if hint in scalars else instance_of(hint)


def instance_of(kind: type) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    return st.builds(kind, **{each.name: value_of(hints[each.name]) for each in fields(kind)})  # type: ignore[arg-type]


def graphs() -> st.SearchStrategy[g.Graph]:
    def linked(steps: list[g.Step], pick: list[int], name: str) -> g.Graph:
        """Steps with ids of their own and exits that lead somewhere."""
        found: dict[str, g.Step] = {}
        for number, step in enumerate(steps):
            exits = {exit_name: str(pick[number] % len(steps)) for exit_name in step.exits}
            values = {each.name: getattr(step, each.name) for each in fields(step)}
            found[str(number)] = type(step)(**{**values, "id": str(number), "exits": exits})
        return g.Graph(found, "0", name=name)

    steps = st.lists(st.one_of(*map(instance_of, STEPS)), min_size=1, max_size=4)
    return st.builds(linked, steps, st.lists(st.integers(0, 9), min_size=4, max_size=4), st.text(max_size=5))


def walkable_graphs() -> st.SearchStrategy[g.Graph]:
    """Graphs whose exits are those that their steps take."""

    def linked(steps: list[g.Step], pick: list[int]) -> g.Graph:
        found: dict[str, g.Step] = {}
        choice = iter(pick * len(steps) * 8)
        for number, step in enumerate(steps):
            names = [*step.leads, g.NEXT, "failed", "machine"]
            if isinstance(step, g.Listen):
                names += [item.exit for item in step.choices.items]
            if isinstance(step, g.Branch):
                names += [case.exit for case in step.cases]
            exits = {name: str(next(choice) % len(steps)) for name in names if next(choice) % 4}
            values = {each.name: getattr(step, each.name) for each in fields(step)}
            found[str(number)] = type(step)(**{**values, "id": str(number), "exits": exits})
        return g.Graph(found, "0")

    steps = st.lists(st.one_of(*map(instance_of, STEPS)), min_size=1, max_size=6)
    return st.builds(linked, steps, st.lists(st.integers(0, 99), min_size=12, max_size=12))

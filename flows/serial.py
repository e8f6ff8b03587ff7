"""Step graphs as JSON and back: versioned, and nothing is lost.

A graph is ``{"version": 1, "name", "start", "steps": [...]}``, its steps in their order. Each dataclass is an object
with its class as ``type`` and every field by its name, defaults too: what was written says the same when a default has
changed since. A field that has come since has its default. Choices are ``{"type": "Choices", "language", "items"}``.
What is read is checked against the annotations of the classes, so that a graph from anywhere is made of parts that a
compiler could have made, or it is a :class:`BadGraph`.
"""

from __future__ import annotations

import json
import types
from collections.abc import Container, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from . import graph as g
from . import orders, prompts, templates
from .findings import pointer
from .keywords import Alternative, Choice, Choices, Pattern, Term

VERSION = 1
MAX_STEPS = 250_000
"""Steps of one graph; a document of 10,000 comes to far fewer."""
MAX_NUMBER = 1e15


class BadGraph(ValueError):
    """What was read is no graph. ``where`` is a JSON pointer to what is wrong with it."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where or 'the graph'}: {why}")
        self.where = where


def _family(base: type, module: types.ModuleType) -> tuple[type, ...]:
    """The subclasses of ``base`` that a module defines."""
    found = (each for each in vars(module).values() if isinstance(each, type))
    return tuple(each for each in found if issubclass(each, base) and each is not base)


_STEPS = _family(g.Step, g)
_ORDERS = _family(orders.Order, orders)
_PARTS = (
    *(prompts.Prompt, prompts.Draft, templates.Template, templates.Var, templates.Condition, g.Param, g.Case),
    *(orders.Target, orders.Upload, Term, Alternative, Pattern, Choice),
)
_CLASSES: Mapping[str, type] = {each.__name__: each for each in (*_STEPS, *_ORDERS, *_PARTS)}


# --- writing -----------------------------------------------------------------------------------


def graph_to_json(graph: g.Graph) -> dict[str, Any]:
    """A graph as plain JSON values."""
    steps = [_plain(step) for step in graph.steps.values()]
    return {"version": VERSION, "name": graph.name, "start": graph.start, "steps": steps}


def dump_graph(graph: g.Graph) -> str:
    """A graph as JSON text, in ASCII."""
    return json.dumps(graph_to_json(graph), separators=(",", ":"))


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case tuple() | list():
            return [_plain(each) for each in value]
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case Choices():
            return {"type": "Choices", "language": value.language, "items": _plain(value.items)}
    if type(value).__name__ in _CLASSES and is_dataclass(value):
        return {"type": type(value).__name__} | {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    raise TypeError(f"a {type(value).__name__} in a graph")


# --- reading -----------------------------------------------------------------------------------


def load_graph(text: str | bytes) -> g.Graph:
    """The graph in a JSON text. :class:`BadGraph` when there is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadGraph("", f"not JSON: {error}") from None
    return graph_from_json(value)


def graph_from_json(value: Any) -> g.Graph:
    """The graph that :func:`graph_to_json` wrote. :class:`BadGraph` for anything else."""
    record = _record(value, ("version", "name", "start", "steps"), "")
    if record["version"] != VERSION or isinstance(record["version"], bool):
        raise BadGraph("/version", f"version {VERSION} can be read")
    name, start = (_read(str, record[key], f"/{key}") for key in ("name", "start"))
    found = record["steps"]
    if not isinstance(found, list) or len(found) > MAX_STEPS:
        raise BadGraph("/steps", f"it must be a list of at most {MAX_STEPS:,} steps")
    steps: dict[str, g.Step] = {}
    for number, each in enumerate(found):
        step = _read_class(_STEPS, each, where := f"/steps/{number}")
        if step.id in steps:
            raise BadGraph(f"{where}/id", f"there is a step {step.id!r} already")
        steps[step.id] = step
    try:
        return g.Graph(steps, start, name=name)
    except KeyError as error:
        raise BadGraph("/steps", f"there is no step {error.args[0]!r}") from None


def _record(value: Any, names: Iterable[str], where: str, optional: Container[str] = ()) -> dict[str, Any]:
    """An object with the members ``names`` and no others; those that are ``optional`` may be missing."""
    if not isinstance(value, dict):
        raise BadGraph(where, "it must be an object")
    if missing := [name for name in names if name not in value and name not in optional]:
        raise BadGraph(where, f"{missing[0]!r} is missing")
    if len(value) > len(known := set(names)) or not value.keys() <= known:
        raise BadGraph(where, f"{min(value.keys() - known)[:80]!r} is not known")
    return value


def _read_class(classes: tuple[type, ...], value: Any, where: str) -> Any:
    """One of ``classes``, by the ``type`` of an object."""
    name = value.get("type") if isinstance(value, dict) else None
    kind = next((each for each in classes if each.__name__ == name), None)
    if kind is None:
        raise BadGraph(where, f"it must be an object of the type {' or '.join(each.__name__ for each in classes)}")
    if kind is Choices:
        record = _record(value, ("type", "language", "items"), where)
        items = _read(tuple[Choice, ...], record["items"], f"{where}/items")
        return Choices(items, _read(str, record["language"], f"{where}/language"))
    hints, optional = _hints(kind)
    record = _record(value, ("type", *hints), where, optional)
    given = {name: hint for name, hint in hints.items() if name in record}
    return kind(**{name: _read(hint, record[name], f"{where}/{name}") for name, hint in given.items()})


@cache
def _hints(kind: type) -> tuple[Mapping[str, Any], frozenset[str]]:
    """The fields of a dataclass with their types, and which have a default."""
    hints = get_type_hints(kind)
    known = fields(kind)
    optional = {each.name for each in known if each.default is not MISSING or each.default_factory is not MISSING}
    return {each.name: hints[each.name] for each in known}, frozenset(optional)


@dataclass(frozen=True, slots=True)
class _Union:
    """What a field may be: one of ``classes`` or, without a ``type``, one of ``others``."""

    classes: tuple[type, ...]
    others: tuple[Any, ...]


@cache
def _union(hint: Any) -> _Union:
    options = [get_args(each) if get_origin(each) is Union else (each,) for each in get_args(hint)]
    flat = [each for option in options for each in option]
    classes = tuple(each for each in flat if isinstance(each, type) and is_dataclass(each))
    return _Union(classes, tuple(each for each in flat if each not in classes))


def _read(hint: Any, value: Any, where: str) -> Any:
    """``value`` as what an annotation asks for."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is orders.Order:
        return _read_class(_ORDERS, value, where)
    if origin is Literal:
        if not isinstance(value, str) or value not in args:
            raise BadGraph(where, f"it must be one of {', '.join(map(repr, args))}")
        return value
    if origin in (Union, types.UnionType):
        return _read_union(_union(hint), value, where)
    if origin is tuple:
        return _read_tuple(args, value, where)
    if origin is Mapping or origin is dict:
        if not isinstance(value, dict):
            raise BadGraph(where, "it must be an object")
        return {key: _read(args[1], each, pointer(where, key)) for key, each in value.items()}
    if hint in (str, bool, int, float):
        return _read_scalar(hint, value, where)
    return _read_class((hint,), value, where)


def _read_union(union: _Union, value: Any, where: str) -> Any:
    if value is None and type(None) in union.others:
        return None
    if isinstance(value, dict) and union.classes:
        return _read_class(union.classes, value, where)
    rest = [each for each in union.others if each is not type(None)]
    if len(rest) != 1:
        raise BadGraph(where, "it is of no type that fits here")
    return _read(rest[0], value, where)


def _read_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise BadGraph(where, "it must be a list")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_read(args[0], each, f"{where}/{number}") for number, each in enumerate(value))
    if len(value) != len(args):
        raise BadGraph(where, f"it must have {len(args)} items")
    pairs = zip(args, value, strict=True)
    return tuple(_read(hint, each, f"{where}/{number}") for number, (hint, each) in enumerate(pairs))


def _read_scalar(hint: type, value: Any, where: str) -> Any:
    if hint in (int, float) and not isinstance(value, bool):
        number = isinstance(value, int) or (hint is float and isinstance(value, float))
        if number and abs(value) <= MAX_NUMBER:
            return value
    elif type(value) is hint:
        return value
    raise BadGraph(where, f"it must be of the type {hint.__name__}")

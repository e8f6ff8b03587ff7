"""Graphs to JSON and back: nothing is lost, and what is no graph is refused."""

from __future__ import annotations

import contextlib
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from flow_kit import graph_of
from graph_kit import ORDERS, STEPS, graphs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows import graph as g
from flows import orders, prompts, serial, templates
from flows.dialects import compile_flow
from flows.keywords import Choices
from flows.serial import BadGraph, dump_graph, graph_from_json, graph_to_json, load_graph
from flows.simulate import simulate

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(path for path in FOLDER.iterdir() if path.suffix in (".json", ".xml"))
quick = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def same(one: Any, other: Any) -> bool:
    """Whether two values of a graph are alike, types included; choices have no equality of their own."""
    if isinstance(one, Choices):
        return isinstance(other, Choices) and (one.language, one.items) == (other.language, other.items)
    if is_dataclass(one) and isinstance(one, g.Step):
        pairs = ((getattr(one, each.name), getattr(other, each.name, None)) for each in fields(one))
        return type(one) is type(other) and all(same(*pair) for pair in pairs)
    return type(one) is type(other) and bool(one == other)


def check(graph: g.Graph) -> g.Graph:
    again = load_graph(dump_graph(graph))
    assert (again.name, again.start, list(again.steps)) == (graph.name, graph.start, list(graph.steps))
    for step_id, step in graph.steps.items():
        assert same(step, again.steps[step_id]), step
    assert graph_to_json(again) == graph_to_json(graph)
    return again


@quick
@given(graphs())
def test_any_graph_comes_back_as_it_was(graph: g.Graph) -> None:
    check(graph)


@pytest.mark.parametrize("kind", [*STEPS, *ORDERS], ids=lambda kind: kind.__name__)
def test_every_step_and_order_has_a_form(kind: type) -> None:
    assert kind.__name__ in serial._CLASSES


def test_every_part_of_a_graph_has_a_form() -> None:
    not_in_graphs = {"Step", "Order", "Outcome"}
    for module in (g, orders, prompts, templates):
        for name, each in vars(module).items():
            if isinstance(each, type) and is_dataclass(each) and name not in not_in_graphs:
                assert name in serial._CLASSES, name


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_come_back_as_they_were(path: Path) -> None:
    graph = compile_flow(path.read_bytes(), name=path.name).graph
    assert graph is not None
    again = check(graph)
    for script in ("", "say yes; press 2", "press! 1; press 1", "press! 9"):
        assert simulate(again, script).to_json() == simulate(graph, script).to_json()


def test_positions_and_choices_are_kept() -> None:
    graph = check(graph_of({"_": "What?", "yes | key:1": "a", "no": {"_": "b", "want -not": "c"}}))
    assert {step.origin for step in graph.steps.values()} == {"", "/yes | key:1", "/no", "/no/want -not"}
    (first, _) = graph.listens()
    assert first.choices.pressed("1") == "yes | key:1"
    assert first.choices.said(["no"]) == "no"
    assert first.choices.vocabulary is not None
    assert {"yes", "no"} <= set(first.choices.vocabulary.words)


def test_a_field_that_has_come_since_has_its_default() -> None:
    record = graph_to_json(graph_of("Hello"))
    say = next(step for step in record["steps"] if step["type"] == "Say")
    del say["into"]
    assert graph_to_json(graph_from_json(record)) == graph_to_json(graph_of("Hello"))


# --- what is no graph ----------------------------------------------------------------------------


def hello(**changes: Any) -> dict[str, Any]:
    step = {"type": "HangUp", "id": "a", "origin": "", "exits": {}, "reason": ""}
    return {"version": 1, "name": "", "start": "a", "steps": [{**step, **changes}]}


def listen(**changes: Any) -> dict[str, Any]:
    record = graph_to_json(graph_of({"_": "?", "yes": "a"}))
    number, step = next((n, each) for n, each in enumerate(record["steps"]) if each["type"] == "Listen")
    record["steps"][number] = {**step, **changes}
    return record


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (None, ""),
        ([], ""),
        ({}, ""),
        ({**hello(), "more": 1}, ""),
        ({**hello(), "version": 2}, "/version"),
        ({**hello(), "version": True}, "/version"),
        ({**hello(), "name": None}, "/name"),
        ({**hello(), "steps": {}}, "/steps"),
        ({**hello(), "start": "b"}, "/steps"),
        ({**hello(), "steps": []}, "/steps"),
        ({**hello(), "steps": [None]}, "/steps/0"),
        ({**hello(), "steps": hello()["steps"] * 2}, "/steps/1/id"),
        (hello(type="Step"), "/steps/0"),
        (hello(type="Prompt"), "/steps/0"),
        (hello(type=["HangUp"]), "/steps/0"),
        (hello(exits={"next": "b"}), "/steps"),
        (hello(exits={"next": 1}), "/steps/0/exits/next"),
        (hello(exits={"a/b": 1}), "/steps/0/exits/a~1b"),
        (hello(exits=[]), "/steps/0/exits"),
        (hello(reason=None), "/steps/0/reason"),
        (hello(danger=1), "/steps/0"),
        (hello(type="Pause", seconds="1", stop_keys=""), "/steps/0"),
        (listen(seconds=float("nan")), "/steps/2/seconds"),
        (listen(seconds=10**400), "/steps/2/seconds"),
        (listen(seconds=True), "/steps/2/seconds"),
        (listen(repeats=1.5), "/steps/2/repeats"),
        (listen(prompts=None), "/steps/2/prompts"),
        (listen(prompts=[{"type": "HangUp"}]), "/steps/2/prompts/0"),
        (listen(prompts=[{"type": "Prompt", "text": 1}]), "/steps/2/prompts/0/text"),
        (listen(choices=None), "/steps/2/choices"),
        (listen(choices={"type": "Choices", "language": "en", "items": [1]}), "/steps/2/choices/items/0"),
    ],
)
def test_what_is_no_graph_is_refused(value: Any, where: str) -> None:
    with pytest.raises(BadGraph) as caught:
        graph_from_json(value)
    assert caught.value.where == where


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5000, b"\xff", '{"version": 1}', "NaN"])
def test_text_that_is_no_graph_is_refused(text: str | bytes) -> None:
    with pytest.raises(BadGraph):
        load_graph(text)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["Say", "next", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "items"]), inner),
    max_leaves=8,
)


@quick
@given(graphs(), st.data())
def test_a_graph_with_something_changed_is_a_graph_or_refused(graph: g.Graph, data: st.DataObject) -> None:
    record = json.loads(dump_graph(graph))
    places: list[tuple[Any, Any]] = []

    def visit(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, each in items:
            places.append((value, key))
            visit(each)

    visit(record)
    holder, key = data.draw(st.sampled_from(places))
    if data.draw(st.booleans()):
        holder[key] = data.draw(json_values)
    else:
        del holder[key]
    with contextlib.suppress(BadGraph):
        check(graph_from_json(record))

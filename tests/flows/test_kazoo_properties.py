"""Whatever a document, whatever a caller: positioned findings or a graph, and an end. Work is bounded."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows import graph as g
from flows.call import Reply, Request
from flows.check import check_graph
from flows.dialects.kazoo import compile_kazoo, looks_like_kazoo
from flows.dialects.kazoo.compiler import MODULES
from flows.findings import MAX_FINDINGS, has_errors
from flows.schemas import schema
from flows.simulate import Scenario, simulate

quick = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 100_000),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["1", "#", "true", "http://h/a.wav", "x@y", "+3901", "daily", "weekly", "\ud800"]),
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=5), st.sampled_from(["module", "data", "children", "_"])), inner),
    ),
    max_leaves=12,
)
keys = st.sampled_from(["_", "1", "12", "#", "USER_BUSY", "NO_ANSWER", "sip:486", "timeout", "max_retries", "a", "é/~"])
GOOD: dict[str, Any] = {
    "id": ["d", "http://h/a.wav"],
    "text": ["hi"],
    "endpoints": [["a", {"id": "b", "endpoint_type": "user"}], []],
    "macros": [[{"macro": "tts", "text": "a"}, {"macro": "play", "id": "b"}]],
    "digits": ["1A#"],
    "config": [{"name": "room", "member": {"join_muted": True}}],
    "presence_id": ["u"],
    "voice_url": ["http://h/next"],
    "uri": ["http://h/hook"],
    "url": ["http://h/r"],
    "variable": ["a"],
    "value": ["1"],
    "custom_application_vars": [{"a": "1"}],
    "target": ["100"],
    "rules": [["stored", {"id": "a", "cycle": "daily"}]],
    "to_did": ["+3901"],
}


def values_of(module: str, name: str) -> st.SearchStrategy[Any]:
    """Values of an option: mostly such as the schema allows."""
    form = schema("kazoo")["$defs"][module]["properties"][name]
    good = GOOD.get(name, form.get("enum", [form["default"]] if "default" in form else ["x"]))
    return st.one_of(st.sampled_from(good), st.sampled_from(good), scalars)


@st.composite
def nodes(draw: st.DrawFn, depth: int = 3, *, good: bool = False) -> dict[str, Any]:
    module = draw(st.sampled_from(sorted(MODULES)))
    form = schema("kazoo")["$defs"][module]
    names = set(form.get("required", ())) | set(draw(st.lists(st.sampled_from(sorted(form["properties"])), max_size=3)))
    names.discard("skip_module")
    data = {
        name: draw(st.sampled_from(GOOD[name]) if good and name in GOOD else values_of(module, name))
        for name in sorted(names)
        if not good or name in GOOD or "default" in form["properties"][name]
    }
    children = draw(st.dictionaries(keys, nodes(depth - 1, good=good), max_size=3)) if depth else {}
    return {"module": module, "data": data, "children": children}


def checked(document: object) -> g.Graph | None:
    """Compile, and look at what comes of it."""
    compiled = compile_kazoo(document)
    assert (compiled.graph is None) == has_errors(compiled.findings)
    assert len(compiled.findings) <= MAX_FINDINGS + 2
    for finding in compiled.findings:
        assert finding.code
        assert finding.message
        assert finding.where == "" or finding.where.startswith(("/", "line "))
    return compiled.graph


@quick
@given(anything)
def test_any_structure(document: Any) -> None:
    checked(document)
    looks_like_kazoo(document)


@quick
@given(st.one_of(st.text(max_size=40), st.binary(max_size=40), nodes().map(lambda node: json.dumps(node)[:-1])))
def test_any_text_and_bytes(document: str | bytes) -> None:
    checked(document)
    looks_like_kazoo(document)


@quick
@given(nodes())
def test_any_callflow(document: dict[str, Any]) -> None:
    graph = checked(document)
    from_text = checked(json.dumps(document))
    assert (graph is None) == (from_text is None)
    if graph is not None:
        assert all(step.origin == "" or step.origin.startswith("/") for step in graph.steps.values())
        assert [finding for finding in check_graph(graph) if finding.severity == "error"] == []


@quick
@given(
    nodes(good=True),
    st.lists(
        st.sampled_from(["press 1", "press! 12#", "wait 2", "busy", "noanswer", "answer 9", "fail", "say x"]),
        max_size=5,
    ),
)
def test_any_call_ends(document: dict[str, Any], script: list[str]) -> None:
    """Any graph ends in the simulator for any caller, within the limits, and never by a fault."""

    def serve(request: Request) -> Reply:
        return Reply(200, "application/json", b'{"module": "tts", "data": {"text": "x"}}', request.url)

    graph = checked(document)
    if graph is not None:
        simulation = simulate(graph, "; ".join(script), scenario=Scenario(fetch=serve, max_duration=600.0))
        assert simulation.ending.by in ("caller", "flow", "limit")


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.sampled_from(["tts", "menu", "device", "branch_variable", "nothing", "pivot"]))
def test_work_is_bounded_by_the_size_of_the_document(count: int, module: str) -> None:
    """Steps are counted, not timed: no node makes more than some for each child and try."""
    data = {"text": "x", "id": "d", "variable": "v", "voice_url": "http://h/"}
    document = {"module": module, "data": data, "children": {str(i): {"module": "hangup"} for i in range(count)}}
    graph = checked(document)
    assert graph is not None
    assert len(graph.steps) <= 40 + 3 * count

"""Any document compiles, or is refused with errors that have a place; nothing else comes out."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from messagebird_kit import flow, say, step

from flows.dialects.messagebird import compile_messagebird, errors, looks_like_messagebird
from flows.dialects.messagebird_schema import ACTIONS, properties
from flows.findings import has_errors
from flows.schemas import schema

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "0", "3", "any", "#", "in", "delay", "male", "en-gb", "nl-NL", "{{x}}", "a", "b", "loop"]),
    st.sampled_from(["http://h/{{x}}", "http://h/a.wav", "31612345678", "sip:a@b", "==", "exists", "source", 1, 400]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
option_names = sorted({name for action in ACTIONS for name in properties(action)})
conditions = st.fixed_dictionaries({}, optional=dict.fromkeys(("variable", "operator", "value"), scalars))
steps = st.fixed_dictionaries(
    {"action": st.sampled_from(ACTIONS)},
    optional={
        "id": st.sampled_from(["a", "b", "c", "", None, 1]),
        "options": st.dictionaries(st.sampled_from(option_names), values, max_size=6) | values,
        "onKeypressGoto": st.sampled_from(["a", "b", "c"]) | scalars,
        "onKeypressVar": scalars,
        "endKey": scalars,
        "maxNumKeys": scalars,
        "conditions": st.lists(conditions, max_size=2) | values,
        "extra": values,
    },
)
flows = st.fixed_dictionaries(
    {"title": st.text(min_size=1, max_size=5) | scalars, "steps": st.lists(steps, max_size=5) | values},
    optional={"record": scalars, "default": scalars, "x": values},
)

# What is good: every action with its options, so that graphs come out as well.
good_steps = st.one_of(
    st.builds(say, st.text(min_size=1, max_size=5), repeat=st.integers(1, 10), loop=st.booleans() | st.integers(0, 3)),
    st.builds(say, ifMachine=st.sampled_from(["continue", "delay", "hangup"])),
    st.just(step("play", media=["http://h/a.wav", "http://h/{{x}}.wav"])),
    st.builds(step, st.just("pause"), length=st.integers(0, 9)),
    st.builds(
        step, st.just("record"), finishOnKey=st.sampled_from(["any", "#", "none"]), onFinish=st.just("http://h/")
    ),
    st.builds(step, st.just("transfer"), destination=st.just("1"), record=st.sampled_from(["in", "out", "both"])),
    st.just(step("sendKeys", keys="12")),
    st.just(step("fetchCallFlow", url="http://h/{{x}}")),
    st.just(step("hangup")),
)
extras = st.fixed_dictionaries(
    {},
    optional={
        "onKeypressGoto": st.sampled_from(["0", "1", "2"]),
        "onKeypressVar": st.sampled_from(["x", "y"]),
        "endKey": st.sampled_from(["#", "1"]),
        "maxNumKeys": st.integers(1, 3),
        "conditions": st.just([{"variable": "x", "operator": "==", "value": "1"}]),
    },
)
good_flows = st.lists(st.tuples(good_steps, extras), min_size=3, max_size=6).map(
    lambda pairs: flow(*({**each, **extra, "id": str(n)} for n, (each, extra) in enumerate(pairs)))
)


def check(document: object) -> None:
    compiled = compile_messagebird(document)
    assert (compiled.graph is None) == has_errors(compiled.findings)
    assert all(finding.code and finding.message for finding in compiled.findings)
    assert all(each["code"] in (11, 12, 16) for each in errors(compiled.findings))
    if compiled.graph is not None:
        assert all(step_id == each.id for step_id, each in compiled.graph.steps.items())


@quick
@given(flows | values)
def test_any_structure_compiles_or_is_refused(document: object) -> None:
    check(document)
    check(json.dumps(document))
    check(json.dumps(document).encode())


@quick
@given(st.binary(max_size=200) | st.text('{}[]",:\\u1 titlesp', max_size=60))
def test_any_text_compiles_or_is_refused(document: bytes | str) -> None:
    check(document)
    looks_like_messagebird(document)


@quick
@given(good_flows)
def test_good_flows_compile_without_errors_and_nothing_is_unreachable(document: object) -> None:
    compiled = compile_messagebird(document)
    assert compiled.graph is not None, compiled.findings
    graph = compiled.graph
    ahead, reached = [graph.start], {graph.start}
    while ahead:
        new = set(graph.steps[ahead.pop()].exits.values()) - reached
        reached |= new
        ahead += new
    assert reached == graph.steps.keys()


@pytest.mark.parametrize("definition", ["", "step", "condition", *ACTIONS])
def test_the_schema_describes_every_field(definition: str) -> None:
    for name, fields in properties(definition).items():
        assert fields.get("description"), name
        assert fields.get("title") or fields.get("enum"), name


def test_the_schema_names_every_action() -> None:
    assert tuple(properties("step")["action"]["enum"]) == ACTIONS
    assert set(ACTIONS) <= schema("messagebird")["$defs"].keys()


def test_the_page_names_every_field_and_only_tests_that_there_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "dialects" / "messagebird.md").read_text()
    for definition in ("", "step", *ACTIONS):
        assert [name for name in properties(definition) if f"`{name}" not in page and name != "options"] == []
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)", page)) - {"test_messagebird_calls", "test_messagebird_errors"}
    assert [name for name in named if f"def {name}" not in tests] == []

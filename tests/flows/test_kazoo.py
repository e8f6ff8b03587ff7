"""Kazoo callflows as documents: nodes, samples of the original, limits, detection (CONTRACTS §0, §3.1, §3.3)."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from kazoo_kit import SAY_BYE, found, graph_of, messages, node, play, texts, verbs

from flows import graph as g
from flows.dialects import compile_flow, detect
from flows.dialects.kazoo import compile_kazoo
from flows.dialects.kazoo.compiler import MODULES
from flows.dialects.kazoo.document import modules

SAMPLES = tomllib.loads((Path(__file__).parents[1] / "data" / "kazoo-guide.toml").read_text())
SEED_SAMPLES: dict[str, str] = SAMPLES["good"]
BUSINESS_HOURS_AS_PRINTED: str = SAMPLES["bad"]["business hours"]
RECORDING_PER_USER_AS_PRINTED: str = SAMPLES["bad"]["recording per user"]


@pytest.mark.parametrize("sample", SEED_SAMPLES.values(), ids=SEED_SAMPLES.keys())
def test_every_sample_of_the_original_compiles_without_a_finding(sample: str) -> None:
    """§3.1: device, user, ring_group, resources, tts, say, play, collect_dtmf, pivot, …, voicemail."""
    assert detect(sample) == "kazoo"
    assert compile_flow(sample).findings == ()


def test_seed_sample_errors_business_hours_lacks_a_closing_brace() -> None:
    """§3.1: Seed sample errors: business_hours JSON lacks a closing brace."""
    assert detect(BUSINESS_HOURS_AS_PRINTED) == "kazoo"
    (finding,) = compile_flow(BUSINESS_HOURS_AS_PRINTED).findings
    assert (finding.code, finding.severity) == ("bad-json", "error")
    assert "bracket is missing" in finding.hint
    assert finding.where.startswith("line 9")


def test_seed_sample_errors_children_lacks_the_usual_key() -> None:
    """§3.1: the stop-recording sample's `children` lacks `_`."""
    errors = [each for each in compile_flow(RECORDING_PER_USER_AS_PRINTED).findings if each.severity == "error"]
    assert errors[0].where == "/children/_/children/_/children/module"
    assert '{"_": {"module": …}}' in errors[0].hint
    assert errors[0].message == "a text where a node should be"


def test_seed_sample_errors_empty_data_and_code_as_text() -> None:
    """§3.1: ring_group `endpoints` as plain ids; `response.code` as string; `response.data` empty."""
    for data, code in (({}, 486), ({"code": "503"}, 503), ({"code": 603}, 603)):
        (step,) = [s for s in graph_of(node("response", data)).steps.values() if isinstance(s, g.Perform)]
        assert step.order.code == code  # type: ignore[attr-defined]


# --- nodes --------------------------------------------------------------------------------


def test_node_module_data_children() -> None:
    """§3.1: Node: `module`, `data`, `children` (`_`)."""
    flow = graph_of(node("answer", _=node("sleep", {"duration": 1}, _="done")))
    paths = [(step.path, step.origin) for step in flow.steps.values() if isinstance(step, g.Enter)]
    assert paths == [("", ""), ("_", "/children/_"), ("_/_", "/children/_/children/_")]


def test_a_path_is_the_keys_from_the_root_percent_encoded() -> None:
    """§0.1: `_` is the default child here, not a prompt; the key is kept in the path as written."""
    flow = node("device", {"id": "d"}, **{"sip:486": node("menu", {"text": "?"}, **{"#": "x"}), "_": "y"})
    paths = {step.path for step in graph_of(flow).steps.values() if isinstance(step, g.Enter)}
    assert paths == {"", "sip%3A486", "sip%3A486/%23", "_"}


def test_data_and_children_may_be_left_out() -> None:
    assert texts(play({"module": "answer", "children": {"_": SAY_BYE}})) == ["bye"]
    assert play({"module": "hangup"}).ending.by == "flow"


def test_empty_lists_of_php_are_empty_objects() -> None:
    document = '{"module": "answer", "data": [], "children": []}'
    assert found(document) == [("empty-node", "warning", "/data"), ("empty-node", "warning", "/children")]
    assert verbs(document) == ["Answer", "HangUp"]


def test_a_stored_callflow_is_unwrapped() -> None:
    """A stored callflow wrapper {"flow": {...}, "numbers": [...]}."""
    document = {"flow": node("tts", {"text": "hi", "x": 1}), "numbers": ["+3901"], "name": "main", "owner_id": "o"}
    assert found(document) == [
        ("ignored-option", "info", "/numbers"),
        ("ignored-option", "info", "/owner_id"),
        ("ignored-option", "warning", "/flow/data/x"),
    ]
    assert texts(play(document)) == ["hi"]
    assert found({"flow": {"module": "tts"}}) == [("missing-option", "error", "/flow")]


def test_other_keys_of_a_node_are_told() -> None:
    assert found({"module": "hangup", "notes": "x"}) == [("ignored-option", "warning", "/notes")]


# --- §3.3 engine rules --------------------------------------------------------------------


def test_unknown_module_is_skipped_to_the_usual_child() -> None:
    """§3.3: Unknown or unexported module: skip to `_`. §0.3: Kazoo: skip to `_`."""
    document = node("acdc_queue", {"id": "q"}, _="after")
    assert found(document) == [("unknown-module", "warning", "/module")]
    assert texts(play(document)) == ["after"]
    assert "did you mean collect_dtmf?" in messages(node("colect_dtmf"))


def test_say_is_an_alias_of_tts() -> None:
    """§3.3: There is no `cf_say` … Ours: alias of `tts`."""
    assert found(node("say", {"text": "hi"})) == []
    assert graph_of(node("say", {"text": "hi"})).prompts() == graph_of(node("tts", {"text": "hi"})).prompts()


def test_without_a_child_the_call_is_hung_up() -> None:
    """§3.3: No `_` child and nothing left: hang up."""
    ending = play(node("tts", {"text": "hi"})).ending
    assert (ending.by, ending.reason) == ("flow", "end of the flow")


def test_a_child_that_is_missing_falls_back_to_the_usual_one() -> None:
    """§3.3: Requested child missing: try `_`."""
    flow = node("device", {"id": "d"}, NO_ANSWER="nobody", _="other")
    assert texts(play(flow, "busy")) == ["other"]
    assert texts(play(flow, "noanswer")) == ["nobody"]


def test_playing_modules_answer_first() -> None:
    """§3.3: Playing modules answer the call first (play: unless `answer:false`; 100 ms settle)."""
    flow = graph_of(node("tts", {"text": "hi"}, _=node("play", {"id": "http://h/a.wav"})))
    kinds = [type(step).__name__ for step in flow.steps.values() if not isinstance(step, g.Enter)]
    assert kinds == ["Answer", "Pause", "Say", "Say", "HangUp"]  # once
    assert [step.seconds for step in flow.steps.values() if isinstance(step, g.Pause)] == [0.1]
    assert verbs(node("play", {"id": "http://h/a.wav", "answer": False})) == ["Say", "HangUp"]


def test_skip_module() -> None:
    """§3.2: `skip_module` any module: skip to `_`."""
    assert texts(play(node("tts", {"text": "hi", "skip_module": True}, _="after"))) == ["after"]
    assert texts(play(node("hangup", {"skip_module": "true"}, _="after"))) == ["after"]


def test_children_that_nothing_leads_to_are_told() -> None:
    document = node("hangup", _="never")
    assert found(document) == [("unreachable", "warning", "/children/_")]
    assert found(node("tts", {"text": "hi"}, **{"1": "never"})) == [("unreachable", "warning", "/children/1")]


# --- findings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "code", "severity", "where"),
    [
        ("{", "bad-json", "error", "line 1, column 2"),
        ("no JSON", "bad-json", "error", "line 1, column 1"),
        (b"\xff", "not-utf8", "error", "line 1"),
        ("[]", "wrong-type", "error", ""),
        ("1e999", "bad-value", "error", ""),
        ('{"module":"hangup","module":"tts"}', "duplicate-key", "error", "/module"),
        ({"module": {1, 2}}, "wrong-type", "error", "/module"),
        ({"module": "hangup", 3: 4}, "wrong-type", "error", ""),
        ({"module": "hangup", "x": float("nan")}, "bad-value", "error", "/x"),
        ({"module": "hangup", "x": 10**400}, "bad-value", "error", "/x"),
        ({}, "missing-option", "error", ""),
        ({"module": 5}, "wrong-type", "error", "/module"),
        (node("tts"), "missing-option", "error", "/data"),
        ({"module": "tts"}, "missing-option", "error", ""),
        (node("tts", {"text": ["a"]}), "wrong-type", "error", "/data/text"),
        (node("tts", {"text": "a" * 1001}), "bad-value", "error", "/data/text"),
        (node("device", {"id": "d", "timeout": "soon"}), "bad-value", "error", "/data/timeout"),
        (node("device", {"id": "d"}, _=node("sleep", {"unit": "y"})), "bad-value", "error", "/children/_/data/unit"),
        (node("collect_dtmf", {"max_digits": "0"}), "bad-value", "error", "/data/max_digits"),
        (node("device", {"id": "d", "timeuot": 5}), "ignored-option", "warning", "/data/timeuot"),
        (node("device"), "missing-option", "warning", "/data"),
    ],
)
def test_findings(document: Any, code: str, severity: str, where: str) -> None:
    assert (code, severity, where) in found(document)


def test_a_finding_names_module_field_and_reason() -> None:
    assert "response: code: 200 is less than the minimum of 300" in messages(node("response", {"code": 200}))
    assert "tts: text is missing" in messages(node("tts"))
    assert "did you mean timeout?" in messages(node("device", {"id": "d", "timeuot": 5}))
    assert "code is 99: it is from 300 to 699" in messages(node("response", {"code": "99"}))


def test_an_option_that_says_what_holds_anyway_is_not_told() -> None:
    """Exported flows have every option: those at their default do not change anything."""
    assert found(node("user", {"id": "u", "can_call_self": False, "timeout": 0, "delay": 0})) == []
    told = found(node("user", {"id": "u", "can_call_self": True}))
    assert told == [("ignored-option", "warning", "/data/can_call_self")]


@pytest.mark.parametrize(
    ("module", "data", "where"),
    [
        ("device", {"id": "d", "delay": 20}, "/data/delay"),
        ("user", {"id": "u", "timeout": 10, "delay": "10"}, "/data/delay"),
        ("ring_group", {"endpoints": [{"id": "d", "endpoint_type": "device", "delay": 20}]}, "/data/endpoints/0/delay"),
        (
            "ring_group",
            {"timeout": 30, "endpoints": ["x", {"id": "d", "endpoint_type": "user", "timeout": 60, "delay": 45}]},
            "/data/endpoints/1/delay",
        ),
        ("page_group", {"endpoints": [{"id": "d", "endpoint_type": "device", "delay": 5}]}, "/data/endpoints/0/delay"),
    ],
)
def test_who_is_to_ring_when_all_ringing_is_over_is_told(module: str, data: dict[str, Any], where: str) -> None:
    """§3.4 delay s (0), timeout (20)."""
    assert ("never-rings", "warning", where) in found(node(module, data))
    longer: Any = {**data, "timeout": 60}
    assert "never-rings" not in {code for code, _, _ in found(node(module, longer))}


# --- limits -------------------------------------------------------------------------------


def test_limits() -> None:
    """Documents are at most 1 MiB, 10,000 nodes, 64 levels."""
    assert found(" " * (1024 * 1024 + 1))[0][0] == "too-large"
    wide = node("branch_variable", {"variable": "x"}, **{str(i): node("hangup") for i in range(10_000)})
    assert [code for code, _, _ in found(wide)] == ["too-many-nodes"]
    deep: Any = node("hangup")
    for _ in range(64):
        deep = node("answer", _=deep)
    assert [code for code, _, _ in found(deep)] == ["too-deep"]
    assert found(deep["children"]["_"]) == []
    assert found(node("answer", **{"k" * 9000: node("hangup")}))[0][0] == "too-deep"
    assert found(node("answer", _=node("branch_variable", {"variable": "x"}, **{"é" * 3000: node("hangup")}))) == [
        ("too-large", "error", f"/children/_/children/{'é' * 979}…")
    ]


def test_few_nodes_cannot_become_too_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.dialects.kazoo.compiler.MAX_STEPS", 100)
    many = node("branch_variable", {"variable": "x"}, **{str(i): node("menu", {"retries": 10}) for i in range(9)})
    assert ("too-large", "error", "/children/5") in found(many)


def test_a_value_that_contains_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.dialects.values.MAX_VALUES", 1000)
    loop: list[Any] = []
    loop.append(loop)
    assert found({"module": "tts", "data": loop})[0][:2] == ("too-deep", "error")
    doubled: Any = []
    for _ in range(30):
        doubled = [doubled, doubled]
    assert "too-large" in {code for code, _, _ in found({"module": "tts", "data": doubled})}


# --- detection ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "dialect"),
    [
        (node("tts", {"text": "hi"}), "kazoo"),
        ({"module": "hangup"}, "kazoo"),
        ({"module": "acdc_queue", "data": {}}, "kazoo"),
        ({"flow": node("hangup"), "numbers": []}, "kazoo"),
        (json.dumps({"data": {"text": "hi"}, "module": "tts"}).encode(), "kazoo"),
        ('{"module": "tts", "data": {"text": "hi"', "kazoo"),
        ({"_": "Which?", "module": {"_": "x"}}, "brombler"),
        ({"_": "Which?", "module": "x", "data": "y"}, "brombler"),
        ({"module": "a word that is said"}, "brombler"),
        ({"flow": "said"}, "brombler"),
        ("Hello", "brombler"),
        ('["module"]', "brombler"),
        ('{"_": "broken', "brombler"),
        (7, "brombler"),
    ],
)
def test_detection(document: object, dialect: str) -> None:
    assert detect(document) == dialect


def test_the_schema_and_the_compiler_know_the_same_modules() -> None:
    assert modules() == MODULES.keys()


def test_the_language_of_the_document() -> None:
    (prompt,) = graph_of(node("tts", {"text": "salut"}), language="ro").prompts()
    assert prompt.language == "ro"
    assert compile_kazoo(node("tts", {"text": "x"}), name="main").graph.name == "main"  # type: ignore[union-attr]


@pytest.mark.parametrize("key", ["1", "01", "+1", "-1", "é", "a/b~c", "children", "data", ""])
def test_a_finding_points_to_the_key_as_it_is_written(key: str) -> None:
    at = key.replace("~", "~0").replace("/", "~1")
    document = node("menu", {"text": "?"})
    document["children"] = {"1": node("hangup"), key: node("tts")}
    assert found(document) == [("missing-option", "error", f"/children/{at}/data")]

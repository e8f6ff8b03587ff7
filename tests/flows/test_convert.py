"""Conversion between dialects: what is written compiles and says the same, what is not written is listed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_flow_properties import trees
from test_kazoo_properties import nodes
from test_messagebird_properties import good_flows
from test_twiml_properties import documents

from flows.dialects import compile_flow, detect
from flows.documents import MAX_BYTES
from flows.findings import has_errors
from flows.graph import Graph, Perform
from flows.listening import Settings
from flows.orders import Conference, Dial, Order
from flows.simulate import Simulation, simulate
from flows.tools.convert import TARGETS, Converted, convert

O = TypeVar("O", bound=Order)  # noqa: E741 (an order)
EXAMPLES = Path(__file__).parents[2] / "examples"
FLOWS = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".json", ".xml"))
SCRIPTS = [
    "",
    "press 1",
    "press 2",
    "press! 1; press 2",
    "press 1; press 1",
    "press 2; press 1",
    "press 1; press 2; press 12",
    "press 1; press 2; press 3",
    "press 9; press 1",
    "press 9; press 9; press 9",
    "wait 9; press 1; press 2",
    "press *",
    "press 1; wait 20; press 1",
]
HARMLESS = {"words", "callbacks", "variable", "dial"}
"""Codes of losses that change nothing of what a caller who only presses keys hears."""


def compiled(document: Any, dialect: str = "") -> Graph:
    found = compile_flow(document, name="x.json" if dialect != "twiml" else "x.xml", dialect=dialect)
    assert found.graph is not None, found.findings
    return found.graph


def heard(simulation: Simulation) -> list[str]:
    """All words that were spoken, for a moment at least, and what was played."""
    prompts = [spoken.prompt for spoken in simulation.spoken if spoken.heard]
    return " ".join(prompt.media or prompt.text for prompt in prompts).split()


def keys(simulation: Simulation) -> list[str]:
    """The shape of the path: what was chosen on the way."""
    return [each.value for each, _ in simulation.heard if each.value]


def codes(converted: Converted) -> list[str]:
    return [finding.code for finding in converted.findings]


def tree(document: Any, to: str) -> tuple[Converted, Any]:
    """A call tree in another dialect, and its JSON."""
    converted = convert(compiled(document, "brombler"), to)
    return converted, json.loads(converted.document) if to != "twiml" else None


# --- examples × targets × scripts -------------------------------------------------------


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.name)
def test_an_example_in_another_dialect_compiles_and_is_recognised(path: Path, to: str) -> None:
    converted = convert(compile_flow(path.read_bytes(), name=path.name).graph or compiled(""), to)
    again = compile_flow(converted.document, dialect=to)
    assert not has_errors(again.findings), again.findings
    assert detect(converted.document) == to
    silent = [finding for finding in again.findings if finding.severity == "warning"]
    assert not silent or converted.lost  # what is not lost is written well


@pytest.mark.parametrize("to", ["kazoo", "messagebird"])
@pytest.mark.parametrize("name", ["hello.json", "survey.json", "menu.json", "callbacks.json"])
def test_a_tree_of_keys_says_the_same_in_other_dialects(name: str, to: str) -> None:
    graph = compile_flow((EXAMPLES / name).read_bytes(), name=name).graph
    assert graph is not None
    converted = convert(graph, to)
    again = compiled(converted.document, to)
    assert {finding.code for finding in converted.lost} <= HARMLESS | {"branch", "exit"}
    for script in SCRIPTS:
        was, came = simulate(graph, script), simulate(again, script)
        assert (heard(came), keys(came)) == (heard(was), keys(was)), script
        assert came.ending.by == was.ending.by


def test_a_flow_of_verboice_says_the_same_as_a_callflow_where_nothing_is_lost() -> None:
    graph = compile_flow((EXAMPLES / "clinic.json").read_bytes(), name="clinic.json").graph
    assert graph is not None
    again = compiled(convert(graph, "kazoo").document, "kazoo")
    for script in ["press 1", "press 2", "press 1; press 1", "press 1; press 2; press 3", "press 1; press 2; press 9"]:
        assert heard(simulate(again, script)) == heard(simulate(graph, script)), script


@pytest.mark.parametrize("between", ["kazoo", "messagebird"])
def test_there_and_back_again(between: str) -> None:
    document = {
        "_": "One or two?",
        "key:1": {"_": "Three or four?", "key:3": "Three.", "key:4": "Four.", "$timeout": "None."},
        "key:2": {"$redirect 100": "One moment.", "$fail": "Nobody is there."},
        "$nomatch": "What?",
        "$silence": "Hello?",
    }
    there = convert(compiled(document, "brombler"), between)
    back = convert(compiled(there.document, between), "brombler")
    assert json.loads(back.document)["key:1"] == document["key:1"]
    assert json.loads(back.document)["$nomatch"] == "What?"
    assert json.loads(back.document)["$silence"] == "Hello?"
    assert "time" not in codes(back)


# --- any tree ---------------------------------------------------------------------------

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
presses = st.lists(
    st.sampled_from(["press 1", "press 2", "press 12", "press *", "press! 1", "press 9", "wait 7"]), max_size=5
)


@quick
@given(trees, st.sampled_from(sorted(TARGETS)), presses)
def test_any_tree_is_written_and_says_the_same_unless_that_is_listed(value: object, to: str, script: list[str]) -> None:
    found = compile_flow(value, dialect="brombler")
    if found.graph is None:
        return
    converted = convert(found.graph, to)
    again = compile_flow(converted.document, dialect=to)
    assert again.graph is not None, again.findings
    assert len(converted.document.encode()) <= MAX_BYTES
    alike = {finding.code for finding in converted.lost} <= {"words", "callbacks"}
    if alike and not {"prompts", "sequence", "text"} & {*codes(converted)}:
        was, came = simulate(found.graph, "; ".join(script)), simulate(again.graph, "; ".join(script))
        assert heard(came) == heard(was)
        assert keys(came) == keys(was)


others = st.one_of(
    st.tuples(st.just("kazoo"), nodes(good=True)),
    st.tuples(st.just("messagebird"), good_flows),
    st.tuples(st.sampled_from(["twiml", "pivot"]), documents),
)


@quick
@given(others, st.sampled_from(sorted(TARGETS)))
def test_any_flow_is_written_and_says_the_same_where_nothing_is_listed(flow: tuple[str, Any], to: str) -> None:
    found = compile_flow(flow[1], dialect=flow[0])
    if found.graph is None:
        return
    converted = convert(found.graph, to)
    again = compile_flow(converted.document, dialect=to)
    assert again.graph is not None, again.findings
    for script in () if converted.findings else ("", "press 1; press 2"):
        was, came = simulate(found.graph, script), simulate(again.graph, script)
        assert heard(came) == heard(was) or was.ending.by == "limit"


# --- a line for each thing that is lost or changed --------------------------------------


@pytest.mark.parametrize(
    ("to", "document", "code", "text"),
    [
        ("kazoo", {"_": "?", "yes | key:1": "a"}, "words", "'yes | key:1' can only be pressed (1)"),
        ("kazoo", {"_": "?", "yes": "a", "key:1": "b"}, "branch", "'yes' has no key"),
        ("kazoo", {"_": "?", "key:1234567": "a"}, "keys", "the keys 1234567 cannot be a choice"),
        ("kazoo", {"_": "?", "key:A": "a"}, "keys", "the keys A cannot be a choice"),
        ("kazoo", {"$api http://a/": "Hello."}, "callbacks", "telling http://a/ how the call goes"),
        ("kazoo", {"$forward http://a/": "Hello."}, "callbacks", "telling http://a/"),
        ("kazoo", {"_": "x" * 2000}, "text", "is spoken in 2 pieces"),
        ("messagebird", {"_": "a.wav"}, "media", "MessageBird plays URLs only: a.wav"),
        ("messagebird", {"_": "Hello.", "$voice": "ana"}, "voice", "the voice ana is not known there"),
        ("messagebird", {"_": "Hello.", "$language": "eo"}, "language", "MessageBird does not speak eo"),
        ("messagebird", {"_": "Salut.", "$language": "ro"}, "language", "the language ro becomes ro-ro"),
        ("messagebird", {"_": "?", "key:1": "a", "key:01": "b"}, "keys", "01 and 1 are the same choice"),
        ("messagebird", {"$redirect 100": "", "$fail": "Nobody."}, "exit", "after 'failed' is lost"),
        ("messagebird", {"$redirect 100": ""}, "transfer", "stays in the call"),
        ("twiml", {"_": "?", "key:1": "a"}, "branch", "what 'key:1' leads to is lost"),
        ("twiml", {"_": "?", "key:1": "a", "$nomatch": "b", "$silence": "c"}, "branch", "what a wrong key leads to"),
        ("twiml", {"_": "a\x07b"}, "text", "characters that XML cannot have"),
    ],
)
def test_what_a_tree_says_and_another_dialect_does_not(to: str, document: Any, code: str, text: str) -> None:
    converted, _ = tree(document, to)
    found = [finding for finding in converted.findings if finding.code == code]
    assert any(text in finding.message for finding in found), converted.findings


def call(module: str, data: dict[str, Any], **children: Any) -> dict[str, Any]:
    return {"module": module, "data": data, "children": children}


BYE = call("tts", {"text": "Bye."})
DELAYED = {"id": "d", "endpoint_type": "device", "delay": 5}


@pytest.mark.parametrize(
    ("to", "flow", "code", "text"),
    [
        ("brombler", call("sleep", {"duration": 2}, _=BYE), "pause", "a pause of 2 s cannot be written"),
        ("brombler", call("collect_dtmf", {"max_digits": 4}, _=BYE), "keys", "taking keys without choosing by them"),
        ("brombler", call("pivot", {"voice_url": "http://a/"}), "request", "asking http://a/ for a flow"),
        ("brombler", call("set_variable", {"variable": "a", "value": "b"}, _=BYE), "variable", "setting var.a"),
        ("brombler", call("user", {"id": "x"}, _=BYE), "order", "ringing somebody cannot be written"),
        ("brombler", call("callflow", {"id": "x"}), "flow", "going on with the stored flow x"),
        ("brombler", call("play", {"id": "music-on-hold"}), "media", "music-on-hold would be spoken"),
        ("brombler", call("tts", {"text": "a"}, _=call("play", {"id": "b.wav"})), "prompts", "one after the other"),
        ("brombler", call("tts", {"text": "a"}, _=BYE), "prompts", "several texts are spoken as one"),
        ("brombler", call("menu", {"text": "?", "retries": 2}, **{"1": BYE}), "time", "asked 3 times, not 2"),
        (
            "brombler",
            call("branch_variable", {"variable": "a"}, b=BYE),
            "condition",
            "what depends on conditions is lost",
        ),
        ("brombler", call("record_call", {}, _=BYE), "order", "recording the call cannot be written"),
        ("messagebird", call("voicemail", {"id": "x"}, _=BYE), "order", "voicemail cannot be written"),
        ("messagebird", call("pivot", {"voice_url": "http://a/"}), "request", "the server must answer so"),
        ("messagebird", call("response", {"code": 486}), "order", "hung up, not answered with 486"),
        ("messagebird", call("flush_dtmf", {}, _=BYE), "keys", "pressed ahead are not forgotten"),
        ("messagebird", call("sleep", {"duration": 1500, "unit": "ms"}, _=BYE), "time", "1.5 seconds become 2"),
        ("twiml", call("branch_variable", {"variable": "a"}, b=BYE), "condition", "what depends on conditions"),
        ("twiml", call("response", {"code": 480}), "order", "rejected with 603, not with 480"),
        ("twiml", call("park", {}), "order", "parking the call cannot be written"),
        ("twiml", call("webhook", {"uri": "http://a/"}, _=BYE), "request", "telling http://a/ about the call"),
        ("twiml", call("device", {"id": "d", "suppress_clid": True}), "dial", "the hide caller id of a dial"),
        ("twiml", call("ring_group", {"endpoints": [DELAYED]}), "targets", "the delay of one who is rung"),
        ("twiml", call("conference", {"config": {"name": "r", "member": {"pins": ["1"]}}}), "order", "the pins of a"),
        ("messagebird", call("resources", {"to_did": "1", "ringback": "a.wav"}), "dial", "the ringback of a dial"),
    ],
)
def test_what_a_callflow_says_and_another_dialect_does_not(to: str, flow: Any, code: str, text: str) -> None:
    converted = convert(compiled(flow, "kazoo"), to)
    found = [finding for finding in converted.findings if finding.code == code]
    assert any(text in finding.message for finding in found), converted.findings
    assert not has_errors(compile_flow(converted.document, dialect=to).findings)


@pytest.mark.parametrize(
    ("verbs", "what"),
    [
        ('<Dial><Conference endConferenceOnExit="true">r</Conference></Dial>', "the ends with member of a conference"),
        ('<Dial><Conference record="true">r</Conference></Dial>', "the record of a conference"),
        ('<Dial timeLimit="60">1</Dial>', "the time limit of a dial"),
        ('<Dial hangupOnStar="true">1</Dial>', "the hangup on key of a dial"),
    ],
)
def test_what_a_verb_asks_for_and_a_module_cannot(verbs: str, what: str) -> None:
    converted = convert(compiled(f"<Response>{verbs}</Response>", "twiml"), "kazoo")
    assert any(what in finding.message for finding in converted.lost), converted.findings


def order_in(flow: Graph, kind: type[O]) -> O:
    (found,) = (
        each.order for each in flow.steps.values() if isinstance(each, Perform) and isinstance(each.order, kind)
    )
    return found


def test_a_conference_is_the_same_in_another_dialect() -> None:
    config = {"name": "r", "max_participants": 9, "wait_for_moderator": True, "member": {"join_muted": True}}
    quiet = {"play_entry_tone": False, "welcome_prompt": {"play": False}}
    flow = compiled(call("conference", {"config": config, **quiet}), "kazoo")
    converted = convert(flow, "twiml")
    assert not converted.lost
    there = compiled(converted.document, "twiml")
    assert replace(order_in(there, Conference), time_limit=0.0) == order_in(flow, Conference)
    back = convert(there, "kazoo")
    assert not back.lost
    assert order_in(compiled(back.document, "kazoo"), Conference) == order_in(flow, Conference)


def test_a_dial_is_the_same_in_another_dialect() -> None:
    attributes = 'timeout="9" timeLimit="60" callerName="Ann" hangupOn="7" channel="t" successfulAfter="30"'
    flow = compiled(f"<Response><Dial {attributes}>100</Dial></Response>", "verboice")
    converted = convert(flow, "twiml")
    assert not converted.lost
    assert order_in(compiled(converted.document, "twiml"), Dial) == order_in(flow, Dial)


def test_after_a_bridge_a_callflow_is_over() -> None:
    flow = "<Response><Dial>100</Dial><Say>After.</Say></Response>"
    converted = convert(compiled(flow, "twiml"), "kazoo")
    (finding,) = [finding for finding in converted.lost if finding.code == "after"]
    assert "what follows is lost" in finding.message
    assert heard(simulate(compiled(converted.document, "kazoo"), "busy")) == ["After."]  # a failure goes on


def test_places_are_those_of_the_flow_that_was_converted() -> None:
    converted, _ = tree({"_": "?", "key:1": {"_": "?", "yes": "a"}}, "kazoo")
    assert [finding.where for finding in converted.lost] == ["/key:1/yes"]


# --- what is written --------------------------------------------------------------------


def test_a_callflow_as_a_person_would_write_it() -> None:
    _, flow = tree({"_": "One or two?", "key:1": "One.", "key:2": {"$redirect 100": "Wait."}}, "kazoo")
    assert flow["module"] == "menu"
    assert flow["data"] == {
        "text": "One or two?",
        "timeout": 5000,
        "interdigit_timeout": 2000,
        "max_extension_length": 1,
        "retries": 3,
    }
    assert flow["children"]["1"] == {"module": "tts", "data": {"text": "One.", "terminators": []}}
    assert flow["children"]["2"]["children"]["_"] == {"module": "transfer", "data": {"target": "100"}}


def test_a_call_flow_as_a_person_would_write_it() -> None:
    _, flow = tree({"_": "One or two?", "key:1": "One.", "key:2": "Two."}, "messagebird")
    assert [step["action"] for step in flow["steps"]] == [*["say", "pause"] * 3, *["say", "hangup"] * 2, "hangup"]
    assert flow["steps"][0]["onKeypressVar"] == "choice1"
    assert flow["steps"][6]["conditions"] == [{"variable": "choice1", "operator": "==", "value": "1"}]


def test_twiml_as_a_person_would_write_it() -> None:
    flow = call("tts", {"text": "A & B", "voice": "male", "language": "en"}, _=call("resources", {"to_did": "100"}))
    converted = convert(compiled(flow, "kazoo"), "twiml")
    assert ["<Say", 'voice="man"', 'language="en"', 'terminators="1234567890*#">A', "&amp;", "B</Say>"][:3] == (
        converted.document.splitlines()[2].split()[:3]
    )
    assert "<Number>100</Number>" in converted.document


def test_keys_that_a_server_is_asked_about_are_one_verb() -> None:
    flow = call("collect_dtmf", {"max_digits": 4}, _=call("pivot", {"voice_url": "http://a/", "req_format": "twiml"}))
    converted = convert(compiled(flow, "kazoo"), "twiml")
    assert '<Gather timeout="5" numDigits="4" action="http://a/" method="GET" actionOnEmptyResult="true"/>' in (
        converted.document
    )


def test_a_tree_as_a_person_would_write_it() -> None:
    flow = call("menu", {"text": "?", "timeout": 5000}, **{"1": call("transfer", {"target": "100"}), "_": BYE})
    converted = convert(compiled(flow, "kazoo"), "brombler")
    assert json.loads(converted.document) == {
        "$voice": "female",
        "_": "?",
        "key:1": "$redirect 100",
        "$timeout": "Bye.",
    }


def test_settings_are_those_of_the_calls() -> None:
    converted = convert(compiled({"_": "?", "key:1": "a"}, "brombler"), "kazoo", Settings(listen=9.0, repeats=0))
    assert json.loads(converted.document)["data"]["timeout"] == 9000
    assert json.loads(converted.document)["data"]["retries"] == 1


def test_loops_and_large_flows_end() -> None:
    loop = {
        "title": "x",
        "steps": [
            {
                "id": "a",
                "action": "say",
                "options": {"payload": "Again?", "language": "en-gb", "voice": "female"},
                "onKeypressGoto": "a",
            }
        ],
    }
    converted = convert(compiled(loop, "messagebird"), "brombler")
    assert "loop" in codes(converted)
    deep: Any = "End."
    for _ in range(40):
        deep = {"_": "?", "key:1": deep, "key:2": "x", "$nomatch": "n", "$silence": "s"}
    for to in TARGETS:
        converted = convert(compiled(deep, "brombler"), to)
        assert len(converted.document.encode()) <= MAX_BYTES
        assert converted.lost or to == "brombler"
        assert not has_errors(compile_flow(converted.document, dialect=to).findings)

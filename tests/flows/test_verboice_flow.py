"""Verboice's own call flows. Behaviour is that of the programs that Verboice makes of the same steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flow_kit import texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twiml_kit import of

from flows.call import Callback, Fetched, Learned, Reply
from flows.check import check_compiled
from flows.dialects import compile_flow, detect
from flows.dialects.compiling import Compiled
from flows.dialects.verboice_flow import MAX_STEPS, compile_verboice
from flows.findings import has_errors
from flows.graph import Branch, Collect, Enter, Fetch, Graph, Perform, Record, Say, SetVariables, Tell
from flows.orders import Dial, Target
from flows.prompts import Prompt
from flows.schemas import schema
from flows.scripted_world import canned
from flows.simulate import Scenario, Simulation, simulate
from flows.templates import Template

EXAMPLE = Path(__file__).parents[2] / "examples" / "clinic.json"


def export(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A document with these steps; every resource that they name says its own name."""
    guids = {
        link["guid"]: None for step in steps for link in step.values() if isinstance(link, dict) and link.get("guid")
    }
    resources = [{"guid": guid, "localized_resources": [{"language": "en", "text": guid}]} for guid in guids]
    return {"workflow": list(steps), "resources": resources, **more}


def step(number: int | str, kind: str, **fields: Any) -> dict[str, Any]:
    sounds = {key: {"guid": value} for key, value in fields.items() if key.endswith("resource")}
    root = {"root": 1} if number == 1 else {}
    return {"id": number, "type": kind, "name": f"{kind} {number}", **root, **fields, **sounds}


def graph(*steps: dict[str, Any], **more: Any) -> Graph:
    compiled = compile_verboice(export(*steps, **more))
    assert compiled.graph is not None, compiled.findings
    return compiled.graph


def call(flow: Graph, script: str = "", **scenario: Any) -> Simulation:
    return simulate(flow, script, scenario=Scenario(call_id="c1", caller="+4021", **scenario))


def findings(document: object) -> list[tuple[str, str, str]]:
    return [(f.code, f.severity, f.where) for f in check_compiled(compile_verboice(document))]


def conditional(condition: dict[str, Any]) -> dict[str, Any]:
    return step(1, "branch", options=[{"conditions": [condition]}])


CONDITION = "/workflow/0/options/0/conditions/0"
SAY = {n: step(n, "play", resource=f"say {n}") for n in range(1, 20)}

# --- the sample of Verboice's own tests ---------------------------------------------------------

SAMPLE = [
    step(27, "play", root=2, resource="27"),
    step(
        *(3, "menu"),
        explanation_resource="menu",
        timeout=20,
        options=[{"description": "foobar", "number": 2, "next": 4}, {"number": 1, "next": 6}],
        next=5,
    ),
    step(4, "play", resource="4"),
    step(1, "play", resource="1", next=2),
    step(
        *(2, "capture"),
        instructions_resource="digits?",
        invalid_resource="wrong",
        valid_values="1-10",
        finish_on_key="#",
        min_input_length=1,
        max_input_length=10,
        timeout=10,
        next=3,
    ),
    step(6, "play", resource="6"),
    step(5, "play", resource="5", next=7),
    {"id": 7, "type": "goto", "jump": 33},
    step(33, "play", root=3, resource="33", next=34),
    step(
        *(34, "branch"),
        options=[
            {
                "conditions": [
                    {"step": 3, "operator": "==", "value": 6},
                    {"step": 2, "operator": "<", "value": 30},
                    {"step": 2, "operator": ">=", "value": 5},
                ],
                "next": 10,
            },
            {"conditions": [{"step": 3, "operator": "<=", "value": 5}], "next": 14},
        ],
    ),
    step(10, "play", resource="10"),
    step(14, "play", resource="14", next=15),
    step(15, "hang_up"),
    step(44, "play", root=4, resource="44"),
]


@pytest.mark.parametrize(
    ("script", "heard", "path"),
    [
        ("press 5#; press 2", ["1", "digits?", "menu", "4", "5", "33", "14"], "hang_up.15"),
        (
            "press 50#; press 9#; press 1",
            ["1", "digits?", "wrong", "digits?", "menu", "6", "5", "33", "14"],
            "hang_up.15",
        ),
        ("press 5#; press 7; press 2", ["1", "digits?", "menu", "4", "5", "33", "14"], "hang_up.15"),
        ("press 5#", ["1", "digits?", "menu", "5", "33"], "branch.34"),
        ("", ["1", "digits?", "digits?", "digits?", "menu", "5", "33"], "branch.34"),
    ],
)
def test_the_sample_of_verboice(script: str, heard: list[str], path: str) -> None:
    """§2.1 Flow `call_flow_id`: what Verboice runs for it."""
    simulation = call(graph(*SAMPLE), script)
    assert texts(simulation) == heard
    assert simulation.path == path


# --- step by step -----------------------------------------------------------------------------


def test_the_call_begins_at_the_first_root() -> None:
    flow = graph(step("a", "play", root=2, resource="a"), step("b", "play", root="1", resource="b"))
    assert texts(call(flow)) == ["b"]
    assert [each.path for each in of(flow, Enter)] == ["", "play.b", "play.a"]


@pytest.mark.parametrize(
    ("script", "heard"),
    [
        ("press 1", ["explain", "options", "say 2", "say 4"]),
        ("press! 1", ["explain", "say 2", "say 4"]),
        ("press *", ["explain", "options", "say 4"]),
        ("press 9; press 1", ["explain", "options", "invalid", "options", "say 2", "say 4"]),
        ("press 9; press 9", ["explain", "options", "invalid", "options", "invalid", "say 3", "say 4"]),
        ("", ["explain", "options", "options", "say 3", "say 4"]),
    ],
)
def test_menu(script: str, heard: list[str]) -> None:
    flow = graph(
        step(
            *(1, "menu"),
            explanation_resource="explain",
            options_resource="options",
            invalid_resource="invalid",
            number_of_attempts=2,
            options=[{"number": 1, "next": 2}, {"number": "*"}],
            default=3,
            next=4,
        ),
        *(SAY[2], SAY[3], SAY[4]),
    )
    assert texts(call(flow, script)) == heard


def test_menu_defaults() -> None:
    """3 attempts, 5 s, no finishing key, one key."""
    collects = of(graph(step(1, "menu", options=[{"number": 1}])), Collect)
    assert len(collects) == 3
    assert {(each.first, each.finish, each.least, each.most, each.repeats) for each in collects} == {(5.0, "", 1, 1, 0)}


@pytest.mark.parametrize(("script", "told"), [("press 2", "2"), ("press 9", "")])
def test_what_a_menu_stores(script: str, told: str) -> None:
    """§2.2 Flow sees them as `var_<name>`."""
    flow = graph(
        step(1, "menu", store="choice", number_of_attempts=1, options=[{"number": 2}], next=2),
        step(2, "external", external_step_guid="s", settings=[{"name": "c", "variable": "choice"}]),
        **service(response_type="none"),
    )
    (callback,) = (each for each, _ in call(flow, script).callbacks)
    assert callback.params.get("c", "") == told


@pytest.mark.parametrize(
    ("fields", "script", "heard"),
    [
        ({}, "press 7", ["?", "say 2"]),
        ({"valid_values": "1, 3-5; 9"}, "press 4", ["?", "say 2"]),
        ({"valid_values": "1, 3-5; 9"}, "press 2; press 9", ["?", "invalid", "?", "say 2"]),
        ({"valid_values": "10-20", "max_input_length": 2}, "press 09; press 15", ["?", "invalid", "?", "say 2"]),
        ({"min_input_length": 2, "max_input_length": 4}, "press 1#; press 12#", ["?", "?", "say 2"]),
        ({"min_input_length": "2", "max_input_length": "4"}, "press 1", ["?", "?", "?", "say 3", "say 2"]),
        ({"min_input_length": 0}, "", ["?", "say 2"]),
        ({"min_input_length": 0, "valid_values": "1"}, "press #", ["?", "say 2"]),
        ({"min_input_length": 0, "valid_values": "1"}, "press 2; press 1", ["?", "invalid", "?", "say 2"]),
        ({"min_input_length": 2, "max_input_length": 1}, "press 12345#", ["?", "say 2"]),
        ({"finish_on_key": "*", "max_input_length": 9}, "press 12*", ["?", "say 2"]),
        ({"number_of_attempts": 1}, "", ["?", "say 3", "say 2"]),
    ],
)
def test_capture(fields: dict[str, Any], script: str, heard: list[str]) -> None:
    flow = graph(
        step(1, "capture", instructions_resource="?", invalid_resource="invalid", default=3, next=2, **fields),
        *(SAY[2], SAY[3]),
    )
    assert texts(call(flow, script)) == heard


def test_record() -> None:
    flow = graph(
        step(1, "record", explanation_resource="speak", confirmation_resource="thanks", timeout=20, stop_key="#")
    )
    (record,) = of(flow, Record)
    assert (record.limit, record.silence, record.stop_keys, record.beep) == (20.0, 0.0, "#", True)
    assert texts(call(flow, "say hello; press! #")) == ["speak", "thanks"]
    (record,) = of(graph(step(1, "record")), Record)
    assert (record.limit, record.stop_keys) == (10.0, "0123456789*#")


@pytest.mark.parametrize(
    ("condition", "number"),
    [
        ({"variable": "x", "operator": "==", "value": 5}, 2),
        ({"variable": "x", "operator": "==", "value": "5"}, 2),
        ({"variable": "x", "operator": "!=", "value": 5}, 3),
        ({"variable": "x", "operator": "<", "value": 10}, 2),
        ({"variable": "x", "operator": ">=", "rhs_value": 6}, 3),
        ({"variable": "x", "operator": "==", "rhs_variable": "y"}, 3),
        ({"variable": "x", "operator": "<=", "rhs_variable": "x"}, 2),
        ({"variable": "x", "operator": "def"}, 2),
        ({"variable": "x", "operator": "undef"}, 3),
        ({"variable": "y", "operator": "undef"}, 2),
        ({"variable": "y", "operator": "!=", "value": 5}, 3),
        ({"step": 8, "operator": "==", "value": 5}, 3),
    ],
)
def test_branch(condition: dict[str, Any], number: int) -> None:
    flow = graph(
        step(1, "write_variable", variable="x", value=5, next=9),
        step(9, "branch", options=[{"conditions": [condition], "next": 2}], next=3),
        *(SAY[2], SAY[3]),
    )
    heard = [f"say {number}"] if number == 3 else ["say 2", "say 3"]
    assert texts(call(flow)) == heard


def test_an_option_without_conditions_is_always_taken() -> None:
    flow = graph(step(1, "branch", options=[{"conditions": [], "next": 2}, {"next": 3}]), SAY[2], SAY[3])
    assert texts(call(flow)) == ["say 2"]


def test_transfer() -> None:
    """§2.3 Dial `channel`, `successfulAfter`; §2.2 <Dial> 60 s."""
    flow = graph(step(1, "transfer", address="+40 21", channel="trunk", successful_after="2m", next=2), SAY[2])
    (perform,) = of(flow, Perform)
    target = Target(kind="number", value="+4021")
    assert perform.order == Dial(targets=(target,), timeout=60.0, trunk="trunk", success_after=120.0)
    for script in ("answer 5", "busy", "noanswer"):
        assert texts(call(flow, script)) == ["say 2"]


def test_goto_may_go_back() -> None:
    flow = graph(step(1, "menu", options=[{"number": 1, "next": 2}], options_resource="?"), step(2, "goto", jump=1))
    assert texts(call(flow, "press 1; press 1")) == ["?"] * 5


@pytest.mark.parametrize(("kind", "result"), [("mark_as_successful", "successful"), ("mark_as_failed", "failed")])
def test_marks(kind: str, result: str) -> None:
    """§2.2 `marked as failed` flow result."""
    flow = graph(step(1, kind, next=2), SAY[2])
    assert [each.values for each in of(flow, SetVariables)] == [(("flow.result", result),)]
    assert texts(call(flow)) == ["say 2"]


def test_what_a_flow_has_set_is_put_down_at_its_end() -> None:
    """Variables of contacts are made of it; those that came with the call and stayed as they were are not in it."""
    steps = (
        step(1, "write_variable", variable="age", value="38", next=2),
        step(2, "write_variable", variable="name", value="Ada", next=3),
        step(3, "mark_as_successful"),
    )
    given = {"var.name": "Ada", "var.age": "37", "var.town": "Ivrea"}
    for script in ("", "hangup"):
        (note,) = [note for note, _ in call(graph(*steps), script, facts=given).noted(Learned)]
        assert note.variables == {"var.age": "38", "flow.result": "successful"}
    assert not call(graph(step(1, "hang_up"))).noted(Learned)


def test_texts_have_variables_in_them() -> None:
    document = export(step(1, "write_variable", variable="age", value="38", next=2), SAY[2])
    document["resources"][0]["localized_resources"][0]["text"] = "You are {age}, {not this} { }"
    compiled = compile_verboice(document)
    assert compiled.graph is not None
    assert texts(call(compiled.graph)) == ["You are 38, {not this} { }"]
    assert isinstance(of(compiled.graph, Say)[0].prompts[0].text, Template)


@pytest.mark.parametrize(
    ("localized", "prompt"),
    [
        ({"language": "en", "text": " a \n b "}, Prompt("a b", language="en")),
        (
            {"language": "en", "type": "TextLocalizedResource", "text": "a", "url": "http://h/b.wav"},
            Prompt("a", language="en"),
        ),
        (
            {"language": "en", "type": "UrlLocalizedResource", "text": "a", "url": "http://h/b.wav"},
            Prompt(media="http://h/b.wav", language="en"),
        ),
        (
            {"language": "en", "type": "RecordLocalizedResource", "guid": "l1"},
            Prompt(media="resource_audio say 1 - en - l1.wav", language="en"),
        ),
    ],
)
@pytest.mark.parametrize("apart", [True, False])
def test_what_a_resource_sounds_like(localized: dict[str, Any], prompt: Prompt, apart: bool) -> None:
    document: dict[str, Any] = {"workflow": [SAY[1]]}
    if apart:
        document["localized_resources"] = [{**localized, "resource_guid": "say 1"}]
    else:
        document["resources"] = [{"guid": "say 1", "localized_resources": [localized]}]
    compiled = compile_verboice(document)
    assert compiled.graph is not None, compiled.findings
    assert compiled.graph.prompts() == (prompt,)


def test_the_language_is_asked_for_and_spoken() -> None:
    flow = compile_flow(EXAMPLE.read_bytes()).graph
    assert flow is not None
    english = texts(call(flow, "press! 1; press 1"))
    assert english == [
        *("For English, press one.", "You have an appointment tomorrow."),
        *("Press one to confirm, two for another day.", "Good bye!"),
    ]
    spanish = texts(call(flow, "wait 4; press! 2; press 2; press 7; press 3"))
    assert spanish == [
        *("For English, press one.", "Para español, oprima dos.", "Usted tiene una cita mañana."),
        *("Oprima uno para confirmar, dos para otro día.", "Oprima uno para lunes, hasta cinco para viernes."),
        *("Eso no es posible.", "Oprima uno para lunes, hasta cinco para viernes.", "Usted eligió el día 3."),
        "¡Adiós!",
    ]


def test_a_known_language_is_not_asked_for() -> None:
    steps = [
        step(1, "write_variable", variable="language", value="es", next=2),
        step(2, "language", resource="?", next=3),
        SAY[3],
    ]
    languages = {"languages": ["en", "es"]}
    assert texts(call(graph(*steps, **languages))) == ["say 3"]
    forced = [steps[0], {**steps[1], "force_question": True}, steps[2]]
    assert texts(call(graph(*forced, **languages))) == ["?", "say 3"]


# --- external services ------------------------------------------------------------------------


def service(**fields: Any) -> dict[str, Any]:
    return {
        "services": [{"guid": "v", "base_url": "http://h"}],
        "steps": [{"guid": "s", "external_service_guid": "v", "kind": "callback", "callback_url": "/ask", **fields}],
    }


def test_a_service_answers_a_flow_that_comes_back() -> None:
    """§2.2 Reply = TwiML, executed in place; when the sub-flow ends, control returns to the caller flow."""
    external = step(
        *(1, "external"),
        external_step_guid="s",
        settings=[{"name": "a", "value": 1}, {"name": "b", "step": 9}],
        next=2,
    )
    flow = graph(external, SAY[2], **service(session_variables=["var_x", "value_3"]))
    (fetch,) = of(flow, Fetch)
    assert (fetch.url, fetch.method, fetch.returns) == ("http://h/ask", "POST", True)
    assert [(param.name, str(param.value)) for param in fetch.params if not param.each] == [
        *(("CallSid", "{{call.id}}"), ("From", "{{call.caller}}"), ("a", "1"), ("b", "{{digits.9}}")),
        *(("var_x", "{{var.x}}"), ("value_3", "{{digits.3}}")),
    ]
    answers = canned({"http://h/ask": Reply(200, "text/xml", b"<Response><Say>Sub.</Say></Response>", "http://h/ask")})
    simulation = call(flow, fetch=answers)
    assert texts(simulation) == ["Sub.", "say 2"]
    assert [each.status for each, _ in simulation.noted(Fetched)] == [200]


@pytest.mark.parametrize("fields", [{"async": True}, {"response_type": "none"}])
def test_a_service_whose_answer_nobody_reads(fields: dict[str, Any]) -> None:
    flow = graph(step(1, "external", external_step_guid="s", next=2), SAY[2], **service(**fields))
    assert len(of(flow, Tell)) == 1
    simulation = call(flow)
    assert [(each.url, each.params) for each, _ in simulation.noted(Callback)] == [
        ("http://h/ask", {"CallSid": "c1", "From": "+4021"})
    ]
    assert texts(simulation) == ["say 2"]


# --- what is not taken over, and what is wrong ------------------------------------------------


@pytest.mark.parametrize("kind", ["nuntium", "impersonate", "hub", "mbuilder", "hang_up_and_call_back"])
def test_what_is_not_taken_over_is_told(kind: str) -> None:
    document = export({"id": 1, "root": 1, "type": kind, "next": 2}, SAY[2])
    assert ("unsupported", "warning", "/workflow/0") in findings(document)
    compiled = compile_verboice(document)
    assert compiled.graph is not None
    assert texts(call(compiled.graph)) == ([] if kind == "hang_up_and_call_back" else ["say 2"])


@pytest.mark.parametrize("fields", [{"kind": "script"}, {"response_type": "variables"}])
def test_scripts_and_answered_variables_are_not_taken_over(fields: dict[str, Any]) -> None:
    document = export(step(1, "external", external_step_guid="s"), **service(**fields))
    assert findings(document) == [("unsupported", "warning", "/workflow/0")]


@pytest.mark.parametrize(
    ("document", "code", "where"),
    [
        ([], "bad-value", ""),
        ({}, "missing", ""),
        ({"workflow": {}}, "bad-value", "/workflow"),
        ([{"type": "play"}], "missing", "/0"),
        ([{"id": 1}], "missing", "/0"),
        ([{"id": 1, "type": "sing"}], "unknown-step", "/0/type"),
        ([{"id": 1, "type": "hang_up"}], "missing-root", ""),
        ([step(1, "hang_up"), {"id": "1", "type": "hang_up"}], "duplicate-id", "/1"),
        ([step(1, "mark_as_failed", next=7)], "bad-link", "/0/next"),
        ([step(1, "goto", jump=7)], "bad-link", "/0/jump"),
        ([step(1, "goto", jump=2), {"id": 2, "type": "hang_up"}], "bad-link", "/0/jump"),
        ([step(1, "menu", options=[{"number": 1, "next": 7}])], "bad-link", "/0/options/0/next"),
        ([step(1, "menu", options=[{"next": 1}])], "missing", "/0/options/0"),
        ([step(1, "menu", timeout="soon")], "bad-value", "/0/timeout"),
        ([step(1, "play", resource="x")], "missing-resource", "/0/resource"),
        ([step(1, "capture", valid_values="1-x")], "bad-value", "/0/valid_values"),
        ([step(1, "capture", valid_values="1," * 20_001)], "too-large", "/0/valid_values"),
        ([step(1, "capture", finish_on_key="x")], "bad-value", "/0/finish_on_key"),
        (
            [step(1, "branch", options=[{"conditions": [{"operator": "~"}]}])],
            "bad-value",
            "/0/options/0/conditions/0/operator",
        ),
        ([step(1, "transfer")], "missing", "/0"),
        ([step(1, "transfer", address="me")], "bad-target", "/0/address"),
        ([step(1, "transfer", address="1", successful_after="x")], "bad-value", "/0/successful_after"),
        ([step(1, "external", external_step_guid="q")], "missing-service", "/0"),
        ('[{"id": 1, "id": 2, "type": "hang_up", "root": 1}]', "duplicate-key", "/0/id"),
        ("[1,", "bad-json", "line 1, column 4"),
        ("[" * 300, "bad-json", "line 1, column 301"),
        ([0] * 300_000, "bad-value", "/0"),
        ([{"id": n, "type": "menu", "options": [0] * 50} for n in range(5_000)], "bad-value", "/0/options/0"),
        ([{"id": n, "type": "hang_up"} for n in range(10_001)], "too-many-nodes", ""),
    ],
)
def test_what_is_wrong_is_told_with_its_place(document: object, code: str, where: str) -> None:
    compiled = compile_verboice(document)
    assert compiled.graph is None
    assert (code, where) in [(f.code, f.where) for f in compiled.findings if f.severity == "error"]


@pytest.mark.parametrize(
    ("document", "code", "where"),
    [
        (export(step(1, "hang_up", color="red")), "ignored-option", "/workflow/0/color"),
        (export(step(1, "hang_up"), colour="red"), "ignored-option", "/colour"),
        (export(step(1, "capture", end_call_resource="x")), "ignored-option", "/workflow/0/end_call_resource"),
        (export(step(1, "menu", options=[{"number": 12}])), "unreachable", "/workflow/0/options/0/number"),
        (export(step(1, "menu", options=[{"number": 1}] * 2)), "unreachable", "/workflow/0/options/1/number"),
        (export(step(1, "menu", number_of_attempts=99)), "out-of-range", "/workflow/0/number_of_attempts"),
        (export(step(1, "goto", jump=None)), "missing-target", "/workflow/0"),
        (export(step(1, "write_variable", value=1)), "missing-variable", "/workflow/0"),
        (export(step(1, "play")), "says-nothing", "/workflow/0"),
        (export(conditional({"response": "x", "operator": "def"})), "unsupported", CONDITION),
        (export(step(1, "menu", options=[{"number": 1, "next": 2}], next=2), SAY[2]), "linked-twice", "/workflow/1"),
        (export(step(1, "hang_up"), SAY[2]), "unreachable", "/workflow/1"),
    ],
)  # fmt: skip
def test_nothing_is_silently_ignored(document: object, code: str, where: str) -> None:
    assert (code, "warning", where) in findings(document)


def test_detection() -> None:
    document = export(step(1, "hang_up"))
    for form in (document, json.dumps(document), json.dumps(document).encode(), "\ufeff " + json.dumps(document)):
        assert detect(form) == "verboice"
    assert detect('{"_": "a workflow"}') == "brombler"
    assert detect('{"_": "the \\"workflow\\""}') == "brombler"
    assert compile_flow("<Response><Say>a</Say></Response>", dialect="verboice").graph is not None


def test_the_schema_says_what_each_field_means() -> None:
    definitions = schema("verboice")["$defs"]
    for kind in schema("verboice")["$defs"]["step"]["properties"]["type"]["enum"]:
        assert definitions[kind]["description"]
        assert all(field.get("description") for field in definitions[kind]["properties"].values())


# --- any document -----------------------------------------------------------------------------

quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
KINDS = schema("verboice")["$defs"]["step"]["properties"]["type"]["enum"]
ids = st.integers(1, 6)
links = st.none() | ids
resources = st.none() | st.just({}) | st.just({"guid": "r"})
small = st.none() | st.integers(0, 12) | st.sampled_from(["", "3", "x"])
conditions = st.fixed_dictionaries(
    {"operator": st.sampled_from(["==", "<", "def", "undef"])},
    optional={"step": ids, "variable": st.sampled_from(["x", ""]), "value": small, "rhs_variable": st.just("x")},
)
fields = {
    **dict.fromkeys(
        ("resource", "explanation_resource", "options_resource", "invalid_resource", "instructions_resource"), resources
    ),
    **dict.fromkeys(("next", "default", "jump"), links),
    **dict.fromkeys(("timeout", "number_of_attempts", "min_input_length", "max_input_length"), small),
    "store": st.none() | st.just("x"),
    "variable": st.just("x"),
    "value": small,
    "address": st.sampled_from(["100", "x"]),
    "valid_values": st.sampled_from(["", "1", "1-3;5", "x"]),
    "options": st.none()
    | st.lists(
        st.fixed_dictionaries(
            {"number": st.sampled_from([1, "2", "*", "x"])},
            optional={"next": links, "conditions": st.lists(conditions, max_size=2)},
        ),
        max_size=3,
    ),
}
workflows = st.lists(
    st.fixed_dictionaries(
        {"id": ids, "type": st.sampled_from(KINDS)}, optional={"root": st.sampled_from([1, "2", None, ""]), **fields}
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda each: each["id"],
)
HEARD = [
    {"guid": "r", "localized_resources": [{"language": "en", "text": "a"}, {"language": "ro", "url": "http://h/a"}]}
]


def sound(compiled: Compiled) -> None:
    assert (compiled.graph is None) == has_errors(compiled.findings)
    assert all(f.where.startswith(("/", "line ")) or not f.where for f in compiled.findings)


@quick
@given(workflows, st.lists(st.sampled_from("123*#"), max_size=6))
def test_any_workflow_compiles_or_is_refused_and_every_call_ends(workflow: list[Any], keys: list[str]) -> None:
    workflow[0].setdefault("root", 1)
    compiled = compile_verboice({"workflow": workflow, "resources": HEARD, "languages": ["en", "ro"]})
    sound(compiled)
    if compiled.graph is not None:
        simulation = call(compiled.graph, "; ".join(f"press {key}" for key in keys), max_duration=600.0)
        assert simulation.ending.by in ("caller", "flow", "limit")


@quick
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.sampled_from(
            ["workflow", "id", "type", "root", "resources", "guid", "options"]), inner, max_size=4),
        max_leaves=12,
    )
)  # fmt: skip
def test_any_value_is_refused_or_compiles(value: object) -> None:
    for document in (value, {"workflow": value}, json.dumps(value), json.dumps(value).encode()):
        compiled = compile_verboice(document)
        assert (compiled.graph is None) == has_errors(compiled.findings)


@pytest.mark.parametrize(
    "document",
    [
        export(*[step(n, "menu", next=n + 1) for n in range(1, 9_000)], step(9_000, "hang_up")),
        export(*[step(n, "play", next=n + 1, resource="r") for n in range(1, 9_900)], step(9_900, "hang_up")),
        {"workflow": [SAY[1]], "localized_resources": [
            {"resource_guid": "say 1", "language": f"l{n}", "text": "a"} for n in range(5_000)]},
        export(step(1, "branch", options=[{"conditions": [{"step": 1, "operator": "def"}] * 10}] * 2_000)),
    ],
    ids=["menus", "plays", "languages", "conditions"],
)  # fmt: skip
def test_large_documents_stay_small(document: object) -> None:
    compiled = compile_verboice(document)
    sound(compiled)
    if compiled.graph is not None:
        assert len(compiled.graph.steps) <= MAX_STEPS + 100
        assert len(of(compiled.graph, Branch)) <= MAX_STEPS

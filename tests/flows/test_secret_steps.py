"""Secret steps: the flow and the server that is told have what was pressed, nothing that is put down has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from test_verbs import graph, make, say, show
from twiml_kit import graph as twiml

from flows import graph as g
from flows.call import Callback, Fetched, FetchFailed, Heard, Learned, Note, Reply, Request, Spoke, Took, Trouble
from flows.dialects import compile_flow
from flows.keywords import Choices
from flows.secrets import HIDDEN
from flows.serial import dump_graph, graph_from_json, graph_to_json, load_graph
from flows.simulate import Scenario, Simulation, simulate
from flows.templates import Condition, Template, Var, var
from flows.tools.calllog import log_of
from flows.tools.convert import convert
from flows.tools.replay import replay

PIN = "4711"
NEXT_FLOW = "<Response><Say>thank you</Say><Hangup/></Response>"


class Server:
    """A web server that answers each request with the next of ``answers``; after the last it fails."""

    def __init__(self, *answers: str | Reply) -> None:
        self.answers = list(answers)
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Reply:
        self.asked.append(request)
        if not self.answers:
            raise FetchFailed("no answer came")
        answer = self.answers.pop(0)
        if isinstance(answer, Reply):
            return answer
        query = "&".join(f"{name}={value}" for name, value in request.query)
        return Reply(200, "application/xml", answer.encode(), f"{request.url}?{query}" if query else request.url)


def call(flow: g.Graph, script: str = f"press {PIN}", fetch: Callable[[Request], Reply] | None = None) -> Simulation:
    return simulate(flow, script, scenario=Scenario(fetch=fetch) if fetch is not None else Scenario())


def notes(simulation: Simulation, kind: type[Note]) -> list[Any]:
    return [note for note, _ in simulation.notes if isinstance(note, kind)]


def unread(simulation: Simulation) -> None:
    """Nobody reads the PIN, nor one of its keys, in what is put down."""
    for note, _ in simulation.notes:
        if not isinstance(note, Callback):
            assert PIN not in repr(note), note
    assert {value for took in notes(simulation, Took) for value in took.values} <= {HIDDEN}
    assert PIN not in simulation.ending.reason


def pin(**fields: Any) -> g.Step:
    return make(g.Collect, "pin", **{"into": "var.pin", "most": 4, "secret": True, **fields})


def test_the_flow_has_the_keys_and_its_notes_do_not() -> None:
    """What is made of their variable neither: other variables, prompts, reasons."""
    right = g.Case(exit="right", conditions=(Condition("var.copy", "is", PIN),))
    flow = graph(
        pin(),
        make(g.SetVariables, "copy", values=(("var.copy", Template(("", Var("var.pin")))), ("var.other", "7"))),
        show("echo", "var.pin"),
        make(g.Branch, "check", cases=(right,)),
        check={"right": "welcome"},
    )
    simulation = call(flow)
    assert [note.prompt.text for note in notes(simulation, Spoke)] == [f"is {HIDDEN}", "welcome"]
    assert [note.value for note in notes(simulation, Heard)] == [HIDDEN]
    assert [note.variables for note in notes(simulation, Learned)] == [{"var.other": "7"}], "it is not kept"
    unread(simulation)


def test_a_variable_that_is_given_another_value_is_secret_no_more() -> None:
    flow = graph(pin(), make(g.SetVariables, "set", values=(("var.pin", "none"),)), show("echo", "var.pin"))
    simulation = call(flow)
    assert [note.prompt.text for note in notes(simulation, Spoke)] == ["is none"]
    assert [note.variables for note in notes(simulation, Learned)] == [{"var.pin": "none"}]


def test_keys_that_stop_what_is_said_before_are_secret_too() -> None:
    flow = graph(
        say("Your PIN, please, now or later", "ask", stop_keys="0123456789", into="digits.default"),
        make(g.SetVariables, "empty", values=(("digits.default", ""),)),
        pin(),
    )
    simulation = call(flow, f"press! {PIN}")
    assert not simulation.spoken[0].complete
    unread(simulation)


def test_keys_of_other_steps_are_put_down() -> None:
    flow = graph(
        make(g.Collect, "size", into="var.size", most=2), pin(), make(g.Collect, "age", into="var.age", most=2)
    )
    simulation = call(flow, f"press 12; press {PIN}; press 34")
    assert [note.value for note in notes(simulation, Heard)] == ["12", HIDDEN, "34"]
    assert [note.values for note in notes(simulation, Took)] == [
        *(("1",), ("2",)),
        *[(HIDDEN,)] * 4,
        *(("3",), ("4",)),
    ]


def test_a_secret_choice() -> None:
    """The way that is taken says which it was; the notes of what was pressed or said do not."""
    compiled = compile_flow('{"_": "?", "7": "seven", "swordfish": "in"}', name="t")
    assert compiled.graph is not None
    choices: Choices = next(compiled.graph.listens()).choices
    listen = make(g.Listen, "listen", choices=choices, secret=True, exits={})
    for script in ("press 7", "say swordfish"):
        simulation = call(graph(listen), script)
        assert [note.value for note in notes(simulation, Heard)] == [HIDDEN]
        assert {value for note in notes(simulation, Took) for value in note.values} <= {HIDDEN}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_server_is_told_the_keys_and_nobody_else(method: str) -> None:
    """Asked by GET, they are in the address of the flow that it answers, where the next request goes as well."""
    again = '<Response><Gather numDigits="1"/><Say>again</Say></Response>'
    server = Server(again, NEXT_FLOW)
    flow = twiml(f'<Gather secret="true" numDigits="4" method="{method}" action="/check"/>')
    simulation = call(flow, f"press {PIN}; press 5", server)
    first, second = server.asked
    told = dict(first.query) if method == "GET" else first.body.decode()
    assert "4711" in (told["Digits"] if isinstance(told, dict) else told)
    assert (f"Digits={PIN}" in second.url) == (method == "GET")
    fetched = notes(simulation, Fetched)
    assert [note.problem for note in fetched] == ["", ""]
    assert (f"Digits={HIDDEN}" in fetched[0].url) == (method == "GET")
    assert [note.value for note in notes(simulation, Heard)] == [HIDDEN, "5"]
    for note, _ in simulation.notes:
        assert PIN not in repr(note), note


def test_requests_that_are_kept_are_kept_without_them() -> None:
    param = (g.Param(name="pin", value=var("var.pin")),)
    ask = make(*(g.Fetch, "ask"), url=Template(("http://h/", Var("var.pin"))), method="POST", params=param, kept=True)
    server = Server(Reply(500, "text/plain", b"", "http://h/elsewhere/4711"))
    simulation = call(graph(pin(), ask), fetch=server)
    assert (server.asked[0].url, server.asked[0].body) == (f"http://h/{PIN}", f"pin={PIN}".encode())
    (note,) = notes(simulation, Fetched)
    assert (note.url, note.sent, note.source) == (f"http://h/{HIDDEN}", f"pin={HIDDEN}", f"http://h/{HIDDEN}")
    assert notes(simulation, Trouble)
    unread(simulation)


def test_a_callback_that_tells_them_says_that_it_is_secret() -> None:
    param = (g.Param(name="pin", value=var("var.pin")),)
    simulation = call(
        graph(
            pin(),
            make(g.Tell, "tell", url="http://h/t", params=param),
            make(g.Tell, "other", url="http://h/o", params=(g.Param(name="a", value="b"),)),
        )
    )
    assert [(note.params, note.secret) for note in notes(simulation, Callback)] == [
        ({"pin": PIN}, True),
        ({"a": "b"}, False),
    ]
    unread(simulation)


def test_a_replay_does_not_press_what_it_does_not_know() -> None:
    flow = graph(pin(first=2.0), make(g.Collect, "age", into="var.age", most=2, first=9.0))
    scenario = Scenario()
    log = log_of(simulate(flow, f"press {PIN}; press 34", scenario=scenario), scenario)
    again = replay(log, flow).simulation
    assert [note.value for note in notes(again, Heard)] == ["34"]
    assert any("secret" in note.what for note in notes(again, Trouble))


MESSAGEBIRD = """{"title": "t", "steps": [{"id": "a", "action": "pause", "options": {"length": "5"},
    "onKeypressVar": "pin", "maxNumKeys": 4, "secret": %s}]}"""
VERBOICE = """{"workflow": [{"id": 1, "root": 1, "type": "capture", "name": "c", "min_input_length": 4,
    "max_input_length": 4, "number_of_attempts": 1, "secret": %s,
    "instructions_resource": {"guid": "a"}}], "resources": [{"guid": "a", "localized_resources":
    [{"language": "en", "text": "PIN?"}]}]}"""
TWIML = '<Response><Gather secret="%s" numDigits="4" action="http://h/a"><Say>PIN?</Say></Gather></Response>'
KAZOO = '{"module": "collect_dtmf", "data": {"max_digits": 4, "secret": %s}, "children": {}}'


@pytest.mark.parametrize(
    "document", [MESSAGEBIRD, KAZOO, VERBOICE, TWIML], ids=["messagebird", "kazoo", "verboice", "twiml"]
)
@pytest.mark.parametrize("secret", [True, False])
def test_dialects_say_which_steps_are_secret(document: str, *, secret: bool) -> None:
    compiled = compile_flow(document % str(secret).lower(), name="t")
    assert compiled.graph is not None, compiled.findings
    assert not [finding for finding in compiled.findings if finding.severity != "info"]
    (step,) = (step for step in compiled.graph.steps.values() if isinstance(step, g.Collect))
    assert step.secret is secret


def test_it_is_in_the_form_of_graphs_and_may_be_left_out() -> None:
    flow = graph(pin())
    assert load_graph(dump_graph(flow)).steps == flow.steps
    older = graph_to_json(flow)
    for step in older["steps"]:
        step.pop("secret", None)
    assert graph_from_json(older).steps["pin"] == pin(secret=False)


@pytest.mark.parametrize("to", ["twiml", "kazoo", "messagebird"])
def test_it_is_kept_when_a_flow_is_converted(to: str) -> None:
    compiled = compile_flow(MESSAGEBIRD % "true", name="t")
    assert compiled.graph is not None
    converted = convert(compiled.graph, to)
    assert converted.document is not None
    again = compile_flow(converted.document, name="t", dialect=to)
    assert again.graph is not None, again.findings
    secrets = [step.secret for step in again.graph.steps.values() if isinstance(step, g.Collect)]
    assert secrets
    assert all(secrets)

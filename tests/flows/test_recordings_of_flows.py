"""Recordings of a call: their names, who is told of them, also after a hang-up, and what is left of earlier orders."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kazoo_kit import graph_of as kazoo_graph
from kazoo_kit import node
from kazoo_kit import play as kazoo
from messagebird_kit import flow, say, step
from messagebird_kit import graph_of as messagebird_graph
from test_messagebird_calls import Server as FlowServer
from test_messagebird_calls import play as messagebird
from test_twiml_calls import HERE, Server, call
from test_verbs import NUMBER, graph, make, show, spoken
from test_verbs import say as speak
from twiml_kit import graph as twiml

from flows import graph as g
from flows.call import Callback, Fetched, Recorded, RecordingEnded, RecordingOrder, Reply, Unsupported
from flows.executor import Executor
from flows.orders import Conference, Dial, Order, Outcome, StartRecording, StopRecording, Upload
from flows.scripted_call import ScriptedCall
from flows.scripted_world import canned
from flows.simulate import Scenario, Simulation, run_sync, simulate
from flows.templates import Template, Var
from flows.tools.calllog import log_of
from flows.tools.convert import convert
from flows.tools.replay import replay

# --- names --------------------------------------------------------------------------------------


class Keeping(ScriptedCall):
    """It remembers where recordings are to be sent."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__((), scenario)
        self.places: list[str] = []

    async def perform(self, order: Order) -> Outcome:
        if isinstance(order, StartRecording):
            self.places += [upload.place for _, upload in order.each if upload is not None]
        return await super().perform(order)

    def record(self, order: RecordingOrder) -> str:
        if order.upload is not None:
            self.places.append(order.upload.place)
        return super().record(order)


def places(graph_: g.Graph, **scenario: Any) -> list[str]:
    call_ = Keeping(Scenario(call_id="ID", **scenario))
    run_sync(Executor(graph_).run(call_))
    return call_.places


def numbered(name: str = "r.wav") -> Upload:
    return Upload("http://h/", "PUT", name, numbered=True)


def test_the_first_name_is_plain_and_later_ones_are_numbered() -> None:
    """§3.4: Use the seed's, add `-2`, `-3` for later recordings of the same call."""
    record: dict[str, Any] = {"url": "http://h/r", "time_limit": 5}
    document = node("record_call", record, _=node("record_call", {"action": "stop"}, _=node("record_caller", record)))
    document["children"]["_"]["children"]["_"]["children"] = {"_": node("record_caller", {**record, "format": "wav"})}
    compiled = kazoo_graph(document)
    assert places(compiled) == [
        "http://h/r/call_recording_ID.mp3",
        "http://h/r/call_recording_ID-2.mp3",
        "http://h/r/call_recording_ID-3.wav",
    ]


def test_names_go_on_in_the_next_document() -> None:
    """§3.4, after a pivot: the flow that comes is compiled by itself, and records on the same call."""
    record = {"url": "http://h", "time_limit": 5}
    twiml = '<Response><Record recordingUrl="http://h/" maxLength="5" timeout="60"/></Response>'
    last = canned(
        {
            "http://h/json": Reply(200, "application/json", json.dumps(_pivot("http://h/xml", record)).encode(), ""),
            "http://h/xml": Reply(200, "text/xml", twiml.encode(), "http://h/xml"),
        }
    )
    first = node("record_caller", record, _=node("pivot", {"voice_url": "http://h/json"}))
    assert places(kazoo_graph(first), fetch=last)[:3] == [
        "http://h/call_recording_ID.mp3",
        "http://h/call_recording_ID-2.mp3",
        "http://h/call_recording_ID-3.mp3",
    ]


def _pivot(url: str, record: dict[str, Any]) -> dict[str, Any]:
    return node("record_caller", record, _=node("pivot", {"voice_url": url}))


def test_a_loop_numbers_every_round() -> None:
    again = graph(make(g.Record, "r", limit=1.0, upload=numbered()), make(g.Jump, "j", flow="again"))
    once = graph(make(g.Record, "r", limit=1.0, upload=numbered("name")), make(g.Jump, "j", flow="again"))
    calls = places(once, flows={"again": again}, max_duration=4.0)
    assert calls[:3] == ["http://h/name", "http://h/r-2.wav", "http://h/r-3.wav"]


def test_recordings_that_are_not_sent_count_and_those_that_do_not_begin_do_not() -> None:
    kept = make(g.Perform, "kept", order=StartRecording())
    two = make(g.Perform, "two", order=StartRecording(sides="each", upload=numbered()))
    steps = graph(
        kept, make(g.Perform, "s", order=StopRecording()), two, make(g.Record, "r", limit=1.0, upload=numbered())
    )
    assert places(steps) == ["http://h/r-2.wav", "http://h/r-3.wav", "http://h/r-4.wav"]

    class Deaf(Keeping):
        async def perform(self, order: Order) -> Outcome:
            raise Unsupported("no recorder")

    deaf = Deaf(Scenario())
    run_sync(Executor(steps).run(deaf))
    assert deaf.places == ["http://h/r.wav"]


def test_a_name_of_ones_own_stays_as_it_is() -> None:
    record = {"url": "http://h", "time_limit": 5, "media_name": "mine.mp3"}
    document = node("record_caller", record, _=node("record_caller", record))
    assert places(kazoo_graph(document)) == ["http://h/mine.mp3"] * 2
    assert Upload("http://h/x").place == "http://h/x"
    assert Upload("http://h", name="a", numbered=True, number=2).place == "http://h/a-2"


def test_the_flow_knows_where_a_recording_is_sent() -> None:
    both = graph(
        make(g.Record, "r", limit=2.0, beep=False, upload=numbered()),
        show("one", "recording.url"),
        make(g.Perform, "p", order=StartRecording(upload=numbered()), into="recording"),
        show("two", "recording.url"),
        show("gone", "recording.duration"),
    )
    assert spoken(simulate(both)) == ["is http://h/r.wav", "is http://h/r-2.wav", "is "]


# --- told although the caller hung up -------------------------------------------------------------


def test_hanging_up_is_told_behind_its_own_exit() -> None:
    name = Template(("http://h/", Var("recording.id")))
    steps = graph(make(g.Record, "r", beep=False), speak("never"), r={g.HUNG_UP: "set"})
    steps = g.Graph(
        {
            **steps.steps,
            "set": make(g.SetVariables, "set", values=(("var.a", "b"),), exits={g.NEXT: "tell"}),
            "tell": make(
                g.Tell,
                "tell",
                url=name,
                method="GET",
                params=(_param("recording.duration"), _param("var.a"), _param("call.status")),
            ),
        },
        steps.start,
    )
    simulation = simulate(steps, "wait 4; hangup")
    assert simulation.ending.by == "caller"
    assert [(each.url, each.params) for each, _ in simulation.callbacks] == [
        ("http://h/recording-1", {"recording.duration": "4", "var.a": "b", "call.status": "completed"})
    ]
    assert [note.duration for note, _ in simulation.noted(Recorded)] == [4.0]
    assert simulate(steps, "hangup").callbacks == []  # nothing was recorded


def _param(name: str) -> g.Param:
    return g.Param(name=name, value=Template((Var(name),)))


def test_behind_a_hang_up_nothing_is_done_that_needs_the_call() -> None:
    around = graph(make(g.Record, "r", beep=False), speak("never"), r={g.HUNG_UP: "loop"})
    loop = make(g.SetVariables, "loop", values=(), exits={g.NEXT: "loop"})
    simulation = simulate(g.Graph({**around.steps, "loop": loop}, around.start), "wait 4; hangup")
    assert (simulation.ending.by, spoken(simulation)) == ("caller", [])
    wrong = graph(make(g.Record, "r", beep=False), r={g.HUNG_UP: "spoken"})
    assert spoken(simulate(wrong, "wait 4; hangup")) == []


def told(simulation: Simulation) -> list[Callback]:
    return [callback for callback, _ in simulation.callbacks]


def test_messagebird_posts_onfinish_when_the_caller_hangs_up() -> None:
    """§5.2 onFinish: POST to the URL, same query, JSON body = recording object without a Content-Type header."""
    document = flow(step("record", onFinish="http://h/done?survey=7"), say("Never."))
    server = FlowServer(flow(say("Never.")))
    facts = {"call.leg": "leg-1"}
    simulation = messagebird(
        document, "wait 3; hangup", fetch=server, facts=facts, call_id="c1", caller="+391", callee="+392"
    )
    (posted,) = told(simulation)
    assert (posted.method, posted.encoding) == ("POST", "body")
    assert posted.url == "http://h/done?survey=7&callID=c1&source=391&destination=392"
    assert posted.params["content_type"] == ""
    body = json.loads(posted.params["body"])
    assert body == {"id": "recording-1", "legId": "leg-1", "format": "wav", "status": "done", "duration": 3}
    assert (server.asked, simulation.spoken) == ([], ())
    assert told(messagebird(document, "wait 3", max_duration=5.0, fetch=server))[0].params["body"]  # a limit ends it


def test_messagebird_posts_onfinish_once() -> None:
    document = flow(step("record", onFinish="http://h/done", maxLength=3), say("Thanks."))
    simulation = messagebird(document, "wait 4; hangup", fetch=FlowServer(flow(say("A long goodbye to you."))))
    assert (len(simulation.noted(Fetched)), told(simulation)) == (1, [])


@pytest.mark.parametrize("flavour", ["twiml", "pivot"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_action_of_a_record_is_asked_when_the_caller_hangs_up(flavour: str, method: str) -> None:
    """§3.5, §6 Record: Pivot and Twilio ask the action then too, with Digits=hangup."""
    server = Server({})
    verbs = f'<Record action="done" method="{method}" playBeep="false"/><Say>Never.</Say>'
    simulation = call(verbs, "wait 3; hangup", flavour, server)
    (asked,) = told(simulation)
    assert (asked.method, asked.url, server.requests) == (method, f"{HERE}done", [])
    sent = {name: asked.params[name] for name in ("Digits", "RecordingDuration", "RecordingSid", "CallStatus")}
    assert sent == {
        "Digits": "hangup",
        "RecordingDuration": "3",
        "RecordingSid": "recording-1",
        "CallStatus": "completed",
    }
    assert told(call(verbs, "hangup", flavour, server)) == []


def test_verboice_does_not_ask_when_the_caller_hangs_up() -> None:
    """§2.2: hang-up by the caller mid-flow ends the flow; its broker asks nobody."""
    assert told(call('<Record action="done"/>', "wait 3; hangup", "verboice", Server({}))) == []


def test_the_status_of_a_recording_is_told_before_its_action() -> None:
    verbs = '<Record action="done" recordingStatusCallback="/told" playBeep="false"/>'
    urls = [each.url for each in told(call(verbs, "wait 3; hangup", "twiml", Server({})))]
    assert urls == ["https://example.org/told", f"{HERE}done"]


def test_kazoo_asks_nobody_when_the_caller_hangs_up() -> None:
    """§3.4 record_caller: Recording-* params go to the next pivot, which the call does not reach."""
    document = node("record_caller", {"url": "http://h"}, _=node("pivot", {"voice_url": "http://h/next"}))
    simulation = kazoo(document, "wait 3; hangup")
    assert (told(simulation), simulation.noted(Fetched)) == ([], [])


def test_a_call_that_ended_while_recording_is_replayed_so() -> None:
    graph_ = messagebird_graph(flow(step("record", onFinish="http://h/done", timeout=60), say("Never.")))
    scenario = Scenario()
    log = log_of(simulate(graph_, "wait 3; hangup", scenario=scenario), scenario)
    again = replay(log, graph_).simulation
    assert (again.ending.by, told(again), again.noted(Fetched)) == ("caller", [log.notes[-1][0]], [])


@pytest.mark.parametrize("dialect", ["kazoo", "messagebird", "twiml", "brombler"])
def test_what_is_told_after_a_hang_up_is_not_converted(dialect: str) -> None:
    graph_ = messagebird_graph(flow(step("record", onFinish="http://h/done"), say("Thanks.")))
    findings = convert(graph_, dialect).findings
    assert [finding.code for finding in findings if "hangs up" in finding.message] == ["callbacks"]
    assert not any("$hungup" in finding.message for finding in findings)


# --- a transfer in two files ----------------------------------------------------------------------


@pytest.mark.parametrize(("record", "sides"), [("in", ["peer"]), ("out", ["caller"]), ("both", ["caller", "peer"])])
def test_a_transfer_is_recorded_as_asked(record: str, sides: list[str]) -> None:
    """§5.3 `transfer.record in` = destination's voice, `out` = source's, `both` = two files."""
    document = flow(step("transfer", destination="31612345678", record=record), say("Thanks."))
    taken = messagebird(document, "answer 20").recordings
    assert [(each.sides, each.duration, each.reason) for each in taken] == [(side, 23.0, "stopped") for side in sides]
    hung_up = messagebird(document, "wait 10; hangup").recordings
    assert [each.reason for each in hung_up] == ["the call ended"] * len(sides)


# --- what is left of earlier orders ---------------------------------------------------------------


class Unable(ScriptedCall):
    """A call that dials once, records once, and then can do neither."""

    def __init__(self) -> None:
        super().__init__()
        self.done = 0

    async def perform(self, order: Order) -> Outcome:
        self.done += 1
        if self.done > 1:
            raise Unsupported("not again")
        return await super().perform(order)

    def record(self, order: RecordingOrder) -> str:
        if self.world.recordings:
            raise Unsupported("not again")
        return super().record(order)


def test_nothing_is_left_of_an_earlier_order_after_one_that_is_not_supported() -> None:
    steps = graph(
        make(g.Perform, "first", order=Dial(targets=(NUMBER,)), into="dial"),
        show("status1", "dial.status"),
        make(g.Perform, "second", order=Dial(targets=(NUMBER,)), into="dial"),
        show("status2", "dial.status"),
        show("id", "dial.id"),
        show("seconds", "dial.duration"),
        make(g.Perform, "room", order=Conference(room="r"), into="dial.x"),
    )
    call_ = Unable()
    run_sync(Executor(steps).run(call_))
    said = [each.prompt.text for each in call_.spoken]
    assert said == ["is completed", "is failed", "is ", "is "]


def test_nothing_is_left_of_an_earlier_recording_either() -> None:
    record = {"limit": 2.0, "beep": False}
    steps = graph(make(g.Record, "r1", **record), make(g.Record, "r2", **record), show("url", "recording.url"))
    call_ = Unable()
    run_sync(Executor(steps).run(call_))
    assert [each.prompt.text for each in call_.spoken] == ["is "]


def test_facts_that_an_outcome_does_not_have_are_empty() -> None:
    steps = graph(
        make(g.Perform, "first", order=Dial(targets=(NUMBER,)), into="leg"),
        show("cause1", "leg.cause"),
        make(g.Perform, "second", order=Conference(room="r"), into="leg"),
        show("cause2", "leg.cause"),
        show("status", "leg.status"),
    )
    assert spoken(simulate(steps)) == ["is NORMAL_CLEARING", "is ", "is completed"]


def test_pivot_tells_of_a_dial_that_was_not_possible() -> None:
    """§3.5 DialCallStatus is that of the dial before, not of an earlier one."""
    server = Server({"two": '<Dial action="three"><Number>2</Number></Dial>', "three": ""})

    class Once(Unable):
        def __init__(self) -> None:
            ScriptedCall.__init__(self, (), Scenario(fetch=server))
            self.done = 0

    run_sync(Executor(twiml('<Dial action="two"><Number>1</Number></Dial>', "twiml")).run(Once()))
    assert [server.sent(number)["DialCallStatus"] for number in (0, 1)] == ["completed", "failed"]
    assert "DialCallSid" not in server.sent(1)


def test_the_end_of_a_recording_is_known_whatever_ended_it() -> None:
    call_ = ScriptedCall()
    first = call_.record(RecordingOrder())
    call_.stop_recording(first)
    assert isinstance(run_sync(call_.recording_end(first)), RecordingEnded)
    second = call_.record(RecordingOrder())
    assert run_sync(call_.recording_end(second)).reason == "stopped"

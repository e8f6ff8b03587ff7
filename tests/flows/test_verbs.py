"""The steps that no single dialect needs alone, each walked in the simulator on a graph made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flow_kit import HandCall

from flows import graph as g
from flows.call import Fetched, Heard, Key, PromptEnded, Recorded, Replaced, Reply, Request, Trouble
from flows.executor import Executor, Settings
from flows.orders import (
    Conference,
    DetectMachine,
    Dial,
    Respond,
    SendDigits,
    StartRecording,
    StopRecording,
    Target,
    Upload,
    filled,
)
from flows.prompts import Draft, Prompt
from flows.requests import LastGood
from flows.script import parse_script
from flows.scripted_call import ScriptedCall
from flows.scripted_world import BEEP, canned
from flows.simulate import Scenario, Simulation, run_sync, simulate
from flows.templates import Condition, Template, Var, var
from flows.verbs import VERBS

URL = "http://flows.example/next"
NUMBER = Target(kind="number", value="+3901")


def graph(*steps: g.Step, answered: bool = True, **exits: dict[str, str]) -> g.Graph:
    """Steps in a row, each the ``next`` of the one before, on a call that is ``answered``.

    ``exits`` adds others by step id; one that leads to no step leads to one that speaks its name.
    """
    if answered:
        steps = (make(g.Answer, "answer"), *steps)
    linked: dict[str, g.Step] = {}
    for step, follower in zip(steps, (*steps[1:], None), strict=True):
        found = dict(step.exits)
        if follower is not None:
            found[g.NEXT] = follower.id
        found |= exits.get(step.id, {})
        linked[step.id] = replace(step, exits=found)
    for target in {target for step in linked.values() for target in step.exits.values()} - linked.keys():
        linked[target] = say(target)
    return g.Graph(linked, steps[0].id)


def make(verb: type[g.Step], name: str, **fields: Any) -> g.Step:
    return verb(id=name, origin=f"/{name}", **fields)


def say(text: str, name: str = "", **fields: Any) -> g.Step:
    return make(g.Say, name or text, prompts=(Prompt(text),), **fields)


def show(name: str, variable: str) -> g.Step:
    """A step that speaks the value of a variable."""
    return make(g.Say, name, prompts=(Draft(Template(("is ", Var(variable)))),))


def spoken(simulation: Simulation) -> list[str]:
    return [each.prompt.text for each in simulation.spoken]


def test_a_key_stops_a_prompt_and_is_there_for_the_next_collection() -> None:
    flow = graph(
        say("a long prompt that nobody hears out", "first", stop_keys="0123456789*#", into="digits.default"),
        make(g.Collect, "collect", into="digits.pin", most=2),
        show("pin", "digits.pin"),
        show("default", "digits.default"),
    )
    simulation = simulate(flow, "wait 0.5; press! 12")
    assert spoken(simulation) == ["a long prompt that nobody hears out", "is 12", "is "]
    assert simulation.spoken[0].heard == 0.5


def test_a_key_that_stopped_a_prompt_stays_in_its_collection_when_nobody_collects() -> None:
    flow = graph(say("a long prompt", "first", stop_keys="1", into="digits.default"), show("default", "digits.default"))
    assert spoken(simulate(flow, "press! 1")) == ["a long prompt", "is 1"]


def test_other_keys_do_not_stop_a_prompt_but_wait() -> None:
    flow = graph(say("press the hash key", "first", stop_keys="#"), make(g.Collect, "c", into="digits.a", most=1))
    simulation = simulate(flow, "press! 5")
    assert simulation.spoken[0].complete
    assert [heard.value for heard, _ in simulation.noted(Heard)] == ["5"]


def test_an_endless_prompt_is_ended_by_a_key_or_by_the_limit_of_the_call() -> None:
    flow = graph(say("again", times=0, stop_keys="1"), say("done"))
    assert spoken(simulate(flow, "wait 2; press! 1"))[-1] == "done"
    simulation = simulate(flow, "", scenario=Scenario(max_duration=60.0))
    assert simulation.ending.by == "limit"
    assert simulation.spoken[-1].prompt.text == "again"


def test_a_collection_is_asked_for_again_and_then_given_up() -> None:
    collect = make(g.Collect, "c", into="digits.a", prompts=(Prompt("your number"),), least=3, most=3, repeats=1)
    flow = graph(collect, say("thanks"), c={g.NONE: "nothing", g.SHORT: "too short"})
    assert spoken(simulate(flow, "press 123")) == ["your number", "thanks"]
    assert spoken(simulate(flow, "press 1; wait 6; press 123")) == ["your number", "your number", "thanks"]
    assert spoken(simulate(flow, "press 1; wait 6; press 2")) == ["your number", "your number", "too short"]
    assert spoken(simulate(flow, "")) == ["your number", "your number", "nothing"]


def test_repeats_without_end_reach_the_limit_of_steps() -> None:
    collect = make(g.Collect, "c", into="digits.a", first=-1.0, repeats=10**9)
    assert simulate(graph(collect)).ending.by == "limit"
    endless = make(g.Say, "s", prompts=(Prompt(""),), times=10**9)
    assert simulate(graph(endless)).ending.by == "limit"


def test_repeats_below_none_are_none() -> None:
    collect = make(g.Collect, "c", into="digits.a", prompts=(Prompt("your number"),), repeats=-1)
    assert spoken(simulate(graph(collect))) == ["your number"]


def test_pauses_take_time_and_keys_may_end_them() -> None:
    assert simulate(graph(make(g.Pause, "p", seconds=3.0), say("done"))).spoken[0].at == 3.0
    simulation = simulate(graph(make(g.Pause, "p", seconds=3.0, stop_keys="1"), say("done")), "wait 1; press! 1")
    assert simulation.spoken[0].at == 1.0


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Condition("var.age", "==", "38.0"), "yes"),
        (Condition("var.age", "<", "5"), "no"),
        (Condition("var.age", ">=", "38"), "yes"),
        (Condition("var.name", "contains", "na"), "yes"),
        (Condition("var.name", "starts", "a"), "no"),
        (Condition("var.name", "ends", "a"), "yes"),
        (Condition("var.name", "<", "b"), "no"),
        (Condition("var.none", "absent"), "yes"),
        (Condition("var.name", "exists"), "yes"),
        (Condition("var.name", "!=", Template((Var("var.name"),))), "no"),
    ],
)
def test_conditions(condition: Condition, expected: str) -> None:
    steps = [
        make(g.SetVariables, "set", values=(("var.age", "38"), ("var.name", "nana"))),
        make(g.Branch, "branch", cases=(g.Case(exit="yes", conditions=(condition,)),)),
        say("no"),
    ]
    flow = graph(*steps, branch={"yes": "yes"})
    assert spoken(simulate(flow)) == [expected]


def test_variables_are_bounded() -> None:
    many = make(g.SetVariables, "many", values=tuple((f"var.{n}", "x") for n in range(2000)))
    assert simulate(graph(many)).ending.by == "limit"
    doubling = [make(g.SetVariables, f"s{n}", values=(("var.a", Template((Var("var.a"),) * 100)),)) for n in range(9)]
    flow = graph(make(g.SetVariables, "s", values=(("var.a", "x" * 100),)), *doubling, show("a", "var.a"))
    assert len(spoken(simulate(flow))[0]) <= 65536


def test_flush_forgets_keys() -> None:
    flow = graph(
        say("a long prompt"),
        make(g.Flush, "flush"),
        make(g.Collect, "c", into="digits.a", most=1, first=1.0),
        show("a", "digits.a"),
    )
    assert spoken(simulate(flow, "press! 7"))[-1] == "is "


# --- orders -----------------------------------------------------------------------------


def dial_flow(**fields: Any) -> g.Graph:
    """Dials before the call is answered, as a switch does."""
    dial = make(g.Perform, "dial", order=Dial(targets=(NUMBER,), **fields), into="dial")
    exits = {"USER_BUSY": "busy", "sip:603": "declined", "failed": "failed"}
    return graph(dial, show("status", "dial.status"), answered=False, dial=exits)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("answer 20", "is completed"),
        ("", "is completed"),
        ("busy", "busy"),
        ("reject 603", "declined"),
        ("reject 404", "failed"),
        ("noanswer", "failed"),
    ],
)
def test_a_dialled_leg_takes_the_exit_of_its_cause(script: str, expected: str) -> None:
    assert spoken(simulate(dial_flow(timeout=25.0), script)) == [expected]


def test_the_bridge_lasts_as_long_as_the_script_says_and_a_limit_allows() -> None:
    assert simulate(dial_flow(), "answer 20").spoken[0].at == 23.0
    assert simulate(dial_flow(time_limit=5.0), "answer 20").spoken[0].at == 8.0


def test_the_caller_hangs_up_in_the_bridge() -> None:
    simulation = simulate(dial_flow(), "answer 60; wait 10; hangup")
    assert (simulation.ending.by, simulation.duration) == ("caller", 7.0)  # since the leg answered
    assert spoken(simulation) == []


def test_the_caller_gives_up_while_it_rings() -> None:
    simulation = simulate(dial_flow(timeout=60.0), "noanswer; wait 10; hangup")
    assert (simulation.ending.by, simulation.duration) == ("caller", 0.0)


def test_a_leg_that_answers_answers_the_call() -> None:
    flow = graph(
        make(g.Subscribe, "api", url=URL),
        make(g.Perform, "dial", order=Dial(targets=(NUMBER,))),
        say("after"),
        answered=False,
    )
    simulation = simulate(flow, "answer 20")
    assert [(each.params["e"], each.params["duration"]) for each, _ in simulation.callbacks] == [
        ("open", "0"),
        ("close", "20"),
    ]


def test_a_dial_with_variables_in_it() -> None:
    order = Dial(targets=(Target(kind="number", value=var("digits.a")),), caller_id=var("call.caller"))
    known = filled(order, {"digits.a": "12", "call.caller": "34"})
    assert (known.targets[0].value, known.caller_id) == ("12", "34")
    assert filled(order.targets[0], {}).value == ""


def test_what_a_call_cannot_do_is_told_and_takes_its_own_exit() -> None:
    order = Conference(room="room")
    flow = graph(make(g.Perform, "c", order=order), say("next"), c={g.UNSUPPORTED: "cannot"})
    call = HandCall()
    ending = run_sync(Executor(flow).run(call))
    assert ending.by == "flow"
    assert "start cannot" in call.log
    assert [note.what for note in call.notes if isinstance(note, Trouble)] == ["no Conference here"]


@pytest.mark.parametrize(("script", "text"), [("machine 8", "machine"), ("human", "hello"), ("", "hello")])
def test_machine_detection(script: str, text: str) -> None:
    flow = graph(make(g.Perform, "amd", order=DetectMachine()), say("hello"), amd={"machine": "machine"})
    simulation = simulate(flow, script)
    assert spoken(simulation) == [text]
    assert text == "hello" or simulation.spoken[0].at == pytest.approx(8.0 + BEEP)


def test_a_response_ends_the_call_after_its_prompt() -> None:
    order = Respond(code=486, reason="Busy Here", prompts=(Prompt("sorry"),))
    simulation = simulate(graph(make(g.Perform, "r", order=order), say("never"), answered=False))
    assert spoken(simulation) == ["sorry"]
    assert (simulation.ending.by, simulation.ending.reason) == ("flow", "486 Busy Here")
    assert simulation.duration == 0.0


def test_keys_are_sent_with_their_time() -> None:
    flow = graph(make(g.Perform, "s", order=SendDigits(digits="12#", tone=0.2, gap=0.1)), say("sent"))
    assert simulate(flow).spoken[0].at == pytest.approx(0.9)


# --- recordings -------------------------------------------------------------------------


def record_flow(**fields: Any) -> g.Graph:
    return graph(make(g.Record, "r", **fields), show("key", "recording.key"), show("time", "recording.duration"))


def test_a_key_ends_a_recording_and_is_not_kept() -> None:
    simulation = simulate(record_flow(stop_keys="#"), "wait 5; press 1; press #")
    assert spoken(simulation) == ["is #", "is 4"]
    assert [(each.format, each.reason) for each in simulation.recordings] == [("wav", "stopped")]


def test_silence_ends_a_recording_after_the_last_word() -> None:
    simulation = simulate(record_flow(silence=2.0, beep=False), "say hello there; wait 1; say goodbye")
    said = simulation.recordings[0]
    assert said.reason == "silence"
    assert said.duration == pytest.approx(0.85 + 0.3 + 1.0 + 0.655 + 2.0, abs=0.01)


def test_a_limit_ends_a_recording() -> None:
    recording = simulate(record_flow(limit=10.0)).recordings[0]
    assert (recording.reason, recording.duration) == ("limit", 10.0)


def test_hanging_up_ends_a_recording_and_keeps_it() -> None:
    simulation = simulate(record_flow(), "wait 4; hangup")
    assert simulation.ending.by == "caller"
    assert simulation.recordings[0].duration == pytest.approx(3.7)
    assert not simulation.noted(Recorded)


def test_a_recording_nobody_ends_lasts_as_long_as_the_call_may() -> None:
    assert simulate(record_flow(), scenario=Scenario(max_duration=100.0)).ending.by == "limit"


def test_recording_in_the_background() -> None:
    flow = graph(
        make(g.Perform, "on", order=StartRecording(format="mp3", upload=Upload(URL))),
        make(g.Pause, "p", seconds=4.0),
        make(g.Perform, "off", order=StopRecording()),
        make(g.Pause, "q", seconds=4.0),
    )
    (recording,) = simulate(flow).recordings
    assert (recording.format, recording.duration, recording.reason) == ("mp3", 4.0, "stopped")


# --- the web ----------------------------------------------------------------------------


def fetch(name: str = "fetch", **fields: Any) -> g.Step:
    fields.setdefault("readers", (("", ("brombler",)),))
    return make(g.Fetch, name, url=fields.pop("url", URL), **fields)


def reply(text: str, status: int = 200, kind: str = "application/json") -> Reply:
    return Reply(status, kind, text.encode(), URL)


def web(**replies: str) -> Scenario:
    return Scenario(fetch=canned({URL: reply(replies["flow"])}))


def test_a_fetched_flow_takes_the_place_of_this_one() -> None:
    flow = graph(say("before"), fetch(), say("never"))
    simulation = simulate(flow, scenario=web(flow='{"_": "fetched"}'))
    assert spoken(simulation) == ["before", "fetched"]
    assert [(note.url, note.status, note.problem) for note, _ in simulation.noted(Fetched)] == [(URL, 200, "")]


def test_a_fetched_flow_comes_back_when_it_does_not_hang_up() -> None:
    sub = graph(say("inner"))
    flow = graph(make(g.Jump, "jump", flow="inner", returns=True), say("after"))
    assert spoken(simulate(flow, scenario=Scenario(flows={"inner": sub}))) == ["inner", "after"]
    flow = graph(make(g.Jump, "jump", flow="inner"), say("after"))
    assert spoken(simulate(flow, scenario=Scenario(flows={"inner": sub}))) == ["inner"]


def test_flows_that_call_one_another_for_ever_reach_a_limit() -> None:
    loop = graph(make(g.Jump, "jump", flow="loop", returns=True), say("after"))
    assert simulate(loop, scenario=Scenario(flows={"loop": loop})).ending.by == "limit"


@pytest.mark.parametrize(
    ("script", "body", "problem"),
    [
        ("fail", "", "no answer came"),
        ("fail 500", "", "the server answered 500"),
        ("", '{"_": ', "not valid JSON"),
        ("", '{"$redirect": 1}', "$redirect"),
    ],
)
def test_a_flow_that_does_not_come_takes_the_failed_exit(script: str, body: str, problem: str) -> None:
    flow = graph(fetch(), say("never"), fetch={g.FAILED: "failed"})
    simulation = simulate(flow, script, scenario=Scenario(fetch=canned({URL: reply(body, kind="text/json")})))
    assert spoken(simulation) == ["failed"]
    assert problem in simulation.noted(Fetched)[0][0].problem
    assert problem in simulation.noted(Trouble)[0][0].what


def test_the_last_good_flow_serves_when_the_server_fails() -> None:
    flow = graph(fetch(last_good=True))
    memory = LastGood()
    for script, trouble in (((), 0), (parse_script("fail"), 1)):
        call = ScriptedCall(script, web(flow='{"_": "fetched"}'))
        run_sync(Executor(flow, Settings(), memory).run(call))
        assert [each.prompt.text for each in call.spoken] == ["fetched"]
        assert sum(isinstance(note, Trouble) for note, _ in call.notes) == trouble


def test_what_is_sent_with_a_request() -> None:
    asked: list[Request] = []

    def answer(request: Request) -> Reply:
        asked.append(request)
        return reply('{"_": "fetched"}')

    params = (
        g.Param(name="Call", value=var("call.id")),
        g.Param(name="Empty", value=var("var.none")),
        g.Param(name="Kept", value="", always=True),
        g.Param(name="Digits[{}]", each="digits."),
    )
    steps = [
        make(g.SetVariables, "set", values=(("digits.default", "1"), ("digits.pin", "22"))),
        fetch("get", query=params, url=f"{URL}?a=b", returns=True, clear=("digits.",)),
        fetch("post", method="POST", params=params, returns=True),
        fetch("json", method="POST", params=params, encoding="json", content_type="-"),
    ]
    scenario = Scenario(fetch=answer, call_id="c1")
    flow = graph(*steps)
    simulation = simulate(flow, scenario=scenario)
    # A call tree hangs up at its end, so only the first request is made here.
    assert asked[0].query == (("Call", "c1"), ("Kept", ""), ("Digits[default]", "1"), ("Digits[pin]", "22"))
    assert simulation.noted(Fetched)[0][0].url == f"{URL}?a=b&Call=c1&Kept=&Digits%5Bdefault%5D=1&Digits%5Bpin%5D=22"
    for start, body, kind in (
        ("post", b"Call=c1&Kept=", "application/x-www-form-urlencoded"),
        ("json", b'{"Call": "c1", "Kept": ""}', ""),
    ):
        asked.clear()
        simulate(g.Graph(flow.steps, start), scenario=scenario)
        assert (asked[0].body, asked[0].content_type) == (body, kind)


def test_the_content_type_chooses_the_reader() -> None:
    step = fetch(readers=(("text/plain", ("brombler",)),))
    flow = graph(step, fetch={g.FAILED: "failed"})
    for kind, expected in (("text/plain; charset=utf-8", "hello"), ("image/png", "failed")):
        scenario = Scenario(fetch=canned({URL: reply("hello", kind=kind)}))
        assert spoken(simulate(flow, scenario=scenario)) == [expected]


def test_a_word_that_nobody_answers_is_a_callback() -> None:
    params = (g.Param(name="From", value=var("call.caller")),)
    tell = make(g.Tell, "tell", url=URL, params=params, query=(g.Param(name="q", value="1"),), encoding="json")
    ((callback, _),) = simulate(graph(tell)).callbacks
    assert (callback.url, callback.method, callback.encoding) == (f"{URL}?q=1", "POST", "json")
    assert callback.params == {"From": "caller"}


# --- control from outside ---------------------------------------------------------------


def test_the_rest_of_the_program_is_replaced_in_the_middle_of_a_step() -> None:
    other = graph(say("from outside"))

    class Controlled(HandCall):
        async def played(self) -> None:
            if not self.replaced:
                self.replaced = True
                raise Replaced(other)

        replaced = False

    call = Controlled()
    run_sync(Executor(graph(say("old"), say("never"))).run(call))
    assert [line for line in call.log if line.startswith(("start", "stop"))] == [
        "start old",
        "stop",
        "start from outside",
    ]


def test_every_step_says_what_it_needs_and_where_it_leads() -> None:
    kinds = {kind for kind in vars(g).values() if isinstance(kind, type) and issubclass(kind, g.Step)} - {g.Step}
    assert kinds == set(VERBS)
    for kind in kinds:
        assert kind.needs in ("nothing", "early media", "answer")
        assert kind.__doc__


def test_a_prompt_before_the_answer_asks_for_early_media() -> None:
    call = HandCall([PromptEnded(1.0), Key("1", 2.0)])
    run_sync(Executor(graph(say("early"), make(g.Answer, "answer"), say("late"), answered=False)).run(call))
    assert call.log[:2] == ["early media", "start early"]
    assert call.log.count("early media") == 1


def test_a_url_that_variables_spoil_is_a_failed_fetch() -> None:
    step = fetch(url=Template(("https://", Var("call.caller"), "/f")))
    simulation = simulate(graph(step, fetch={g.FAILED: "failed"}), scenario=Scenario(caller="[x"))
    assert spoken(simulation) == ["failed"]
    assert "no flow can come from" in simulation.noted(Trouble)[0][0].what
    tell = make(g.Tell, "tell", url=Template(("https://", Var("call.caller"), "/f")))
    simulation = simulate(graph(tell, say("on")), scenario=Scenario(caller="[x"))
    assert (spoken(simulation), simulation.callbacks) == (["on"], [])

"""MessageBird call flows in the simulator: what is heard, where the call goes, what servers are asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flow_kit import texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from messagebird_kit import flow, graph_of, say, step
from test_messagebird_properties import good_flows

from flows.call import ALL_SHOWN, Entered, Fetched, Performed, Reply, Request, Trouble
from flows.check import check_graph
from flows.executor import Executor
from flows.findings import has_errors
from flows.prompts import Prompt
from flows.scripted_call import ScriptedCall
from flows.scripted_world import BEEP, MACHINE, canned
from flows.simulate import Scenario, Simulation, run_sync, simulate

NEXT = "http://flows.example/next"
OUTBOUND = {"call.direction": "outbound"}


class Server:
    """Answers each request with the next of ``flows`` (the last one for ever), and remembers what it was asked."""

    def __init__(self, *flows: Any) -> None:
        self.flows = list(flows)
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Reply:
        self.asked.append(request)
        body = json.dumps(self.flows[min(len(self.asked), len(self.flows)) - 1]).encode()
        return Reply(200, "application/json; charset=utf-8", body, request.url)


def play(document: object, script: str = "", **scenario: Any) -> Simulation:
    return simulate(graph_of(document), script, scenario=Scenario(**scenario))


def stories(simulation: Simulation) -> list[str]:
    return [note.story for note, _ in simulation.noted(Performed)]


def test_steps_in_order_then_the_end() -> None:
    """§5.1 Step; §5.3 end of steps = hang up"""
    simulation = play(
        flow(say("One."), step("pause", length=2), say("Two.", repeat=2), step("play", media="http://h/a.wav"))
    )
    assert texts(simulation) == ["One.", "Two.", "Two.", "http://h/a.wav"]
    assert simulation.spoken[1].at == pytest.approx(simulation.spoken[0].heard + 2)
    assert (simulation.ending.by, simulation.path) == ("flow", "4")
    assert [note.path for note, _ in simulation.noted(Entered)] == ["", "1", "2", "3", "4"]


def test_hangup_ends_the_call_before_the_rest() -> None:
    simulation = play(flow(say("One."), step("hangup", extra={"id": "bye"}), say("Two.")))
    assert (texts(simulation), simulation.path) == (["One."], "bye")


def test_variables_are_spoken() -> None:
    """§5.2 variables callID, source, destination"""
    simulation = play(
        flow(say("{{callID}} {{source}} {{destination}} {{nothing}}.")), call_id="c1", caller="+391", callee="2"
    )
    assert texts(simulation) == ["c1 +391 2 ."]


class Deaf(ScriptedCall):
    """A call for which no sound can be fetched."""

    async def prepare(self, prompts: Sequence[Prompt], shown: Mapping[Prompt, Prompt] = ALL_SHOWN) -> Sequence[Prompt]:
        return [prompt for prompt in await super().prepare(prompts) if not prompt.media]


def test_media_that_is_not_there_is_left_out() -> None:
    """§5.3 play: 404 media -> skip + log, not drop"""
    endless, once = step("play", media="http://h/a.wav", loop=True), step("play", media=["http://h/b.wav"])
    call = Deaf()
    assert run_sync(Executor(graph_of(flow(endless, once, say("Hello.")))).run(call)).by == "flow"
    assert [spoken.prompt.text for spoken in call.spoken] == ["Hello."]


# --- transfer ----------------------------------------------------------------------------------

CONNECT = flow(step("transfer", destination="31612345678", record="both"), say("Thanks."))


@pytest.mark.parametrize(
    ("script", "story"),
    [
        ("answer 20", "talked with 31612345678 for 20 s"),
        ("busy", "31612345678: USER_BUSY (486)"),
        ("noanswer", "31612345678: nobody answered"),
        ("reject 603", "31612345678: CALL_REJECTED (603)"),
    ],
)
def test_after_a_transfer_the_flow_goes_on(script: str, story: str) -> None:
    """§0.2 MessageBird `transfer`: flow goes on afterwards; §5.3 Destination failing: go on too"""
    simulation = play(CONNECT, script)
    assert stories(simulation) == [story]
    assert texts(simulation) == ["Thanks."]
    assert simulation.ending.by == "flow"


def test_a_destination_rings_for_the_timeout() -> None:
    """§5.2 option `timeout` of a transfer, in seconds"""
    for document, rang in ((CONNECT, 30), (flow(step("transfer", destination="1", timeout=7), say()), 7)):
        assert play(document, "noanswer").spoken[0].at == rang


def test_a_transfer_does_not_answer_the_call_by_itself() -> None:
    simulation = play(flow(step("transfer", destination="1"), step("hangup")), "busy")
    assert simulation.duration == 0


def test_conditions_on_how_a_transfer_went_are_not_needed_but_keys_are_sent() -> None:
    """§5.2 sendKeys"""
    simulation = play(flow(say("Hi."), step("sendKeys", keys="12#", duration=200, interval=300)))
    assert stories(simulation) == ["sent the keys 12#"]
    assert simulation.duration == pytest.approx(simulation.spoken[0].heard + 3 * 0.5)


# --- machines ----------------------------------------------------------------------------------


def test_ifmachine_does_nothing_on_incoming_calls() -> None:
    """§5.3 `ifMachine` … (incoming: `continue`)"""
    simulation = play(flow(say("Hi.", ifMachine="hangup")), "")
    assert (stories(simulation), texts(simulation), simulation.spoken[0].at) == ([], ["Hi."], 0)


def test_ifmachine_delay_waits_for_the_end_of_the_greeting() -> None:
    """§5.1 ifMachine … delay; §5.3 `delay`: wait until end of greeting"""
    simulation = play(flow(say("One."), say("Two.")), "machine 12", facts=OUTBOUND)
    assert stories(simulation) == ["a machine picked up"]
    assert texts(simulation) == ["One.", "Two."]
    assert simulation.spoken[0].at == pytest.approx(12 + BEEP)
    assert play(flow(say("One.")), "human", facts=OUTBOUND).spoken[0].at == 1.5


def test_ifmachine_hangup_hangs_up_on_a_machine_only() -> None:
    """§5.1 ifMachine … hangup"""
    document = flow(say("Hi.", ifMachine="hangup", machineTimeout=4000))
    simulation = play(document, "machine 12", facts=OUTBOUND)
    assert (texts(simulation), simulation.ending.reason) == ([], "a machine picked up")
    assert simulation.duration == MACHINE
    hasty = flow(say("Hi.", ifMachine="hangup", machineTimeout=500))
    assert play(hasty, "machine 12", facts=OUTBOUND).duration == 0.5
    assert texts(play(document, "human", facts=OUTBOUND)) == ["Hi."]


def test_ifmachine_continue_does_not_ask() -> None:
    """§5.1 ifMachine continue"""
    simulation = play(flow(say("Hi.", ifMachine="continue")), "machine 12", facts=OUTBOUND)
    assert (texts(simulation), simulation.spoken[0].at) == (["Hi."], 0)


def test_a_machine_is_remembered() -> None:
    document = flow(say("One."), say("Two.", ifMachine="hangup"))
    assert texts(play(document, "machine 12", facts=OUTBOUND)) == ["One."]
    fetched = Server(flow(say("Two.", ifMachine="hangup")))
    document = flow(say("One."), step("fetchCallFlow", url=NEXT))
    simulation = play(document, "machine 12", facts=OUTBOUND, fetch=fetched)
    assert (texts(simulation), stories(simulation)) == (["One."], ["a machine picked up"])


# --- keys --------------------------------------------------------------------------------------

KEYS = {"onKeypressGoto": "chosen", "onKeypressVar": "choice"}
MENU = flow(
    say("Press a key.", extra={"id": "ask", **KEYS}),
    step("pause", length=5, extra=KEYS),
    say("Nothing was pressed."),
    step("hangup"),
    say("You pressed {{choice}}.", extra={"id": "chosen"}),
)


def test_a_key_in_a_prompt_interrupts_it_and_leads_on() -> None:
    """§5.2 onKeypressGoto, onKeypressVar"""
    simulation = play(MENU, "wait 0.2; press! 4")
    assert texts(simulation) == ["Press a key.", "You pressed 4."]
    assert simulation.spoken[0].heard == pytest.approx(0.2)
    assert simulation.path == "chosen"


def test_a_key_in_a_pause_leads_on() -> None:
    simulation = play(MENU, "wait 3; press! *")
    assert texts(simulation) == ["Press a key.", "You pressed *."]
    assert simulation.spoken[0].complete


def test_without_a_key_the_next_step_follows_when_the_pause_is_over() -> None:
    simulation = play(MENU)
    assert texts(simulation) == ["Press a key.", "Nothing was pressed."]
    assert simulation.spoken[1].at == pytest.approx(simulation.spoken[0].heard + 5)


PIN = {**KEYS, "endKey": "#", "maxNumKeys": 4}


@pytest.mark.parametrize(
    ("script", "pin"),
    [
        ("press! 1234", "1234"),
        ("press! 12#", "12"),
        ("press! 1; wait 2; press! 2; wait 2; press! 3#", "123"),
        ("press! 12", "12"),  # nothing more within five seconds
        ("press! 12345", "1234"),
    ],
)
def test_several_keys(script: str, pin: str) -> None:
    """§5.2 endKey, maxNumKeys"""
    simulation = play(
        flow(say("Your number?", extra=PIN), step("hangup"), say("It is {{choice}}.", extra={"id": "chosen"})), script
    )
    assert texts(simulation) == ["Your number?", f"It is {pin}."]


@pytest.mark.parametrize(
    "extra",
    [
        {"onKeypressGoto": "chosen", "endKey": "#"},
        {"onKeypressVar": "choice", "onKeypressGoto": "chosen", "endKey": "#"},
        {"onKeypressGoto": "chosen", "endKey": "#", "maxNumKeys": 2},
    ],
)
@pytest.mark.parametrize("asked", [say("Your number?"), say("Your number?", repeat=2), step("pause", length=3)])
def test_an_end_key_alone_is_no_entry(extra: dict[str, Any], asked: dict[str, Any]) -> None:
    """§5.2 endKey: it ends an entry; where there is none, nothing leads to the step of `onKeypressGoto`."""
    document = flow({**asked, **extra}, say("Nothing."), step("hangup"), say("Chosen.", extra={"id": "chosen"}))
    assert texts(play(document, "press! #"))[-1] == "Nothing."
    assert texts(play(document, "press! 1#"))[-1] == "Chosen."


def test_an_end_key_alone_does_not_end_a_loop() -> None:
    """§5.2 `loop`: until a key is pressed that is more than the end of an entry."""
    document = flow(say("Again.", loop=True, extra={**KEYS, "endKey": "#"}), say("{{choice}}.", extra={"id": "chosen"}))
    simulation = play(document, "wait 2; press! #; wait 4; press! 7#")
    assert texts(simulation)[-2:] == ["Again.", "7."]


def test_conditions_leave_a_step_out() -> None:
    """§5.2 conditions[]{variable,operator,value}"""
    one = {"conditions": [{"variable": "choice", "operator": "==", "value": "1"}]}
    other = {"conditions": [{"variable": "{{choice}}", "operator": "!=", "value": 1}]}
    document = flow(
        step("play", media="http://h/a.wav", loop=True, extra={"onKeypressVar": "choice"}),
        say("One.", extra=one),
        say("Another.", extra=other),
        say("Bye."),
    )
    simulation = play(document, "wait 1; press! 1")
    assert texts(simulation)[-2:] == ["One.", "Bye."]
    assert [note.path for note, _ in simulation.noted(Entered)] == ["", "1", "2", "4"]
    assert texts(play(document, "wait 1; press! 7"))[-2:] == ["Another.", "Bye."]


def test_a_loop_ends_with_a_key() -> None:
    """§5.2 loop"""
    document = flow(say("Again.", loop=True, extra=KEYS), say("Done.", extra={"id": "chosen"}))
    simulation = play(document, "wait 6; press! 1")
    assert texts(simulation)[-1] == "Done."
    assert texts(simulation).count("Again.") > 3
    assert texts(play(flow(say("Thrice.", loop=3)))) == ["Thrice."] * 3


# --- record ------------------------------------------------------------------------------------


def test_record_until_a_key() -> None:
    """§5.1 finishOnKey; §5.3 the key is not kept"""
    simulation = play(flow(step("record", finishOnKey="#"), say("Thanks.")), "wait 4; press! 5; wait 1; press! #")
    (taken,) = simulation.recordings
    assert (taken.reason, taken.sides, taken.duration) == ("stopped", "caller", pytest.approx(5.2, abs=0.2))
    assert texts(simulation) == ["Thanks."]


def test_record_until_silence_or_its_limit() -> None:
    """§5.1 record.maxLength, timeout"""
    assert play(flow(step("record", timeout=3)), "say! hello").recordings[0].reason == "silence"
    assert play(flow(step("record", maxLength=8)), "").recordings[0].duration == 8


def test_record_onfinish() -> None:
    """§5.2 onFinish: POST, same query, body = recording object without Content-Type; answer is the next flow"""
    server = Server(flow(say("Next question.")))
    document = flow(step("record", finishOnKey="any", onFinish=f"{NEXT}?survey=7"), say("Never."))
    facts = {"call.leg": "leg-1"}
    simulation = play(
        document, "wait 3; press! 1", fetch=server, facts=facts, call_id="c1", caller="+391", callee="+392"
    )
    (request,) = server.asked
    assert (request.method, request.url, request.content_type) == ("POST", f"{NEXT}?survey=7", "")
    assert request.query == (("callID", "c1"), ("source", "391"), ("destination", "392"))
    body = json.loads(request.body)
    assert body == {"id": "recording-1", "legId": "leg-1", "format": "wav", "status": "done", "duration": 3}
    assert texts(simulation) == ["Next question."]


def test_record_onfinish_that_fails() -> None:
    document = flow(step("record", maxLength=3, onFinish=NEXT), say("We could not save it."))
    simulation = play(document, "fail 500")
    assert texts(simulation) == ["We could not save it."]
    assert [note.problem for note, _ in simulation.noted(Fetched)] == ["the server answered 500"]


def test_record_true_records_the_whole_call() -> None:
    """§5.1 Flow record(false); §5.3 `record:true`: both directions, from the answer"""
    (taken,) = play(flow(say("Hello."), record=True)).recordings
    assert (taken.sides, taken.began) == ("stereo", 0)
    assert play(flow(say("Hello."))).recordings == ()


# --- fetchCallFlow -----------------------------------------------------------------------------


def test_fetchcallflow() -> None:
    """§5.2 fetchCallFlow: GET with query callID, source, destination"""
    server = Server(flow(say("Fetched.", extra={"id": "there"})))
    document = flow(say("Hello."), step("fetchCallFlow", url=f"{NEXT}?x=1"))
    simulation = play(document, fetch=server, call_id="c1", caller="+391", callee="2")
    (request,) = server.asked
    assert (request.method, request.url, request.body) == ("GET", f"{NEXT}?x=1", b"")
    (note,) = (note for note, _ in simulation.noted(Fetched))
    assert parse_qs(urlsplit(note.url).query) == {"x": ["1"], "callID": ["c1"], "source": ["391"], "destination": ["2"]}
    assert (texts(simulation), simulation.path) == (["Hello.", "Fetched."], "there")


def test_fetchcallflow_tells_the_variables_that_there_are() -> None:
    """As programs that answer these requests read them: one parameter, a JSON object."""
    server = Server(flow(say("{{choice}} again.")))
    document = flow(
        say("Press a key.", extra=KEYS), step("hangup"), step("fetchCallFlow", url=NEXT, extra={"id": "chosen"})
    )
    simulation = play(document, "press! 4", fetch=server)
    assert dict(server.asked[0].query)["variables"] == '{"choice": "4"}'
    assert texts(simulation) == ["Press a key.", "4 again."]


def test_fetchcallflow_that_fails_ends_the_call() -> None:
    """§5.2 Steps after it are ignored"""
    document = flow(say("Hello."), step("fetchCallFlow", url=NEXT), say("Never."))
    simulation = play(document, "fail")
    assert texts(simulation) == ["Hello."]
    assert simulation.ending.by == "flow"
    assert simulation.ending.reason == f"no flow came from {NEXT}: no answer came"


def test_a_fetched_flow_that_is_bad_is_told() -> None:
    bad = flow(say(voice="robot"))
    simulation = play(flow(step("fetchCallFlow", url=NEXT)), fetch=Server(bad))
    assert "steps[0].options.voice" in simulation.noted(Trouble)[0][0].what


def test_a_survey_goes_from_flow_to_flow() -> None:
    """The guide's survey: each question is a flow that the answer to the one before has fetched."""

    def question(text: str) -> dict[str, Any]:
        return flow(say(text), step("record", finishOnKey="any", timeout=10, onFinish=NEXT))

    server = Server(question("First?"), question("Second?"), flow(say("Thank you.")))
    document = flow(step("fetchCallFlow", url=NEXT))
    simulation = play(document, "wait 5; press! 1; wait 5; press! 1", fetch=server)
    assert texts(simulation) == ["First?", "Second?", "Thank you."]
    assert [request.method for request in server.asked] == ["GET", "POST", "POST"]
    assert len(simulation.recordings) == 2


def test_answers_may_be_canned() -> None:
    replies = {NEXT: Reply(200, "text/plain", json.dumps(flow(say("Hi."))).encode(), NEXT)}
    assert texts(play(flow(step("fetchCallFlow", url=NEXT)), fetch=canned(replies))) == ["Hi."]


@pytest.mark.parametrize(
    ("script", "path", "last"),
    [
        ("press! 2; wait 9; press! #", "welcome message record thanks", "Thank you. We will call you back."),
        (
            "press! 1; busy; wait 9; press! #",
            "welcome connect message record thanks",
            "Thank you. We will call you back.",
        ),
        ("press! 1; noanswer", "welcome connect message record thanks", "Thank you. We will call you back."),
        ("wait 12; press! 2", "welcome think message record thanks", "Thank you. We will call you back."),
        ("", "welcome think goodbye end", "Please call again. Good bye!"),
    ],
)
def test_the_example(script: str, path: str, last: str) -> None:
    example = Path(__file__).parents[2] / "examples" / "messagebird.json"
    simulation = simulate(graph_of(example.read_bytes()), script)
    walked = " ".join(note.path for note, _ in simulation.noted(Entered) if note.path)
    assert walked == path
    assert texts(simulation)[-1] == last
    assert simulation.ending.by == "flow"


# --- any flow, any caller ----------------------------------------------------------------------

SCRIPTS = st.sampled_from(
    [
        "",
        "press! 1",
        "press! 12#",
        "wait 3; press! *",
        "busy; press! 1",
        "noanswer",
        "machine 5",
        "wait 9; hangup",
        "fail",
    ]
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(good_flows, SCRIPTS, st.sampled_from(["inbound", "outbound"]))
def test_every_call_ends(document: object, script: str, direction: str) -> None:
    graph = graph_of(document)
    assert not has_errors(check_graph(graph))
    server = Server(flow(say("Fetched.")))
    scenario = Scenario(facts={"call.direction": direction}, fetch=server, max_duration=600.0)
    simulation = simulate(graph, script, scenario=scenario)
    assert simulation.ending.by in ("caller", "flow", "limit"), simulation.ending
    json.dumps(simulation.to_json())
    simulation.render()

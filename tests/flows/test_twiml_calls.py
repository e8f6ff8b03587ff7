"""TwiML documents on a simulated call: what is heard, who is asked what, and how it ends."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from flow_kit import texts
from twiml_kit import BASE, FLAVOURS, graph

from flows.call import Fetched, Reply, Request
from flows.check import Knowledge, check_compiled
from flows.dialects import compile_flow
from flows.scripted_world import canned
from flows.simulate import Scenario, Simulation, simulate
from media.tts.voices import known_language, known_voice

HERE = "https://example.org/flows/"
every_flavour = pytest.mark.parametrize("flavour", FLAVOURS)


class Server:
    """A web server with a document for each URL; it remembers what it was asked."""

    def __init__(self, documents: dict[str, str], content_type: str = "text/xml") -> None:
        self.requests: list[Request] = []
        self._reply = canned(
            {
                f"{HERE}{name}": Reply(200, content_type, f"<Response>{verbs}</Response>".encode(), f"{HERE}{name}")
                for name, verbs in documents.items()
            }
        )

    def __call__(self, request: Request) -> Reply:
        self.requests.append(request)
        return self._reply(request)

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.url.removeprefix(HERE)}" for request in self.requests]

    def sent(self, number: int = -1) -> dict[str, str]:
        request = self.requests[number]
        return dict(request.query) | dict(parse_qsl(request.body.decode(), keep_blank_values=True))


def call(
    verbs: str, script: str = "", flavour: str = "twiml", server: Server | None = None, **facts: str
) -> Simulation:
    scenario = Scenario(
        call_id="c1",
        caller="+4021",
        callee="100",
        fetch=server or Server({}),
        facts={f"call.{name}": value for name, value in facts.items()},
    )
    return simulate(graph(verbs, flavour, base=BASE), script, scenario=scenario)


MENU = '<Gather numDigits="1" action="menu"><Say>One or two?</Say></Gather><Say>Nothing pressed.</Say>'


@every_flavour
@pytest.mark.parametrize(
    ("script", "spoken", "asked", "path"),
    [
        ("press 1", ["One or two?", "Thanks."], ["POST menu"], "Hangup.2"),
        ("press! 2", ["One or two?", "Thanks."], ["POST menu"], "Hangup.2"),
        ("press #", ["One or two?", "Nothing pressed."], [], "Say.2"),
        ("", ["One or two?", "Nothing pressed."], [], "Say.2"),
    ],
)
def test_a_menu(flavour: str, script: str, spoken: list[str], asked: list[str], path: str) -> None:
    """§2.3 POST `Digits` to action; timeout/finish_key falls through; §3.5 no digits -> next verb."""
    server = Server({"menu": "<Say>Thanks.</Say><Hangup/>"})
    simulation = call(MENU, script, flavour, server)
    assert (texts(simulation), server.asked, simulation.path) == (spoken, asked, path)
    assert simulation.ending.by == "flow"
    if asked:
        assert server.sent()["Digits"] == script[-1]
        assert server.requests[0].content_type == "application/x-www-form-urlencoded"


def test_a_gather_waits_five_seconds() -> None:
    """§6 Gather timeout 5."""
    simulation = call("<Gather><Say>A?</Say></Gather><Say>B</Say>")
    asked, later = simulation.spoken
    assert later.at - (asked.at + asked.heard) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("flavour", "script", "digits"),
    [
        pytest.param("twiml", "press 12", "12", id="§6 numDigits is a maximum"),
        pytest.param("pivot", "press 12", "12", id="§3.5 numDigits is a maximum"),
        pytest.param("verboice", "press 12", None, id="§2.3 fewer -> timeout"),
        pytest.param("verboice", "press 12#", None, id="§2.3 finish key with fewer than min -> `finish_key`"),
        pytest.param("verboice", "press 1234", "1234", id="§2.3 numDigits (min=max)"),
        pytest.param("twiml", "press 12#", "12", id="§6 finishOnKey `#`"),
        pytest.param("twiml", "press 12345", "1234", id="§6 numDigits"),
    ],
)
def test_how_many_digits(flavour: str, script: str, digits: str | None) -> None:
    server = Server({"menu": ""})
    simulation = call('<Gather numDigits="4" action="menu"/><Say>Short.</Say>', script, flavour, server)
    if digits is None:
        assert texts(simulation) == ["Short."]
        assert server.asked == []
    else:
        assert texts(simulation) == (["Short."] if flavour == "verboice" else [])  # §2.2 it comes back
        assert server.sent()["Digits"] == digits


@pytest.mark.parametrize("flavour", ["twiml", "pivot"])
@pytest.mark.parametrize(
    ("script", "spoken"),
    [("press! 7", ["A"]), ("wait 3; press! 7", ["A"]), ("", ["A", "B", "Bye"]), ("press 7", ["A"])],
)
def test_a_key_ends_prompts_and_pauses_of_a_gather(flavour: str, script: str, spoken: list[str]) -> None:
    """§6 barge-in on; §3.5 Gather(+Play/Say/Pause)."""
    server = Server({"menu": ""})
    verbs = '<Gather numDigits="1" action="menu"><Say>A</Say><Pause length="5"/><Say>B</Say></Gather><Say>Bye</Say>'
    simulation = call(verbs, script, flavour, server)
    assert texts(simulation) == spoken
    assert [server.sent()["Digits"]] == ["7"] if script else server.asked == []


def test_an_empty_result_can_be_sent() -> None:
    """§6 `actionOnEmptyResult`."""
    server = Server({"menu": ""})
    call('<Gather action="menu" actionOnEmptyResult="true"/>', "", "twiml", server)
    assert server.sent()["Digits"] == ""


@every_flavour
def test_relative_urls_are_seen_from_the_document_that_names_them(flavour: str) -> None:
    """§6 Relative action URLs resolve against the document's URL."""
    server = Server({"a/b": "<Redirect>c</Redirect>", "a/c": "<Play>d.wav</Play>"})
    simulation = call("<Redirect>a/b</Redirect>", "", flavour, server)
    assert server.asked == ["POST a/b", "POST a/c"]
    assert texts(simulation) == [f"{HERE}a/d.wav"]


@every_flavour
def test_a_get_keeps_the_query_of_the_url(flavour: str) -> None:
    """§2.3 Redirect `method` (default post)."""
    server = Server({"next?a=1": ""})
    call('<Redirect method="GET">next?a=1</Redirect>', "", flavour, server)
    assert server.requests[0].url == f"{HERE}next?a=1"
    assert dict(server.requests[0].query)["CallSid"] == "c1"
    assert server.requests[0].body == b""


def test_redirect_comes_back_in_verboice() -> None:
    """§2.2 Reply = TwiML, executed in place; when the sub-flow ends, control returns to the caller flow."""
    server = Server({"sub": "<Say>Sub.</Say>"})
    verbs = "<Redirect>sub</Redirect><Say>Back.</Say>"
    assert texts(call(verbs, "", "verboice", server)) == ["Sub.", "Back."]
    assert texts(call(verbs, "", "twiml", server)) == ["Sub."]
    assert texts(call(verbs, "", "pivot", server)) == ["Sub."]


@pytest.mark.parametrize(
    ("verb", "script"),
    [
        ('<Gather action="sub" numDigits="1"/>', "press 1"),
        ('<Record action="sub" timeout="2"/>', ""),
        ('<Dial action="sub">100</Dial>', "answer 2"),
        ('<Dial action="sub">100</Dial>', "busy"),
        ('<Enqueue action="sub">q</Enqueue>', "answer 2"),
    ],
)
def test_actions_come_back_in_verboice(verb: str, script: str) -> None:
    """§2.2 Flow callback (`<Redirect>`, `<Gather action>`, …): the same as of a redirect."""
    server = Server({"sub": "<Say>Sub.</Say>"})
    verbs = f"{verb}<Say>Back.</Say>"
    assert texts(call(verbs, script, "verboice", server)) == ["Sub.", "Back."]
    assert texts(call(verbs, script, "twiml", server)) == ["Sub."]
    assert texts(call(verbs, script, "pivot", server)) == ["Sub."]


def test_a_call_comes_back_through_every_flow_that_called_one() -> None:
    """§2.2 executed in place: each goes on where it was left, and a later request tells what is new."""
    server = Server(
        {
            "menu": '<Gather numDigits="1" action="dial"/><Say>Menu.</Say>',
            "dial": '<Dial action="outcome">100</Dial><Say>Dial.</Say>',
            "outcome": "<Say>Outcome.</Say>",
        }
    )
    simulation = call("<Redirect>menu</Redirect><Say>Start.</Say>", "press 1; busy", "verboice", server)
    assert texts(simulation) == ["Outcome.", "Dial.", "Menu.", "Start."]
    assert server.asked == ["POST menu", "POST dial", "POST outcome"]
    assert server.sent()["DialCallStatus"] == "busy"
    assert "Digits" not in server.sent()


def test_a_menu_may_be_gone_round_as_often_as_a_caller_likes() -> None:
    menu = MENU.replace('action="menu"', 'action="again"')
    server = Server({"menu": menu, "again": "<Redirect>menu</Redirect>"})
    simulation = call("<Redirect>menu</Redirect>", "; ".join(["press 1"] * 60), "verboice", server)
    assert texts(simulation).count("One or two?") == 61
    assert simulation.ending.by == "flow"


def test_a_hang_up_in_a_sub_flow_is_the_end() -> None:
    """§2.2 control returns when the sub-flow ends, not when it hangs up."""
    server = Server({"sub": "<Say>Sub.</Say><Hangup/>"})
    assert texts(call("<Redirect>sub</Redirect><Say>Back.</Say>", "", "verboice", server)) == ["Sub."]


@every_flavour
@pytest.mark.parametrize("script", ["fail", "fail 500"])
def test_a_server_that_fails_ends_the_call(flavour: str, script: str) -> None:
    simulation = call("<Redirect>x</Redirect><Say>Never.</Say>", script, flavour)
    assert texts(simulation) == []
    assert simulation.ending.by == "flow"
    assert simulation.ending.reason.startswith(f"no flow came from {HERE}x")


def test_a_flow_that_verboice_refuses_fails_the_call() -> None:
    """§2.3 Unknown verb = error (flow invalid)."""
    server = Server({"x": "<Say>Hi.</Say><Sms>No.</Sms>"})
    simulation = call("<Redirect>x</Redirect>", "", "verboice", server)
    assert texts(simulation) == []
    assert "unknown-verb" in simulation.ending.reason


def test_pivot_speaks_until_the_verb_that_it_does_not_know() -> None:
    """§3.5 Unknown verb stops with an error."""
    simulation = call("<Say>Hi.</Say><Sms>No.</Sms><Say>Never.</Say>", "", "pivot")
    assert texts(simulation) == ["Hi."]
    assert simulation.ending.reason == "<Sms> is not a verb"


# --- parameters ---------------------------------------------------------------------------------


def test_what_pivot_sends() -> None:
    """§3.5 Request params."""
    server = Server({"x": ""})
    facts = {"account": "acc", "caller_realm": "a.org", "callee_realm": "b.org", "caller_name": "Ana"}
    call("<Redirect>x</Redirect>", "", "pivot", server, **facts)
    assert server.sent() == {
        "CallSid": "c1",
        "AccountSid": "acc",
        "From": "+4021",
        "FromRealm": "a.org",
        "To": "100",
        "ToRealm": "b.org",
        "CallStatus": "in-progress",
        "ApiVersion": "2010-04-01",
        "Direction": "inbound",
        "CallerName": "Ana",
        "CallerNumber": "+4021",
    }


def test_what_verboice_sends() -> None:
    """§2.2 CallSid, From."""
    server = Server({"x": ""})
    call("<Redirect>x</Redirect>", "", "verboice", server, account="acc")
    assert server.sent() == {"CallSid": "c1", "From": "+4021"}


@every_flavour
def test_variables_go_with_every_request(flavour: str) -> None:
    """§3.5 `<Set><Variable key value/></Set>`, Redirect(+Variable); §2.2 + callback_params."""
    server = Server({"x": "<Redirect>y</Redirect>", "y": ""})
    verbs = '<Set><Variable key="a" value="1"/></Set><Redirect>x<Variable key="b" value="2"/></Redirect>'
    call(verbs, "", flavour, server)
    assert [(server.sent(n)["a"], server.sent(n)["b"]) for n in (0, 1)] == [("1", "2")] * 2


@every_flavour
def test_what_a_call_was_started_with_changes_no_parameter_of_the_engine(flavour: str) -> None:
    """§2.2 callback_params: beside CallSid, not in its place, and not twice."""
    server = Server({"x": ""})
    scenario = Scenario(call_id="c1", fetch=server, facts={"param.CallSid": "faked", "param.x": "1"})
    simulate(graph("<Redirect>x</Redirect>", flavour, base=BASE), "", scenario=scenario)
    pairs = parse_qsl(server.requests[0].body.decode())
    assert [value for name, value in pairs if name in ("CallSid", "x")] == ["c1", "1"]


def test_digits_are_sent_once() -> None:
    """§3.2 Collected digits are cleared after being sent in TwiML mode."""
    server = Server({"menu": "<Redirect>x</Redirect>", "x": ""})
    call(MENU, "press 1", "pivot", server)
    assert ["Digits" in server.sent(n) for n in (0, 1)] == [True, False]


def test_a_key_during_a_prompt_is_sent_by_pivot() -> None:
    """§3.3 DTMF pressed during `tts/play` stops the prompt and lands in collection `default`."""
    server = Server({"x": ""})
    simulation = call("<Say>A long text to speak.</Say><Redirect>x</Redirect>", "press! 5", "pivot", server)
    assert not simulation.spoken[0].complete
    assert server.sent()["Digits"] == "5"


# --- recordings and bridges ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flavour", "names"),
    [
        pytest.param("twiml", {"RecordingUrl", "RecordingDuration", "RecordingSid", "Digits"}, id="§6 Record"),
        pytest.param("pivot", {"RecordingUrl", "RecordingDuration", "RecordingSid", "Digits"}, id="§3.5 Recording*"),
        pytest.param("verboice", {"RecordingUrl"}, id="§2.3 `RecordingUrl`"),
    ],
)
def test_a_recording_is_told(flavour: str, names: set[str]) -> None:
    server = Server({"done": "<Say>Done.</Say>"})
    simulation = call('<Record action="done"/>', "say hello; press! 1", flavour, server)
    sent = server.sent()
    assert {name for name in sent if name.startswith("Recording") or name == "Digits"} == names
    assert sent["RecordingUrl"] == "sim:recording-1"
    assert sent.get("Digits", "1") == "1"
    assert texts(simulation) == ["Done."]
    assert [taken.format for taken in simulation.recordings] == ["mp3" if flavour == "pivot" else "wav"]


@pytest.mark.parametrize(
    ("flavour", "seconds", "reason"),
    [
        pytest.param("twiml", 5, "silence", id="§6 Record timeout 5"),
        pytest.param("pivot", 5, "silence", id="§3.5 Record timeout 5"),
        pytest.param("verboice", 10, "limit", id="§2.3 Record `timeout` (10 s)"),
    ],
)
def test_what_ends_a_recording(flavour: str, seconds: int, reason: str) -> None:
    simulation = call('<Record action="done"/>', "", flavour, Server({"done": ""}))
    assert [(taken.duration, taken.reason) for taken in simulation.recordings] == [(seconds, reason)]


@every_flavour
def test_a_recording_without_an_action_asks_the_document_again(flavour: str) -> None:
    """§6 action = current URL."""
    server = Server({"start?x=1": "<Say>Again.</Say>"})
    assert texts(call("<Record/>", "say hello; press! 1", flavour, server)) == ["Again."]


@pytest.mark.parametrize(
    ("flavour", "script", "sent"),
    [
        pytest.param("twiml", "answer 20", ("completed", "20"), id="§6 completed"),
        pytest.param("twiml", "busy", ("busy", "0"), id="§6 busy"),
        pytest.param("twiml", "noanswer", ("no-answer", "0"), id="§6 no-answer"),
        pytest.param("twiml", "reject 404", ("failed", "0"), id="§6 failed"),
        pytest.param("pivot", "answer 20", ("completed", "20"), id="§3.5 completed"),
        pytest.param("pivot", "noanswer", ("no-answer", "0"), id="§3.5 Status words no-answer"),
        pytest.param("verboice", "answer 20", ("completed", None), id="§2.3 dial_status completed"),
        pytest.param("verboice", "busy", ("busy", None), id="§2.3 dial_status busy"),
        pytest.param("verboice", "noanswer", ("no_answer", None), id="§2.3 dial_status no_answer"),
        pytest.param("verboice", "reject 404", ("failed", None), id="§2.3 dial_status failed"),
    ],
)
def test_the_outcome_of_a_dial_is_told(flavour: str, script: str, sent: tuple[str, str | None]) -> None:
    server = Server({"after": "<Say>After.</Say>"})
    simulation = call('<Dial action="after">+40 21 12</Dial>', script, flavour, server)
    assert (server.sent()["DialCallStatus"], server.sent().get("DialCallDuration")) == sent
    assert texts(simulation) == ["After."]


@every_flavour
@pytest.mark.parametrize("script", ["answer 5", "busy", "noanswer", "reject 503"])
def test_what_follows_a_dial(flavour: str, script: str) -> None:
    """§0, 2. TwiML `<Dial>`: flow goes on afterwards."""
    simulation = call("<Dial>100</Dial><Say>Next.</Say>", script, flavour)
    assert texts(simulation) == ["Next."]
    assert simulation.path == "Say.2"


@every_flavour
def test_a_time_limit_ends_a_bridge(flavour: str) -> None:
    """§3.5 timeLimit."""
    simulation = call('<Dial timeLimit="30">100</Dial>', "answer 100", flavour)
    assert simulation.duration == pytest.approx(33.0)


@every_flavour
@pytest.mark.parametrize(("seconds", "status"), [(29, "failed"), (30, "completed")])
def test_a_bridge_that_is_too_short_is_no_success(flavour: str, seconds: int, status: str) -> None:
    """§2.3 Dial successfulAfter, DialCallStatus."""
    server = Server({"after": "<Hangup/>"})
    call('<Dial successfulAfter="30s" action="after">100</Dial>', f"answer {seconds}", flavour, server)
    assert server.sent()["DialCallStatus"] == status


@pytest.mark.parametrize(("flavour", "reason"), [("pivot", "503 Rejected"), ("twiml", "603 Rejected")])
def test_a_rejected_call_is_never_answered(flavour: str, reason: str) -> None:
    """§3.5 Reject rejected -> 503."""
    simulation = call("<Reject/>", "", flavour)
    assert simulation.ending.reason == reason
    assert simulation.duration == 0.0


@every_flavour
def test_a_queue_and_what_comes_after(flavour: str) -> None:
    """§6 Enqueue."""
    server = Server({"after": "<Say>After.</Say>"})
    simulation = call('<Enqueue action="after">q</Enqueue>', "answer 7", flavour, server)
    assert texts(simulation) == ["After."]
    if flavour == "twiml":
        told = ("QueueResult", "QueueTime", "QueuePosition", "CurrentQueueSize", "AvgQueueTime")
        assert [server.sent()[name] for name in told] == ["completed", "0", "1", "1", "0"]


# --- the example ------------------------------------------------------------------------------

EXAMPLE = Path(__file__).parents[2] / "examples" / "opinion.xml"


def test_the_example_has_no_findings() -> None:
    knowledge = Knowledge(known_voice=known_voice, known_language=known_language)
    assert check_compiled(compile_flow(EXAMPLE.read_bytes(), name=EXAMPLE.name), knowledge) == ()
    assert f"`{EXAMPLE.name}`" in (EXAMPLE.parent / "README.md").read_text()


@pytest.mark.parametrize(
    ("script", "asked", "last"),
    [
        ("press! 1", "http://127.0.0.1:9000/opinion", "How did we do? Press one for well, two for badly."),
        ("wait 6; press! 2", "http://127.0.0.1:9000/opinion", "Or stay on the line, and tell us in your own words."),
        ("wait 24; say hello", "http://127.0.0.1:9000/recorded", "Thank you."),
        ("", "http://127.0.0.1:9000/recorded", "Thank you."),
    ],
)
def test_ways_through_the_example(script: str, asked: str, last: str) -> None:
    graph_ = compile_flow(EXAMPLE.read_bytes(), name=EXAMPLE.name).graph
    assert graph_ is not None
    answers = {
        f"http://127.0.0.1:9000/{name}": Reply(200, "text/xml", document.encode(), "http://127.0.0.1:9000/")
        for name, document in (
            ("opinion", "<Response/>"),
            ("recorded", "<Response><Say>Thank you.</Say></Response>"),
        )
    }
    simulation = simulate(graph_, script, scenario=Scenario(fetch=canned(answers)))
    assert [fetched.url for fetched, _ in simulation.noted(Fetched)] == [asked]
    assert texts(simulation)[-1] == last

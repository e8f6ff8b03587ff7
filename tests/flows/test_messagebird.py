"""What MessageBird call flows compile to. Docstrings and ids quote the lines of the contract (§5) that they are for."""

from typing import Any

import pytest
from messagebird_kit import flow, graph_of, only, order_of, say, step, warnings_of

from flows import graph as g
from flows.dialects.messagebird import compile_messagebird
from flows.orders import DetectMachine, Dial, SendDigits, StartRecording, Target
from flows.prompts import Draft, Prompt
from flows.templates import Condition, Template, Var, var
from media.tts.voices import known_language

WAV = "https://example.org/a.wav"


def walk(document: object) -> list[str]:
    """The kinds of the steps that a call without keys, variables or failures comes by."""
    graph = graph_of(document)
    at: g.Step | None = graph.steps[graph.start]
    kinds = []
    while at is not None:
        kinds.append(type(at).__name__)
        at = graph.follow(at, g.NONE if isinstance(at, g.Collect) else g.NEXT)
    return kinds


def paths(document: object) -> list[str]:
    return [each.path for each in graph_of(document).steps.values() if isinstance(each, g.Enter)]


# --- the flow --------------------------------------------------------------------------------


def test_steps_are_carried_out_in_order_and_then_the_call_is_hung_up() -> None:
    """§5.1 Flow: id title record(false) steps[] default createdAt updatedAt; §5.3 end of steps = hang up"""
    document = flow(
        say(extra={"id": "first"}),
        step("play", media=WAV),
        id="de3ed163-d5fc-45f4-b8c4-7eea7458c635",
        record=False,
        default=True,
        createdAt="2017-03-06T13:34:14Z",
        updatedAt="2017-03-06T13:34:14Z",
        _links={"self": "/call-flows/de3ed163-d5fc-45f4-b8c4-7eea7458c635"},
    )
    assert warnings_of(document) == []
    assert graph_of(document).name == "A flow"
    assert walk(document) == ["Enter", "Enter", "Answer", "Branch", "Say", "Enter", "Answer", "Say", "HangUp"]


def test_a_step_is_on_the_path_by_its_id_or_its_number() -> None:
    """§5.1 Step `id action options`; §5.3 Missing step id"""
    assert paths(flow(say(extra={"id": "a b/č"}), step("hangup"))) == ["", "a%20b%2F%C4%8D", "2"]


def test_steps_remember_where_they_come_from() -> None:
    graph = graph_of(flow(say(), step("hangup"), record=True))
    assert {each.origin for each in graph.steps.values()} == {"", "/record", "/steps/0", "/steps/1"}


def test_a_flow_without_steps_says_so() -> None:
    assert walk(flow()) == ["Enter", "HangUp"]
    assert warnings_of(flow()) == [("says-nothing", "/steps")]


def test_record_true_records_the_call_from_its_answer() -> None:
    """§5.3 `record:true` on a flow: both directions per leg, starts at answer"""
    order = order_of(flow(say(), record=True), StartRecording)
    assert (order.sides, order.on, order.limit, order.format) == ("stereo", "answer", 0, "wav")
    assert walk(flow(say(), record=True))[:3] == ["Enter", "Answer", "Perform"]
    assert walk(flow(step("transfer", destination="1"), record=True))[:2] == ["Enter", "Perform"]
    assert "Perform" not in walk(flow(step("hangup"), record=False))


def test_hangup_ends_the_call() -> None:
    """§5.3 hangup step = BYE"""
    assert walk(flow(step("hangup"))) == ["Enter", "Enter", "HangUp"]
    assert walk({"title": "t", "steps": [{"action": "hangup"}]}) == ["Enter", "Enter", "HangUp"]


def test_variables_of_the_call_and_of_the_flow() -> None:
    """§5.2 variables {{…}}: callID, source, destination and names that keys were put in"""
    (prompt,) = only(flow(say("{{callID}} {{source}}, {{ destination }}: {{pin}}{{callid}}")), g.Say).prompts
    names = ("call.id", " ", "call.caller", ", ", "call.callee", ": ", "var.pin", "var.callid")
    parts = tuple(each if each in (" ", ", ", ": ") else Var(each) for each in names)
    assert prompt == Draft(Template(parts), voice="male", language="en-gb")


# --- say ---------------------------------------------------------------------------------------


def test_say() -> None:
    """§5.1 say.payload, language (34 listed), voice male|female"""
    spoken = only(flow(say("Hi.", language="nl-nl", voice="female")), g.Say)
    assert spoken.prompts == (Prompt("Hi.", voice="female", language="nl-nl"),)
    assert spoken.times == 1


@pytest.mark.parametrize(("repeat", "times"), [(1, 1), (3, 3), ("3", 3), (10, 10), ("10", 10), (2.0, 2), (None, 1)])
def test_say_repeat(repeat: object, times: int) -> None:
    """§5.1 repeat 1..10; §5.3 `repeat` accepts "3" or 3; `repeat` = total times spoken"""
    assert only(flow(say(repeat=repeat)), g.Say).times == times


def test_say_repeat_as_the_go_library_spells_it() -> None:
    assert only(flow(say(Repeat=4)), g.Say).times == 4


@pytest.mark.parametrize(
    ("given", "spoken"),
    [("EN-gb", "en-gb"), ("en_US", "en-us"), ("en-uk", "en-gb"), ("es-LA", "es-mx"), ("en-GB-WLS", "en-gb-wls")],
)
def test_say_language(given: str, spoken: str) -> None:
    """§5.3 `language`: case-insensitive; map en-uk->en-gb, es-la->es-mx"""
    document = flow(say(language=given))
    assert only(document, g.Say).prompts[0].language == spoken
    assert warnings_of(document) == []


def test_say_language_that_is_not_listed_is_only_warned_of() -> None:
    """§5.3 language … list is advisory"""
    assert warnings_of(flow(say(language="fi-fi"))) == [("unlisted-value", "/steps/0/options/language")]


def test_all_34_languages_are_listed() -> None:
    """§5.1 language (34 listed)"""
    listed = """cy-gb,da-dk,de-de,el-gr,en-au,en-gb,en-gb-wls,en-in,en-us,es-es,es-mx,es-us,fr-ca,fr-fr,id-id,is-is,
    it-it,ja-jp,ko-kr,ms-my,nb-no,nl-nl,pl-pl,pt-br,pt-pt,ro-ro,ru-ru,sv-se,ta-in,th-th,tr-tr,vi-vn,zh-cn,zh-hk"""
    languages = [language.strip() for language in listed.split(",")]
    assert len(languages) == 34
    assert warnings_of(flow(*(say(language=language) for language in languages))) == []
    assert [language for language in languages if not known_language(language)] == []


@pytest.mark.parametrize(("loop", "times"), [(True, 0), (False, 1), (0, 1), (5, 5), ("5", 5)])
def test_loop(loop: object, times: int) -> None:
    """§5.2 options … `loop`"""
    assert only(flow(say(loop=loop)), g.Say).times == times
    assert only(flow(step("play", media=WAV, loop=loop)), g.Say).times == times


def test_loop_makes_repeat_superfluous() -> None:
    assert warnings_of(flow(say(loop=True, repeat=2))) == [("ignored-option", "/steps/0/options/repeat")]


# --- machines ----------------------------------------------------------------------------------


def test_ifmachine_is_delay_unless_said_otherwise() -> None:
    """§5.1 ifMachine continue|delay|hangup (delay), machineTimeout 400..10000 ms (7000)"""
    assert order_of(flow(say()), DetectMachine) == DetectMachine(patience=7.0, wait=True)
    assert order_of(flow(say(ifMachine="delay", machineTimeout=400)), DetectMachine).patience == 0.4
    assert order_of(flow(say(machineTimeout="10000")), DetectMachine).patience == 10.0
    assert order_of(flow(say(ifMachine="hangup")), DetectMachine).wait is False
    assert "DetectMachine" not in str(graph_of(flow(say(ifMachine="continue"))).steps)


def test_ifmachine_asks_on_outbound_calls_only() -> None:
    """§5.3 `ifMachine` has a meaning only on outbound calls (incoming: `continue`)"""
    graph = graph_of(flow(say()))
    (branch,) = (each for each in graph.steps.values() if isinstance(each, g.Branch))
    (case,) = branch.cases
    assert Condition("call.direction", "==", "outbound") in case.conditions
    assert isinstance(graph.follow(branch), g.Say)
    ask = graph.follow(branch, case.exit)
    assert isinstance(ask, g.Perform)


def test_ifmachine_delay_speaks_to_the_machine_when_its_greeting_is_over() -> None:
    """§5.3 `delay`: wait until end of greeting/beep or machineTimeout"""
    graph = graph_of(flow(say()))
    (ask,) = (each for each in graph.steps.values() if isinstance(each, g.Perform))
    for exit_name in ("machine", g.NEXT, g.UNSUPPORTED):
        note = graph.follow(ask, exit_name)
        assert isinstance(note, g.SetVariables)
        assert note.values == (("machine.found", "yes" if exit_name == "machine" else "no"),)
        assert isinstance(graph.follow(note), g.Say)


def test_ifmachine_hangup_hangs_up_on_a_machine() -> None:
    graph = graph_of(flow(say(ifMachine="hangup")))
    (ask,) = (each for each in graph.steps.values() if isinstance(each, g.Perform))
    note = graph.follow(ask, "machine")
    assert note is not None
    assert isinstance(graph.follow(note), g.HangUp)


def test_ifmachine_is_asked_once_in_a_call() -> None:
    """A machine that was found is remembered: what comes later neither waits nor asks again."""
    document = flow(say("1"), say("2"), say("3", ifMachine="hangup"))
    assert order_of(document, DetectMachine).wait
    branches = [each for each in graph_of(document).steps.values() if isinstance(each, g.Branch)]
    assert [[case.exit for case in branch.cases] for branch in branches] == [["ask"], ["machine"]]
    # Where a step may be left out, the next one has to ask too.
    maybe = say("1", extra={"conditions": [{"variable": "x", "operator": "exists"}]})
    orders = [each for each in graph_of(flow(maybe, say("2"))).steps.values() if isinstance(each, g.Perform)]
    assert len(orders) == 2


def test_ifmachine_of_a_transfer() -> None:
    """§5.2 Transfer also accepts `ifMachine`"""
    document = flow(step("transfer", destination="100", ifMachine="hangup", machineTimeout=500))
    assert order_of(document, DetectMachine) == DetectMachine(patience=0.5, wait=False)
    assert "DetectMachine" not in str(graph_of(flow(step("transfer", destination="100"))).steps)


def test_machinetimeout_without_its_ifmachine_has_no_effect() -> None:
    for document in (
        flow(say(ifMachine="continue", machineTimeout=500)),
        flow(step("transfer", destination="100", machineTimeout=500)),
    ):
        assert warnings_of(document) == [("ignored-option", "/steps/0/options/machineTimeout")]


# --- play and pause ----------------------------------------------------------------------------


def test_play() -> None:
    """§5.1 play.media (WAV 8 kHz 16 bit URL); §5.3 play: accept WAV any rate/MP3"""
    assert only(flow(step("play", media=WAV)), g.Say).prompts == (Prompt(media=WAV),)
    assert only(flow(step("play", media="http://h/a.mp3")), g.Say).prompts == (Prompt(media="http://h/a.mp3"),)


def test_play_a_list() -> None:
    """§5.2 `media` list"""
    urls = [WAV, "http://h/{{pin}}.wav"]
    first, second = only(flow(step("play", media=urls)), g.Say).prompts
    assert first == Prompt(media=WAV)
    assert second == Draft(media=Template(("http://h/", Var("var.pin"), ".wav")))


def test_pause() -> None:
    """§5.1 pause.length s; §0.4 length = s"""
    assert only(flow(step("pause", length=3)), g.Pause).seconds == 3.0
    assert only(flow(step("pause", length="3")), g.Pause).seconds == 3.0
    assert warnings_of(flow(step("pause", length=0))) == [("ignored-option", "/steps/0/options/length")]


# --- record ------------------------------------------------------------------------------------


def test_record() -> None:
    """§5.1 record.maxLength (0 = none), timeout s (absent = no silence detection), finishOnKey (none), transcribe"""
    record = only(flow(step("record")), g.Record)
    assert (record.limit, record.silence, record.stop_keys, record.transcribe) == (0, 0, "", "")
    assert (record.sides, record.format, record.into, record.beep) == ("caller", "wav", "recording", False)
    assert walk(flow(step("record"))) == ["Enter", "Enter", "Answer", "Record", "HangUp"]


def test_record_limits() -> None:
    """§0.4 MessageBird length/timeout/maxLength = s"""
    record = only(flow(step("record", maxLength=60, timeout="10")), g.Record)
    assert (record.limit, record.silence) == (60, 10)
    zero = only(flow(step("record", maxLength=0, timeout=0, finishOnKey="", onFinish="")), g.Record)
    assert (zero.limit, zero.silence, zero.stop_keys) == (0, 0, "")


@pytest.mark.parametrize(("finish", "keys"), [("any", "0123456789*#"), ("#", "#"), ("*", "*"), ("none", "")])
def test_record_finishonkey(finish: str, keys: str) -> None:
    """§5.1 finishOnKey any|#|*|none (none); §5.3 finishOnKey `any` includes 0-9*#"""
    assert only(flow(step("record", finishOnKey=finish)), g.Record).stop_keys == keys


@pytest.mark.parametrize(
    ("given", "language"), [("nl-NL", "nl-nl"), ("en-UK", "en-gb"), ("es-LA", "es-mx"), ("pt-br", "pt-br")]
)
def test_record_transcribe(given: str, language: str) -> None:
    """§5.1 transcribe, transcribeLanguage (de-DE en-AU en-UK en-US es-ES es-LA fr-FR it-IT nl-NL pt-BR)"""
    document = flow(step("record", transcribe=True, transcribeLanguage=given))
    assert only(document, g.Record).transcribe == language
    assert warnings_of(document) == []


def test_record_transcribelanguage_alone_does_nothing() -> None:
    document = flow(step("record", transcribeLanguage="nl-NL"))
    assert only(document, g.Record).transcribe == ""
    assert warnings_of(document) == [("ignored-option", "/steps/0/options/transcribeLanguage")]


def test_record_onfinish_posts_the_recording_and_takes_the_next_flow() -> None:
    """§5.2 onFinish: POST to the URL, same query, JSON body = recording object without a Content-Type header"""
    fetch = only(flow(step("record", onFinish="https://h/done?x=1"), say()), g.Fetch)
    assert (fetch.method, fetch.url, fetch.encoding, fetch.content_type) == ("POST", "https://h/done?x=1", "json", "-")
    assert [each.name for each in fetch.query] == ["callID", "source", "destination", "variables"]
    body = {each.name: each.value for each in fetch.params}
    assert body["id"] == var("recording.id")
    assert body["legId"] == var("call.leg")
    assert body["duration"] == var("recording.duration")
    assert dict(fetch.readers) == {"": ("messagebird",)}


def test_record_goes_on_with_the_steps_when_onfinish_fails() -> None:
    graph = graph_of(flow(step("record", onFinish="https://h/done"), say()))
    (fetch,) = (each for each in graph.steps.values() if isinstance(each, g.Fetch))
    after = graph.follow(fetch, g.FAILED)
    assert isinstance(after, g.Enter)
    assert after.path == "2"


# --- fetchCallFlow -----------------------------------------------------------------------------


def test_fetchcallflow() -> None:
    """§5.2 fetchCallFlow: GET with query callID, source, destination, answer = flow JSON"""
    fetch = only(flow(step("fetchCallFlow", url="http://h/{{pin}}?a=b")), g.Fetch)
    assert fetch.url == Template(("http://h/", Var("var.pin"), "?a=b"))
    assert fetch.method == "GET"
    query = [(each.name, each.value, each.always) for each in fetch.query if not each.each]
    assert query == [
        ("callID", var("call.id"), True),
        ("source", var("call.caller"), True),
        ("destination", var("call.callee"), True),
    ]
    assert (fetch.params, fetch.returns, fetch.last_good) == ((), False, False)
    assert dict(fetch.readers) == {"": ("messagebird",)}


def test_steps_after_fetchcallflow_are_ignored() -> None:
    """§5.2 fetchCallFlow … Steps after it are ignored"""
    document = flow(step("fetchCallFlow", url="http://h/"), say())
    assert warnings_of(document) == [("unreachable", "/steps/1")]
    assert walk(document) == ["Enter", "Enter", "Fetch", "HangUp"]


# --- transfer and sendKeys ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("destination", "target"),
    [
        ("31612345678", Target(kind="number", value="31612345678")),
        (31612345678, Target(kind="number", value="31612345678")),
        ("+31 6 12345678", Target(kind="number", value="+31 6 12345678")),
        ("sip:foobar@example.com", Target(kind="uri", value="sip:foobar@example.com")),
        ("{{who}}", Target(kind="number", value=var("var.who"))),
        ("sip:{{who}}@h", Target(kind="uri", value=Template(("sip:", Var("var.who"), "@h")))),
    ],
)
def test_transfer_destination(destination: object, target: Target) -> None:
    """§5.1 transfer.destination (E.164 or SIP URI); §0.5 numbers are strings, accept both"""
    assert order_of(flow(step("transfer", destination=destination)), Dial).targets == (target,)


@pytest.mark.parametrize(("record", "sides"), [("in", "peer"), ("out", "caller"), ("both", "each"), ("", "")])
def test_transfer_record(record: str, sides: str) -> None:
    """§5.3 `transfer.record in` = destination's voice, `out` = source's, `both` = two files"""
    assert order_of(flow(step("transfer", destination="100", record=record)), Dial).record == sides


def test_transfer_mask_and_timeout() -> None:
    """§5.2 options … `mask`, `timeout`"""
    dial = order_of(flow(step("transfer", destination="100", mask=True, timeout=12)), Dial)
    assert (dial.caller_id, dial.timeout) == (var("call.callee"), 12.0)
    dial = order_of(flow(step("transfer", destination="100", mask=False, timeout=0)), Dial)
    assert (dial.caller_id, dial.timeout) == ("", 30.0)


def test_transfer_goes_on_with_the_next_step_however_it_went() -> None:
    """§0.2 MessageBird `transfer`: flow goes on afterwards; §5.3 Destination failing: go on too"""
    graph = graph_of(flow(step("transfer", destination="100"), say()))
    (dial,) = (each for each in graph.steps.values() if isinstance(each, g.Perform) and isinstance(each.order, Dial))
    for exit_name in (g.NEXT, g.FAILED, "USER_BUSY", "NO_ANSWER", "sip:486", g.UNSUPPORTED):
        after = graph.follow(dial, exit_name)
        assert isinstance(after, g.Enter)
        assert after.path == "2"


def test_sendkeys() -> None:
    """§5.2 options `keys,duration,interval` (sendKeys)"""
    keys = order_of(flow(step("sendKeys", keys="12#{{pin}}", duration=200, interval="50")), SendDigits)
    assert keys == SendDigits(digits=Template(("12#", Var("var.pin"))), tone=0.2, gap=0.05)
    assert order_of(flow(step("sendKeys", keys=12)), SendDigits) == SendDigits(digits="12", tone=0.1, gap=0.1)


# --- keys and conditions -----------------------------------------------------------------------

MENU = {"onKeypressGoto": "menu", "onKeypressVar": "choice"}


def test_onkeypressgoto_and_onkeypressvar() -> None:
    """§5.2 Step extras: `onKeypressGoto` (step id), `onKeypressVar`"""
    graph = graph_of(flow(say(repeat=2, extra=MENU), step("hangup", extra={"id": "menu"})))
    (collect,) = (each for each in graph.steps.values() if isinstance(each, g.Collect))
    assert (collect.into, collect.most, collect.finish, collect.keys) == ("var.choice", 1, "", "0123456789*#")
    assert (collect.first, collect.repeats, collect.prompts) == (0, 1, (Prompt("Hello.", "", "male", "en-gb"),))
    for exit_name in (g.NEXT, g.SHORT, g.FINISHED):
        assert graph.follow(collect, exit_name) == graph.steps["2.enter"]
    assert graph.follow(collect, g.NONE) == graph.steps["2.enter"]


def test_without_keys_the_next_step_follows() -> None:
    graph = graph_of(flow(say(extra=MENU), step("pause", length=5, extra=MENU), say(extra={"id": "menu"})))
    first, second = (each for each in graph.steps.values() if isinstance(each, g.Collect))
    assert graph.follow(first, g.NONE) == graph.steps["2.enter"]
    assert graph.follow(first) == graph.follow(second) == graph.steps["3.enter"]
    assert (second.first, second.prompts) == (5.0, ())


def test_onkeypressvar_alone_goes_on_with_the_next_step() -> None:
    graph = graph_of(flow(say(extra={"onKeypressVar": "choice"}), say(ifMachine="continue")))
    (collect,) = (each for each in graph.steps.values() if isinstance(each, g.Collect))
    assert set(collect.exits.values()) == {"2.enter"}


def test_onkeypressgoto_alone_keeps_the_key_as_well() -> None:
    assert only(flow(say(extra={"onKeypressGoto": "1", "id": "1"})), g.Collect).into == "digits.keypress"


@pytest.mark.parametrize(
    ("extra", "most", "finish"),
    [
        ({"maxNumKeys": 4}, 4, ""),
        ({"maxNumKeys": "4", "endKey": "#"}, 4, "#"),
        ({"endKey": "*"}, 0, "*"),
        ({"endKey": 9}, 0, "9"),
        ({}, 1, ""),
    ],
)
def test_endkey_and_maxnumkeys(extra: dict[str, Any], most: int, finish: str) -> None:
    """§5.2 Step extras: … `endKey`, `maxNumKeys`"""
    collect = only(flow(say(extra={"onKeypressVar": "pin", **extra})), g.Collect)
    assert (collect.least, collect.most, collect.finish) == (1, most, finish)


def test_keys_end_what_loops() -> None:
    """§5.2 `loop`: with onKeypressGoto until a key is pressed"""
    graph = graph_of(flow(step("play", media=WAV, loop=True, extra=MENU), say(extra={"id": "menu"})))
    (collect,) = (each for each in graph.steps.values() if isinstance(each, g.Collect))
    assert graph.follow(collect, g.NONE) == collect
    assert collect.first > 0


def test_a_key_that_ends_a_recording_leads_on() -> None:
    graph = graph_of(flow(step("record", extra=MENU), step("hangup", extra={"id": "menu"})))
    (record,) = (each for each in graph.steps.values() if isinstance(each, g.Record))
    assert record.stop_keys == "0123456789*#"
    put = graph.follow(record)
    assert isinstance(put, g.SetVariables)
    assert put.values == (("var.choice", var("recording.key")),)
    branch = graph.follow(put)
    assert isinstance(branch, g.Branch)
    assert branch.cases[0].conditions == (Condition("recording.key", "exists"),)
    assert graph.follow(branch, branch.cases[0].exit) == graph.steps["2.enter"]
    assert only(flow(step("record", finishOnKey="#", extra={"onKeypressVar": "x"})), g.Record).stop_keys == "#"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"variable": "pin", "operator": "==", "value": "1"}, Condition("var.pin", "==", "1")),
        ({"variable": "{{pin}}", "operator": "=", "value": 1}, Condition("var.pin", "==", "1")),
        ({"variable": "source", "operator": "<>", "value": "{{x}}"}, Condition("call.caller", "!=", var("var.x"))),
        ({"variable": "pin", "operator": "exists"}, Condition("var.pin", "exists", "")),
        ({"variable": "pin", "operator": "==", "value": ""}, Condition("var.pin", "==", "")),
        ({"variable": "pin", "operator": ">", "value": 1.5}, Condition("var.pin", ">", "1.5")),
        ({"variable": "pin", "operator": "==", "value": True}, Condition("var.pin", "==", "true")),
    ],
)
def test_conditions(given: dict[str, Any], read: Condition) -> None:
    """§5.2 Step extras: … `conditions[]{variable,operator,value}`"""
    graph = graph_of(flow(step("pause", length=1, extra={"conditions": [given]}), say()))
    branch = graph.steps["1.conditions"]
    assert isinstance(branch, g.Branch)
    assert branch.cases[0].conditions == (read,)
    assert graph.follow(branch, branch.cases[0].exit) == graph.steps["1.enter"]
    assert graph.follow(branch) == graph.steps["2.enter"]


# --- nothing is ignored in silence -------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "where"),
    [
        (flow(say(), colour="red"), "/colour"),
        (flow(say(extra={"option": {}})), "/steps/0/option"),
        (flow(say(payLoad="x")), "/steps/0/options/payLoad"),
        (flow(say(endKey="#")), "/steps/0/options/endKey"),
        (flow(step("play", media=WAV, repeat=3)), "/steps/0/options/repeat"),
        (flow(step("hangup", reason="no")), "/steps/0/options/reason"),
        (flow(step("hangup", extra={"onKeypressVar": "x"})), "/steps/0/onKeypressVar"),
        (flow(step("transfer", destination="1", extra={"maxNumKeys": 1})), "/steps/0/maxNumKeys"),
        (flow(say(extra={"endKey": "#"})), "/steps/0/endKey"),
        (flow(step("record", extra={"onKeypressVar": "x", "endKey": "#"})), "/steps/0/endKey"),
        (
            flow(say(extra={"conditions": [{"variable": "x", "operator": "exists", "value": 1}]})),
            "/steps/0/conditions/0/value",
        ),
        (
            flow(say(extra={"conditions": [{"variable": "x", "operator": "exists", "and": 1}]})),
            "/steps/0/conditions/0/and",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unknown_and_unused_options_are_warned_of(document: object, where: str) -> None:
    """§5.3 unknown option *keys*: ignore + warn"""
    assert warnings_of(document) == [("ignored-option", where)]


def test_what_client_libraries_write_for_nothing_is_nothing() -> None:
    """Null, empty text, 0, false and PHP's empty array, where a library writes every field it knows."""
    nothing = {"destination": None, "media": "", "length": 0, "transcribe": False, "mask": False, "onFinish": None}
    document = flow(
        {**say(**nothing), "id": "", "onKeypressGoto": "", "onKeypressVar": None, "conditions": None},
        {"action": "hangup", "options": []},
        {"action": "hangup", "options": None},
        id=None,
        createdAt="",
    )
    assert [code for code, _ in warnings_of(document)] == ["unreachable"]


def test_the_name_of_a_document_wins_over_its_title() -> None:
    compiled = compile_messagebird(flow(say()), name="flow.json")
    assert compiled.graph is not None
    assert compiled.graph.name == "flow.json"

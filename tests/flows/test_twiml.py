"""TwiML verbs one by one. Each test, or its id, quotes the line of docs/dialects/lines.md that it holds."""

import pytest
from twiml_kit import BASE, FLAVOURS, compiled, findings, graph, of, only, order, params, way

from flows.dialects import compile_flow
from flows.findings import has_errors
from flows.graph import (
    FAILED,
    FINISHED,
    NEXT,
    NONE,
    SHORT,
    Answer,
    Collect,
    Enter,
    Fetch,
    HangUp,
    Pause,
    Perform,
    Record,
    Say,
    SetVariables,
    Tell,
)
from flows.orders import BridgeSession, Enqueue, LeaveQueue, Respond, SendDigits
from flows.prompts import Prompt

every_flavour = pytest.mark.parametrize("flavour", FLAVOURS)


@every_flavour
def test_verbs_are_carried_out_one_after_the_other(flavour: str) -> None:
    """§6: the verbs of a document."""
    steps = graph("<Say>a</Say><Pause/><Say>b</Say>", flavour)
    answered = [] if flavour == "twiml" else ["Answer"]
    assert way(steps)[:4] == ["Enter", "Enter", "Answer", "Say"]
    assert way(steps)[4:] == ["Enter", *answered, "Pause", "Enter", "Answer", "Say"]
    assert [step.path for step in of(steps, Enter)] == ["", "Say.1", "Pause.2", "Say.3"]


def test_every_step_knows_its_line() -> None:
    document = "<?xml version='1.0'?>\n<Response>\n  <Say>a</Say>\n\n  <Play>http://h/a.wav</Play></Response>"
    steps = compile_flow(document, dialect="twiml").graph
    assert steps is not None
    assert [step.origin for step in of(steps, Say)] == ["line 3", "line 5"]
    assert steps.steps[steps.start].origin == "line 2"


def test_an_empty_response_hangs_up() -> None:
    assert way(graph("")) == ["Enter"]
    assert findings("") == [("says-nothing", "info")]


# --- Say, Play, Pause -----------------------------------------------------------------------


@every_flavour
@pytest.mark.parametrize(
    ("attributes", "prompt", "times"),
    [
        pytest.param("", Prompt("Hi & bye"), 1, id="§6 Say loop 1"),
        pytest.param('language="ro"', Prompt("Hi & bye", language="ro"), 1, id="§2.3 Say language"),
        pytest.param('voice="man"', Prompt("Hi & bye", voice="male"), 1, id="§6 Say voice man"),
        pytest.param('voice="woman"', Prompt("Hi & bye", voice="female"), 1, id="§6 Say voice woman"),
        pytest.param('voice="alice"', Prompt("Hi & bye", voice="female"), 1, id="§6 Say voice alice"),
        pytest.param('loop="3"', Prompt("Hi & bye"), 3, id="§3.5 Play/Say loop"),
        pytest.param('loop="0"', Prompt("Hi & bye"), 0, id="§3.5 Play/Say loop 0 = endless"),
    ],
)
def test_say(flavour: str, attributes: str, prompt: Prompt, times: int) -> None:
    step = only(f"<Say {attributes}>\n Hi &amp;\n bye </Say>", Say, flavour)
    assert (step.prompts, step.times) == ((prompt,), times)


def test_the_language_of_a_flow_holds_where_none_is_named() -> None:
    assert only("<Say>a</Say>", Say, language="ro").prompts == (Prompt("a", language="ro"),)
    assert only('<Say language="en">a</Say>', Say, language="ro").prompts == (Prompt("a", language="en"),)


def test_nested_text_is_trimmed_and_spoken() -> None:
    """§2.3 Nested text trimmed."""
    verbs = "<Say>  one <emphasis>two</emphasis>\n three </Say>"
    assert only(verbs, Say).prompts == (Prompt("one two three"),)
    assert findings(verbs) == [("ignored-option", "warning")]


def test_an_endless_prompt_hides_what_follows_unless_a_key_ends_it() -> None:
    """§3.5 Play/Say loop 0 = endless."""
    verbs = '<Play loop="0">http://h/a.wav</Play><Say>x</Say>'
    assert ("unreachable", "warning") in findings(verbs)
    assert findings(verbs, "pivot") == []


@pytest.mark.parametrize(
    ("flavour", "limit"),
    [
        pytest.param("twiml", 4096, id="§6 Say"),
        pytest.param("pivot", 4000, id="§3.5 Say text cap 4000"),
        pytest.param("verboice", 4900, id="§2.3 Say without a limit"),
    ],
)
def test_long_texts_are_cut(flavour: str, limit: int) -> None:
    verbs = f"<Say>{'x' * 4900}</Say>"
    assert len(only(verbs, Say, flavour).prompts[0].text) == limit  # type: ignore[arg-type, union-attr]
    assert findings(verbs, flavour) == ([("text-too-long", "warning")] if limit < 4900 else [])


@pytest.mark.parametrize(
    ("flavour", "attributes", "stop_keys"),
    [
        pytest.param("twiml", "", "", id="§6 Say is not ended by keys"),
        pytest.param("verboice", "", "", id="§2.3 Say is not ended by keys"),
        pytest.param("pivot", "", "0123456789*#ABCD", id="§3.3 DTMF pressed during tts/play stops the prompt"),
        pytest.param("pivot", 'terminators="1#"', "1#", id="§3.4 terminators"),
    ],
)
def test_keys_that_end_a_prompt(flavour: str, attributes: str, stop_keys: str) -> None:
    for verb in (f"<Say {attributes}>a</Say>", f"<Play {attributes}>http://h/a.wav</Play>"):
        step = only(verb, Say, flavour)
        assert step.stop_keys == stop_keys
        assert step.into == ("digits.default" if stop_keys else "")


@every_flavour
@pytest.mark.parametrize(
    ("text", "base", "media"),
    [
        ("http://foo/a?bar&amp;baz", "", "http://foo/a?bar&baz"),
        (" https://h/x.wav\n", BASE, "https://h/x.wav"),
        ("x.wav", BASE, "https://example.org/flows/x.wav"),
        ("/x.wav", BASE, "https://example.org/x.wav"),
        ("../x.wav", BASE, "https://example.org/x.wav"),
        ("//other.org/x.wav", BASE, "https://other.org/x.wav"),
        ("prompts/x.wav", "", "prompts/x.wav"),
        ("prompts/x.wav", "not a url", "prompts/x.wav"),
    ],
)
def test_play(flavour: str, text: str, base: str, media: str) -> None:
    """§2.3 Play URL text; §6 Relative action URLs resolve against the document's URL."""
    assert only(f"<Play>{text}</Play>", Say, flavour, base=base).prompts == (Prompt(media=media),)


def test_play_sends_digits() -> None:
    """§6 Play digits."""
    steps = graph('<Play digits="12ww#"/>')
    assert [step.seconds for step in of(steps, Pause)] == [1.0]
    assert [step.order for step in of(steps, Perform)] == [SendDigits(digits="12"), SendDigits(digits="#")]


@pytest.mark.parametrize("verbs", ['<Play digits="12x"/>', f'<Play digits="{"1" * 65}"/>', "<Play/>"])
def test_play_needs_something_to_play(verbs: str) -> None:
    assert has_errors(compiled(verbs).findings)


@every_flavour
@pytest.mark.parametrize(
    ("attributes", "seconds"),
    [
        pytest.param("", 1.0, id="§2.3 §3.5 Pause length default 1"),
        pytest.param('length="3"', 3.0, id="§2.3 Pause length"),
        pytest.param('length="4000"', 3600.0, id="§3.5 Pause cap 3600"),
    ],
)
def test_pause(flavour: str, attributes: str, seconds: float) -> None:
    assert only(f"<Pause {attributes}/>", Pause, flavour).seconds == seconds
    assert findings(f"<Pause {attributes}/>", flavour) == ([("out-of-range", "warning")] if seconds > 3 else [])


# --- Gather ---------------------------------------------------------------------------------


@every_flavour
def test_gather_defaults(flavour: str) -> None:
    """§2.3 §3.5 §6 Gather timeout 5, finishOnKey #, numDigits unlimited, barge-in on."""
    step = only("<Gather><Say>a</Say></Gather>", Collect, flavour)
    assert (step.first, step.between, step.finish) == (5.0, 5.0, "#")
    assert (step.least, step.most, step.repeats) == (1, 0, 0)
    assert step.prompts == (Prompt("a"),)
    assert step.into == "digits.default"


@pytest.mark.parametrize(
    ("flavour", "least"),
    [
        pytest.param("verboice", 4, id="§2.3 numDigits (min=max)"),
        pytest.param("pivot", 1, id="§3.5 Gather numDigits"),
        pytest.param("twiml", 1, id="§6 Gather numDigits"),
    ],
)
def test_gather_options(flavour: str, least: int) -> None:
    step = only('<Gather timeout="3" finishOnKey="*" numDigits="4"/>', Collect, flavour)
    assert (step.first, step.between, step.finish, step.least, step.most) == (3.0, 3.0, "*", least, 4)


@every_flavour
def test_gather_without_a_finishing_key(flavour: str) -> None:
    """§6 Gather finishOnKey `#` (empty = none)."""
    assert only('<Gather finishOnKey=""/>', Collect, flavour).finish == ""


@every_flavour
@pytest.mark.parametrize("rest", ["", "<Say>x</Say>"])
def test_gather_asks_with_digits_and_falls_through_without(flavour: str, rest: str) -> None:
    """§2.3 timeout/finish_key falls through to next verb, otherwise POST `Digits` to action;
    §3.5 no digits -> next verb; §6 action = current URL, method POST, `actionOnEmptyResult` false."""
    steps = graph(f"<Gather/>{rest}", flavour)
    (collect,) = of(steps, Collect)
    asked = steps.follow(collect)
    assert isinstance(asked, Fetch)
    assert (asked.url, asked.method) == (BASE, "POST")
    if not asked.returns:
        assert (flavour != "verboice" or not rest, dict(asked.exits)) == (True, {})
    assert params(asked)["Digits"] == "{{digits.default}}"
    for exit_name in (NONE, SHORT, FINISHED):
        next_one = steps.follow(collect, exit_name)
        assert isinstance(next_one, Enter if rest else SetVariables)
    assert way(steps, exit_name=NONE)[-1] == ("Say" if rest else "SetVariables")


def test_gather_may_ask_without_digits() -> None:
    """§6 `actionOnEmptyResult`."""
    verbs = '<Gather actionOnEmptyResult="true"/><Say>x</Say>'
    steps = graph(verbs)
    (collect,) = of(steps, Collect)
    assert {type(steps.follow(collect, name)) for name in (NEXT, NONE, SHORT, FINISHED)} == {Fetch}
    (digits,) = (param for param in only("<Gather/>", Fetch).params if param.name == "Digits")
    assert digits.always
    assert ("unreachable", "warning") in findings(verbs)


@every_flavour
@pytest.mark.parametrize(
    ("action", "url"),
    [
        ("menu?a=1&amp;b=2", "https://example.org/flows/menu?a=1&b=2"),
        ("/menu", "https://example.org/menu"),
        ("https://h_h/m", "https://h_h/m"),
        ("?step=2", "https://example.org/flows/start?step=2"),
        ("", BASE),
    ],
)
def test_actions_are_relative_to_the_document(flavour: str, action: str, url: str) -> None:
    """§6 Relative action URLs resolve against the document's URL."""
    assert only(f'<Gather action="{action}"/>', Fetch, flavour).url == url
    assert only(f'<Record action="{action}"/>', Fetch, flavour).url == url
    assert only(f'<Dial action="{action or BASE}">100</Dial>', Fetch, flavour).url == url


@every_flavour
@pytest.mark.parametrize("verb", ["<Gather/>", "<Record/>"])
def test_nobody_is_asked_when_there_is_no_url_at_all(flavour: str, verb: str) -> None:
    steps = graph(f"{verb}<Say>x</Say>", flavour, base="")
    assert of(steps, Fetch) == []
    assert way(steps)[-1] == "Say"
    assert ("missing-action", "warning") in findings(verb, flavour, base="")


@every_flavour
@pytest.mark.parametrize(
    "verb",
    [
        *('<Gather action="menu"/>', '<Record action="x"/>', '<Dial action="x">100</Dial>', "<Redirect>x</Redirect>"),
        *('<Gather action="ftp://h/x"/>', '<Enqueue action="http://">q</Enqueue>', "<Redirect/>"),
    ],
)
def test_a_url_that_cannot_be_asked_is_an_error(flavour: str, verb: str) -> None:
    assert has_errors(compiled(verb, flavour, base="").findings)


def test_get_sends_its_parameters_in_the_query() -> None:
    """§2.3 Gather `method`; §2.2 POST form by default."""
    by_get, by_post = only('<Gather method="get"/>', Fetch), only("<Gather/>", Fetch)
    assert (by_get.method, bool(by_get.query), by_get.params) == ("GET", True, ())
    assert (by_post.method, by_post.query, by_post.encoding) == ("POST", (), "form")
    assert by_get.query == by_post.params


@pytest.mark.parametrize("flavour", ["twiml", "pivot"])
def test_prompts_of_a_gather(flavour: str) -> None:
    """§3.5 Gather(+Play/Say/Pause)."""
    verbs = "<Gather><Say>a</Say><Play>http://h/b.wav</Play></Gather>"
    assert only(verbs, Collect, flavour).prompts == (Prompt("a"), Prompt(media="http://h/b.wav"))


@pytest.mark.parametrize("flavour", ["twiml", "pivot"])
def test_pauses_and_repeats_in_a_gather(flavour: str) -> None:
    """§3.5 Gather(+Play/Say/Pause), Play/Say loop."""
    verbs = '<Gather><Say loop="2">a</Say><Pause length="2"/><Say>b</Say><Say>c</Say><Pause/></Gather><Say>x</Say>'
    steps = graph(verbs, flavour)
    parts = of(steps, Collect)
    assert [[prompt.text for prompt in part.prompts] for part in parts] == [["a", "a"], ["b", "c"], []]
    assert [(part.first, part.between) for part in parts] == [(2.0, 5.0), (1.0, 5.0), (5.0, 5.0)]
    assert [steps.follow(part, NONE) for part in parts[:2]] == parts[1:]
    assert isinstance(steps.follow(parts[2], NONE), Enter)
    assert len({steps.follow(part).id for part in parts}) == 1  # type: ignore[union-attr]


def test_an_endless_prompt_in_a_gather_is_bounded() -> None:
    """§3.5 Play/Say loop 0 = endless."""
    verbs = '<Gather><Say loop="0">a</Say></Gather>'
    assert len(only(verbs, Collect).prompts) == 100
    assert findings(verbs) == []
    verbs = '<Gather><Say loop="0">a</Say><Say>b</Say></Gather>'
    assert len(only(verbs, Collect).prompts) == 100
    assert findings(verbs) == [("out-of-range", "warning")]


def test_only_the_last_prompt_counts_in_verboice() -> None:
    """§2.3 Gather children Say/Play (last wins, one prompt)."""
    verbs = "<Gather><Play>http://h/b.wav</Play><Pause/><Say>a</Say></Gather>"
    assert only(verbs, Collect, "verboice").prompts == (Prompt("a"),)
    assert findings(verbs, "verboice") == [("ignored-option", "warning")] * 2


def test_barge_in_can_be_switched_off() -> None:
    """§6 Gather barge-in on."""
    steps = graph('<Gather bargeIn="false"><Say>a</Say></Gather>')
    assert [(say.prompts, say.stop_keys) for say in of(steps, Say)] == [((Prompt("a"),), "")]
    assert [collect.prompts for collect in of(steps, Collect)] == [()]


@every_flavour
def test_a_gather_without_a_prompt_is_worth_knowing(flavour: str) -> None:
    """§2.3 prompt is required in the broker (throws without one)."""
    assert findings("<Gather/>", flavour) == [("missing-prompt", "info")]


@pytest.mark.parametrize("kinds", ["speech", "dtmf speech", "speech dtmf"])
def test_speech_is_not_taken(kinds: str) -> None:
    """§6 Gather input dtmf."""
    verbs = f'<Gather input="{kinds}" hints="a" speechTimeout="auto"><Say>a</Say></Gather>'
    assert findings(verbs) == [("ignored-option", "warning")] * 3
    assert findings('<Gather input="dtmf"><Say>a</Say></Gather>') == []


# --- Record ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flavour", "limit", "silence", "keys", "form", "trim"),
    [
        pytest.param("twiml", 3600.0, 5.0, "0123456789*#", "wav", True, id="§6 Record maxLength 3600, timeout 5"),
        pytest.param("pivot", 3600.0, 5.0, "0123456789*#", "mp3", False, id="§3.5 Record maxLength 3600, timeout 5"),
        pytest.param("verboice", 10.0, 0.0, "0123456789*#", "wav", False, id="§2.3 Record timeout (10 s), any key"),
    ],
)
def test_record_defaults(flavour: str, limit: float, silence: float, keys: str, form: str, trim: bool) -> None:
    step = only("<Record/>", Record, flavour)
    assert (step.limit, step.silence, step.stop_keys, step.format, step.trim) == (limit, silence, keys, form, trim)
    assert (step.beep, step.sides, step.into, step.upload, step.transcribe) == (True, "caller", "recording", None, "")


@every_flavour
def test_record_options(flavour: str) -> None:
    """§2.3 §3.5 §6 Record maxLength, timeout, finishOnKey, playBeep."""
    attributes = 'maxLength="30" timeout="4" finishOnKey="*1" playBeep="false" trim="trim-silence" transcribe="true"'
    step = only(f"<Record {attributes}/>", Record, flavour, language="ro")
    silence = 0.0 if flavour == "verboice" else 4.0
    assert (step.limit, step.silence, step.stop_keys, step.beep, step.trim) == (30.0, silence, "*1", False, True)
    assert step.transcribe == "ro"
    assert only('<Record transcribe="true"/>', Record, flavour).transcribe == "en-US"


def test_the_timeout_of_a_recording_is_its_length_in_verboice() -> None:
    """§2.3 Record `timeout` (10 s): the AGI command RECORD FILE takes it as the longest time."""
    step = only('<Record timeout="20"/>', Record, "verboice")
    assert (step.limit, step.silence) == (20.0, 0.0)


@pytest.mark.parametrize(
    ("flavour", "asked"),
    [
        pytest.param("twiml", False, id="§6 Record"),
        pytest.param("pivot", False, id="§3.5 Record"),
        pytest.param("verboice", True, id="§2.3 Record asks in any case"),
    ],
)
def test_what_follows_a_record(flavour: str, asked: bool) -> None:
    """§2.3 Record action -> RecordingUrl."""
    steps = graph('<Record action="done"/><Say>x</Say>', flavour)
    (record,) = of(steps, Record)
    request = steps.follow(record)
    assert isinstance(request, Fetch)
    assert params(request)["RecordingUrl"] == "{{recording.url}}"
    without = steps.follow(record, NONE)
    assert without is request if asked else isinstance(without, Enter)


def test_a_recording_is_sent_where_pivot_wants_it() -> None:
    """§3.1 result HTTP PUT to `<url>/call_recording_<CALL_ID>.<ext>`."""
    upload = only('<Record recordingUrl="http://h/rec/"/>', Record, "pivot").upload
    assert upload is not None
    assert (upload.url, upload.method, str(upload.name)) == ("http://h/rec", "PUT", "call_recording_{{call.id}}.mp3")


@pytest.mark.parametrize("url", ["rec/", "ftp://h/rec/", "FTPS://user@h/rec"])
def test_where_a_recording_may_be_sent(url: str) -> None:
    """§3.4 Recording upload: ftp/ftps/http/https."""
    upload = only(f'<Record recordingUrl="{url}"/>', Record, "pivot").upload
    assert upload is not None
    assert upload.url == ("https://example.org/flows/rec" if url == "rec/" else url.rstrip("/"))
    said = findings(f'<Record recordingUrl="{url}"/>', "pivot")
    assert (("unsupported", "warning") in said) == (url != "rec/")
    assert findings('<Record recordingUrl="ftp://:99999/"/>', "pivot")[0] == ("bad-url", "error")


def test_who_wants_to_know_of_a_recording_is_told() -> None:
    """§6 Record recordingStatusCallback."""
    steps = graph('<Record recordingStatusCallback="/told" recordingStatusCallbackMethod="GET"/>')
    tell, after_a_hangup, _ = of(steps, Tell)
    assert (tell.url, tell.method) == ("https://example.org/told", "GET")
    assert [param.name for param in tell.query][-1] == "RecordingStatus"
    assert (after_a_hangup.url, after_a_hangup.query) == (tell.url, tell.query)
    assert way(steps)[-3:] == ["Record", "Tell", "Fetch"]


# --- Redirect, Set, Hangup, Reject ------------------------------------------------------------


@pytest.mark.parametrize("flavour", ["twiml", "pivot"])
def test_redirect_replaces_the_document(flavour: str) -> None:
    """§3.5 Redirect; §3.5 method default POST."""
    verbs = "<Redirect> next </Redirect><Say>x</Say>"
    step = only(verbs, Fetch, flavour)
    assert (step.url, step.method, step.returns) == ("https://example.org/flows/next", "POST", False)
    assert ("unreachable", "warning") in findings(verbs, flavour)


def test_redirect_returns_in_verboice_unless_nothing_follows() -> None:
    """§2.2 when the sub-flow ends, control returns to the caller flow unless nothing follows."""
    steps = graph('<Redirect method="get">next</Redirect><Say>x</Say>', "verboice")
    (step,) = of(steps, Fetch)
    assert (step.method, step.returns) == ("GET", True)
    assert isinstance(steps.follow(step), Enter)
    assert isinstance(steps.follow(step, FAILED), HangUp)
    assert not only("<Redirect>next</Redirect>", Fetch, "verboice").returns
    assert only("<Record/><Say>x</Say>", Fetch, "verboice").returns


@pytest.mark.parametrize(
    "verb", ["<Gather/>", "<Record/>", '<Dial action="a">1</Dial>', '<Enqueue action="a">q</Enqueue>']
)
def test_an_action_returns_in_verboice_unless_nothing_follows(verb: str) -> None:
    """§2.2 `<Redirect>`, `<Gather action>`, …: control returns to the caller flow unless nothing follows."""
    steps = graph(f"{verb}<Say>x</Say>", "verboice")
    (step,) = of(steps, Fetch)
    assert step.returns
    assert way(steps, start=step.id)[-1] == "Say"
    assert isinstance(steps.follow(step, FAILED), HangUp)
    assert findings(f"{verb}<Say>x</Say>", "verboice") in ([], [("missing-prompt", "info")])
    assert not only(verb, Fetch, "verboice").returns
    assert not only(f"{verb}<Say>x</Say>", Fetch, "twiml").returns


@every_flavour
def test_redirect_without_a_url_asks_the_document_again(flavour: str) -> None:
    assert only("<Redirect/>", Fetch, flavour).url == BASE


@every_flavour
def test_variables_are_set_and_sent(flavour: str) -> None:
    """§3.5 own `<Set><Variable key value/></Set>`, Redirect(+Variable)."""
    steps = graph(
        '<Set><Variable key="a" value="1"/></Set><Redirect>x<Variable key="b" value="2"/></Redirect>', flavour
    )
    assert [step.values for step in of(steps, SetVariables)] == [
        (("var.a", "1"), ("param.a", "1")),
        (("var.b", "2"), ("param.b", "2")),
    ]
    (fetch,) = of(steps, Fetch)
    assert fetch.url == "https://example.org/flows/x"
    assert params(fetch)["{}"] == "each param."


@pytest.mark.parametrize("key", ["", "1a", "a b", "x" * 65])
def test_a_variable_needs_a_name(key: str) -> None:
    assert findings(f'<Set><Variable key="{key}" value="1"/></Set>') == [("bad-value", "error")]


@pytest.mark.parametrize(
    ("flavour", "key", "severity"),
    [
        ("twiml", "CallSid", "warning"),
        ("twiml", "digits", "warning"),
        ("pivot", "CallerNumber", "warning"),
        ("verboice", "RecordingUrl", "error"),
        ("verboice", "From", "error"),
        ("verboice", "CallerNumber", ""),
        ("twiml", "CallSidX", ""),
    ],
)
def test_a_variable_cannot_have_the_name_of_a_parameter(flavour: str, key: str, severity: str) -> None:
    """§2.2 §3.5 §6: a flow does not say who calls. Verboice refuses what it cannot do, the others go on without."""
    verbs = f'<Set><Variable key="{key}" value="1"/><Variable key="a" value="2"/></Set>'
    assert findings(verbs, flavour) == ([("reserved-name", severity)] if severity else [])
    if severity == "warning":
        assert only(verbs, SetVariables, flavour).values == (("var.a", "2"), ("param.a", "2"))


@every_flavour
def test_hangup(flavour: str) -> None:
    """§2.3 §3.5 Hangup."""
    assert way(graph("<Hangup/>", flavour)) == ["Enter", "Enter", "Answer", "HangUp"]
    assert ("unreachable", "warning") in findings("<Hangup/><Say>x</Say>", flavour)


@pytest.mark.parametrize(
    ("flavour", "attributes", "code"),
    [
        pytest.param("pivot", "", 503, id="§3.5 Reject rejected -> 503"),
        pytest.param("pivot", 'reason="rejected"', 503, id="§3.5 Reject reason rejected -> 503"),
        pytest.param("pivot", 'reason="busy"', 486, id="§3.5 Reject busy -> 486"),
        pytest.param("twiml", 'reason="busy"', 486, id="§6 Reject busy"),
        pytest.param("twiml", "", 603, id="§6 Reject"),
        pytest.param("verboice", "", 603, id="§2.4 Accept TwiML superset: Reject"),
    ],
)
def test_reject(flavour: str, attributes: str, code: int) -> None:
    verbs = f"<Reject {attributes}/>"
    assert order(verbs, Respond, flavour).code == code
    assert of(graph(verbs, flavour), Answer) == []


def test_reject_may_play_something_first() -> None:
    assert order('<Reject prompt="sorry.wav"/>', Respond, "pivot").prompts == (
        Prompt(media="https://example.org/flows/sorry.wav"),
    )


# --- Bridge, Enqueue, Leave -------------------------------------------------------------------


@every_flavour
def test_bridge(flavour: str) -> None:
    """§2.3 Bridge `session_id`."""
    assert order('<Bridge session_id="7"/>', BridgeSession, flavour).session == "7"
    assert way(graph('<Bridge session_id="7"/><Say>x</Say>', flavour))[-1] == "Say"
    assert ("missing-target", "error") in findings("<Bridge/>", flavour)


@every_flavour
def test_enqueue_and_leave(flavour: str) -> None:
    """§6 Enqueue Leave."""
    verbs = '<Enqueue waitUrl="moh.wav" action="after">support</Enqueue>'
    assert order(verbs, Enqueue, flavour) == Enqueue(queue="support", music="https://example.org/flows/moh.wav")
    told = order('<Enqueue announcePosition="30">support</Enqueue>', Enqueue, flavour)
    assert told == Enqueue(queue="support", announce_every=30.0)
    assert only(verbs, Fetch, flavour).url == "https://example.org/flows/after"
    assert way(graph("<Enqueue>q</Enqueue><Say>x</Say>", flavour))[-1] == "Say"
    assert order("<Leave/>", LeaveQueue, flavour) == LeaveQueue()
    assert params(only(verbs, Fetch))["QueueResult"] == "{{queue.status}}"
    assert ("missing-target", "error") in findings("<Enqueue/>", flavour)
    assert findings('<Enqueue waitUrl="/wait.php">q</Enqueue>', flavour) == [("ignored-option", "warning")]

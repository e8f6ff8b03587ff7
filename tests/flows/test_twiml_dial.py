"""``<Dial>`` and its nouns. Each test, or its id, quotes the line of docs/dialects/lines.md that it holds."""

import pytest
from twiml_kit import BASE, FLAVOURS, compiled, findings, graph, of, only, order, params, way

from flows.graph import FAILED, NEXT, Answer, Branch, Fetch, HangUp, Perform, SetVariables
from flows.orders import Conference, Dial, Target

every_flavour = pytest.mark.parametrize("flavour", FLAVOURS)


@every_flavour
@pytest.mark.parametrize(
    ("inside", "target"),
    [
        pytest.param("+40 (21) 12-34", Target(kind="number", value="+40211234"), id="§3.5 Dial a number"),
        pytest.param("sip:a@b", Target(kind="uri", value="sip:a@b"), id="§2.4 address may be a number or SIP URI"),
        pytest.param("<Number>100</Number>", Target(kind="number", value="100"), id="§6 Number"),
        pytest.param(
            "<Sip> sip:a@b;transport=tcp </Sip>", Target(kind="uri", value="sip:a@b;transport=tcp"), id="§6 Sip"
        ),
        pytest.param("<Client>joe</Client>", Target(kind="user", value="joe"), id="§6 Client"),
        pytest.param(
            "<Client><Identity>joe</Identity></Client>", Target(kind="user", value="joe"), id="§6 Client Identity"
        ),
        pytest.param("<User>u1</User>", Target(kind="user", value="u1"), id="§6 User"),
        pytest.param("<Device>d1</Device>", Target(kind="device", value="d1"), id="§6 Device"),
    ],
)
def test_nouns(flavour: str, inside: str, target: Target) -> None:
    assert order(f"<Dial>{inside}</Dial>", Dial, flavour).targets == (target,)
    assert findings(f"<Dial>{inside}</Dial>", flavour) == []


@every_flavour
def test_several_nouns_ring_together(flavour: str) -> None:
    """§3.5 Nouns: Number, User, Device, Sip."""
    verbs = "<Dial><Number>1</Number><User>u</User><Device>d</Device><Sip>sip:a@b</Sip></Dial>"
    found = order(verbs, Dial, flavour)
    assert [target.kind for target in found.targets] == ["number", "user", "device", "uri"]
    assert found.strategy == "simultaneous"


@pytest.mark.parametrize(
    ("flavour", "inside", "timeout", "limit"),
    [
        pytest.param("pivot", "100", 30.0, 14_400.0, id="§3.5 Dial timeout 30 s for numbers, timeLimit 14400"),
        pytest.param("pivot", "<Number>1</Number>", 30.0, 14_400.0, id="§3.5 Dial timeout 30 s for Number"),
        pytest.param("pivot", "<Device>d</Device>", 20.0, 14_400.0, id="§3.5 Dial timeout 20 s for endpoints"),
        pytest.param("verboice", "100", 60.0, 0.0, id="§2.2 <Dial> 60 s"),
        pytest.param("twiml", "100", 30.0, 14_400.0, id="§6 Dial"),
    ],
)
def test_dial_defaults(flavour: str, inside: str, timeout: float, limit: float) -> None:
    found = order(f"<Dial>{inside}</Dial>", Dial, flavour)
    assert (found.timeout, found.time_limit) == (timeout, limit)
    assert (found.caller_id, found.trunk, found.record, found.hangup_on_key) == ("", "", "", "")


@every_flavour
@pytest.mark.parametrize(
    ("attributes", "field", "value"),
    [
        pytest.param('timeout="7"', "timeout", 7.0, id="§3.5 Dial timeout"),
        pytest.param('timeLimit="90"', "time_limit", 90.0, id="§3.5 Dial timeLimit"),
        pytest.param('strategy="single"', "strategy", "single", id="§3.5 Dial strategy"),
        pytest.param('sequential="true"', "strategy", "single", id="§6 Dial sequential"),
        pytest.param('callerId="+4021"', "caller_id", "+4021", id="§2.3 Dial callerId"),
        pytest.param('channel="trunk 1"', "trunk", "trunk 1", id="§2.3 Dial channel"),
        pytest.param('successfulAfter="30"', "success_after", 30.0, id="§2.3 Dial successfulAfter"),
        pytest.param('successfulAfter="2m"', "success_after", 120.0, id="§2.3 Dial successfulAfter with a unit"),
        pytest.param('hangupOnStar="true"', "hangup_on_key", "*", id="§6 Dial hangupOnStar"),
        pytest.param('hangupOn="7"', "hangup_on_key", "7", id="§3.5 Dial hangupOn"),
        pytest.param('record="true"', "record", "stereo", id="§6 Dial record"),
        pytest.param('record="record-from-answer-dual"', "record", "stereo", id="§6 Dial record dual"),
        pytest.param('record="do-not-record"', "record", "", id="§6 Dial do-not-record"),
        pytest.param('ringTone="moh.wav"', "ringback", "https://example.org/flows/moh.wav", id="§6 Dial ringTone"),
    ],
)
def test_dial_options(flavour: str, attributes: str, field: str, value: object) -> None:
    verbs = f"<Dial {attributes}>100</Dial>"
    assert getattr(order(verbs, Dial, flavour), field) == value
    assert findings(verbs, flavour) == []


@every_flavour
def test_the_flow_goes_on_after_a_bridge_however_it_went(flavour: str) -> None:
    """§0, 2. TwiML `<Dial>`: flow goes on afterwards (TwiML certain)."""
    steps = graph("<Dial>100</Dial><Say>x</Say>", flavour)
    assert way(steps)[-1] == "Say"
    (dial,) = of(steps, Perform)
    assert steps.follow(dial, FAILED) is steps.follow(dial, "USER_BUSY") is steps.follow(dial, NEXT)


@pytest.mark.parametrize(
    ("flavour", "names"),
    [
        pytest.param("twiml", {"DialCallStatus", "DialCallSid", "DialCallDuration"}, id="§6 Dial action"),
        pytest.param("verboice", {"DialCallStatus"}, id="§2.2 Flow callback DialCallStatus"),
        pytest.param(
            "pivot",
            {"DialCallStatus", "DialCallSid", "DialCallDuration"},
            id="§3.5 `DialCallStatus DialCallSid DialCallDuration` after Dial",
        ),
    ],
)
def test_the_action_of_a_dial_is_told_the_outcome(flavour: str, names: set[str]) -> None:
    verbs = '<Dial action="after">100</Dial>'
    request = only(verbs, Fetch, flavour)
    assert request.url == "https://example.org/flows/after"
    assert {name for name in params(request) if name.startswith("Dial")} == names
    assert (("unreachable", "warning") in findings(f"{verbs}<Say>x</Say>", flavour)) == (flavour != "verboice")


def test_verboice_has_words_of_its_own_for_the_outcome() -> None:
    """§2.3 dial_status `completed|busy|no_answer|failed`."""
    steps = graph('<Dial action="after">100</Dial>', "verboice")
    (branch,) = of(steps, Branch)
    assert {case.exit for case in branch.cases} == {"no-answer", "canceled"}
    values = {name: steps.follow(branch, name) for name in ("no-answer", "canceled")}
    assert {name: step.values for name, step in values.items() if isinstance(step, SetVariables)} == {
        "no-answer": (("var.dial_status", "no_answer"),),
        "canceled": (("var.dial_status", "failed"),),
    }
    assert all(isinstance(steps.follow(step), Fetch) for step in (branch, *values.values()) if step is not None)


@pytest.mark.parametrize(
    ("flavour", "verbs", "answers"),
    [
        ("twiml", "<Dial>100</Dial>", True),
        ("twiml", '<Dial answerOnBridge="true">100</Dial>', False),
        ("twiml", "<Dial><Sip>sip:a@b</Sip></Dial>", True),
        ("verboice", "<Dial>100</Dial>", True),
        ("pivot", "<Dial>100</Dial>", True),
        ("pivot", "<Dial><Device>d</Device></Dial>", False),
        ("pivot", '<Dial answerOnBridge="false"><Device>d</Device></Dial>', True),
        ("pivot", "<Dial><Conference>c</Conference></Dial>", True),
    ],
)
def test_when_a_dial_answers_the_call(flavour: str, verbs: str, answers: bool) -> None:
    assert bool(of(graph(verbs, flavour), Answer)) == answers


# --- conferences and queues -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flavour", "most"),
    [
        pytest.param("twiml", 250, id="§6 Conference"),
        pytest.param("verboice", 250, id="§2.4 Conference"),
        pytest.param("pivot", 40, id="§3.5 Conference"),
    ],
)
def test_conference_defaults(flavour: str, most: int) -> None:
    found = order("<Dial><Conference>Room 1</Conference></Dial>", Conference, flavour)
    assert (found.room, found.stored, found.most, found.music) == ("Room 1", False, most, "")
    assert (found.moderator, found.wait_for_moderator, found.ends_with_member) == (True, False, False)
    assert (found.muted, found.deaf, found.record, found.entry_tone, found.exit_tone) == (
        *(False, False, False),
        *("default", "default"),
    )


@every_flavour
def test_conference_options(flavour: str) -> None:
    """§3.5 §6 Conference."""
    attributes = (
        'muted="true" beep="onEnter" startConferenceOnEnter="false" endConferenceOnExit="true" '
        'maxParticipants="9" waitUrl="/moh.mp3" record="record-from-start" deaf="true" play_name="true"'
    )
    verbs = f'<Dial timeLimit="60"><Conference {attributes}>r</Conference></Dial><Say>x</Say>'
    assert order(verbs, Conference, flavour) == Conference(
        room="r",
        muted=True,
        deaf=True,
        entry_tone="default",
        exit_tone="",
        wait_for_moderator=True,
        ends_with_member=True,
        most=9,
        welcome="",
        music="https://example.org/moh.mp3",
        record=True,
        announce_name=True,
        time_limit=60.0,
    )
    assert way(graph(verbs, flavour))[-1] == "Say"


@pytest.mark.parametrize("flavour", ["twiml", "verboice"])
def test_a_queue_can_be_dialled(flavour: str) -> None:
    """§6 Queue."""
    found = order("<Dial><Queue>support</Queue></Dial>", Dial, flavour)
    assert found.targets == (Target(kind="queue", value="support"),)


def test_pivot_stops_at_a_queue() -> None:
    """§3.5 (Queue unsupported: stops)."""
    verbs = "<Dial><Queue>support</Queue></Dial><Say>x</Say>"
    steps = graph(verbs, "pivot")
    assert of(steps, Perform) == []
    assert way(steps)[-1] == "HangUp"
    assert len(of(steps, HangUp)) == 1
    assert findings(verbs, "pivot") == [("unsupported", "warning"), ("unreachable", "warning")]


# --- what is wrong with one ---------------------------------------------------------------------


@every_flavour
@pytest.mark.parametrize(
    ("inside", "code"),
    [
        ("", "missing-target"),
        ("<Number/>", "bad-target"),
        ("<Number>call me</Number>", "bad-target"),
        ("<Sip>100</Sip>", "bad-target"),
        ("<Sip>a@b</Sip>", "bad-target"),
        ("<User/>", "missing-target"),
        ("<Conference/>", "missing-target"),
        ("<Foo>1</Foo>", "missing-target"),
    ],
)
def test_nobody_to_dial_is_an_error(flavour: str, inside: str, code: str) -> None:
    result = compiled(f"<Dial>{inside}</Dial>", flavour)
    assert result.graph is None
    assert code in {finding.code for finding in result.findings if finding.severity == "error"}
    assert all(finding.where == "line 1" for finding in result.findings)


@every_flavour
@pytest.mark.parametrize(
    "verbs",
    [
        "<Dial><Number>1</Number><Foo/></Dial>",
        "<Dial>2<Number>1</Number></Dial>",
        '<Dial ringTone="us">1</Dial>',
        '<Dial recordingStatusCallback="/x">1</Dial>',
        '<Dial referUrl="/x">1</Dial>',
        '<Dial continueOnFail="true">1</Dial>',
        '<Dial><Number sendDigits="1">1</Number></Dial>',
        '<Dial><Number url="/x">1</Number></Dial>',
        '<Dial><Number statusCallback="/x">1</Number></Dial>',
        '<Dial><Sip username="a">sip:a@b</Sip></Dial>',
        "<Dial><Number>1<b/></Number></Dial>",
        '<Dial timeout="7"><Conference>c</Conference></Dial>',
        '<Dial><Conference waitUrl="/music.php">c</Conference></Dial>',
        '<Dial><Conference coach="x">c</Conference></Dial>',
        '<Dial><Conference statusCallback="/x">c</Conference></Dial>',
        "<Dial><Conference>c</Conference><Number>1</Number></Dial>",
    ],
)
def test_nothing_is_silently_ignored(flavour: str, verbs: str) -> None:
    assert findings(verbs, flavour, base=BASE) == [("ignored-option", "warning")]

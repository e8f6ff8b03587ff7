"""TwiML documents as a whole: XML, limits, unknown verbs and options, parameters of requests, who reads a document."""

import pytest
from twiml_kit import BASE, FLAVOURS, compiled, findings, graph, of, only, params, way

from flows.dialects import compile_flow, detect
from flows.dialects.twiml import compile_twiml
from flows.dialects.twiml_flavours import FLAVOURS as DATA
from flows.findings import Findings
from flows.graph import Fetch, HangUp, Say
from flows.markup import Element, parse_xml
from flows.orders import Respond

every_flavour = pytest.mark.parametrize("flavour", FLAVOURS)


def errors(document: object) -> list[tuple[str, str]]:
    result = compile_twiml(document)
    assert result.graph is None
    return [(finding.code, finding.where) for finding in result.findings if finding.severity == "error"]


# --- XML ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "code", "where"),
    [
        ("", "bad-xml", ""),
        (" \n", "bad-xml", ""),
        ("hello", "bad-xml", "line 1, column 1"),
        ("<Response>", "bad-xml", "line 1, column 11"),
        ("<Response>\n<Say>a</Sai></Response>", "bad-xml", "line 2, column 9"),
        ("\n\n<Response>&nbsp;</Response>", "bad-xml", "line 3, column 11"),
        ("<Response><Say>a & b</Say></Response>", "bad-xml", "line 1, column 19"),
        ("<Response/><Response/>", "bad-xml", "line 1, column 12"),
        ("<Response a='1' a='2'/>", "bad-xml", "line 1, column 17"),
        (b"<Response>\xff</Response>", "bad-xml", "line 1, column 11"),
        (b'<?xml version="1.0" encoding="nonsense"?><Response/>', "bad-xml", "line 1"),
        ("<!DOCTYPE Response><Response/>", "forbidden-xml", "line 1"),
        ('<!DOCTYPE r [<!ENTITY a "b">]>\n<Response>&a;</Response>', "forbidden-xml", "line 1"),
        ('<!DOCTYPE r SYSTEM "file:///etc/passwd"><Response/>', "forbidden-xml", "line 1"),
        ("\n<Flow><Say>a</Say></Flow>", "bad-root", "line 2"),
        ("<response><Say>a</Say></response>", "bad-root", "line 1"),
        ("<a>" * 65, "too-deep", "line 1"),
        (f"<Response>{'<Say/>' * 10_000}</Response>", "too-many-nodes", "line 1"),
        ("<Response " + " ".join(f"a{n}=''" for n in range(65)) + "/>", "too-large", "line 1"),
        ("<Response>" + " " * 1024 * 1024, "too-large", ""),
        ({"a": 1}, "wrong-type", ""),
        (["<Response/>"], "wrong-type", ""),
        (None, "wrong-type", ""),
    ],
)
def test_what_is_no_document_is_refused_with_its_place(document: object, code: str, where: str) -> None:
    """§6 TwiML is XML."""
    assert errors(document) == [(code, where)]


@pytest.mark.parametrize(
    "document",
    [
        "<Response><Say>ä</Say></Response>",
        "\ufeff<?xml version='1.0' encoding='UTF-8'?>\n<Response><Say>ä</Say></Response>\n",
        "<Response><Say>ä</Say></Response>".encode(),
        bytearray("<Response><Say>ä</Say></Response>".encode()),
        "\ufeff<Response><Say>ä</Say></Response>".encode(),
        "<?xml version='1.0' encoding='iso-8859-1'?><Response><Say>ä</Say></Response>".encode("latin-1"),
        "<?xml version='1.0'?><Response><Say>ä</Say></Response>".encode("utf-16"),
        "<Response><!-- no --><?php no ?><Say><![CDATA[ä]]></Say></Response>",
        "<Response><Say>&#xe4;</Say></Response>",
        '<Response xmlns="http://twilio.com/x"><Say>ä</Say></Response>',
    ],
    ids=["text", "declaration", "utf-8", "bytearray", "bom", "latin-1", "utf-16", "comments", "reference", "namespace"],
)
def test_ways_to_write_a_document(document: object) -> None:
    result = compile_twiml(document)
    assert result.graph is not None
    assert result.findings == ()
    assert [prompt.text for prompt in result.graph.prompts()] == ["ä"]


def test_elements_know_their_text_and_place() -> None:
    findings_ = Findings()
    root = parse_xml("\n<a>\n one <b x='1'>two</b>\n three<c/></a>", findings_)
    assert isinstance(root, Element)
    assert (root.where, root.own_text, root.text) == ("line 2", "one three", "one two three")
    assert [(child.name, child.where, child.attributes) for child in root.children] == [
        ("b", "line 3", {"x": "1"}),
        ("c", "line 4", {}),
    ]


# --- what nobody knows ----------------------------------------------------------------------------


def test_verboice_refuses_a_flow_with_an_unknown_verb() -> None:
    """§0, 3 Verboice TwiML: whole flow invalid, call fails; §2.3 Unknown verb = error (flow invalid)."""
    result = compiled("<Say>a</Say>\n<Sms>b</Sms>", "verboice")
    assert result.graph is None
    assert [(f.code, f.severity, f.where) for f in result.findings] == [("unknown-verb", "error", "line 2")]


def test_pivot_stops_at_an_unknown_verb() -> None:
    """§3.5 Unknown verb stops with an error."""
    steps = graph("<Say>a</Say><Sms>b</Sms><Say>c</Say>", "pivot")
    assert way(steps)[-2:] == ["Enter", "HangUp"]
    assert [step.reason for step in of(steps, HangUp)] == ["<Sms> is not a verb"]
    assert findings("<Sms>b</Sms><Say>c</Say>", "pivot") == [("unknown-verb", "warning"), ("unreachable", "warning")]


def test_the_superset_skips_an_unknown_verb() -> None:
    """§0, 3 Keep the policy per dialect."""
    steps = graph("<Say>a</Say><Sms>b</Sms><Say>c</Say>")
    assert [step.prompts[0].text for step in of(steps, Say)] == ["a", "c"]  # type: ignore[union-attr]
    assert steps.steps["3.enter"].path == "Say.3"  # type: ignore[attr-defined]
    (finding,) = compiled("<gather>b</gather>").findings[:1]
    assert (finding.code, finding.severity, finding.hint) == ("unknown-verb", "warning", "did you mean <Gather>?")


@every_flavour
@pytest.mark.parametrize(
    "verbs",
    [
        '<Gather foo="1"><Say>a</Say></Gather>',
        "<Gather>x<Say>a</Say></Gather>",
        "<Gather><Say>a</Say><Hangup/></Gather>",
        '<Say pitch="1">a</Say>',
        '<Say voice="Polly.Joanna">a</Say>',
        '<Say engine="flite">a</Say>',
        '<Say x:y="1" xmlns:x="http://x">a</Say>',
        '<Play foo="1">http://h/a.wav</Play>',
        "<Play>http://h/a.wav<b/></Play>",
        "<Pause>1</Pause>",
        "<Hangup>now</Hangup>",
        '<Hangup foo="1"/>',
        '<Record foo="1"/>',
        "<Record>x</Record>",
        '<Record transcribeCallback="/x"/>',
        '<Record recordingStatusCallback="/x" recordingStatusCallbackEvent="absent"/>',
        '<Redirect foo="1">/x</Redirect>',
        "<Redirect>/x<b/></Redirect>",
        '<Reject foo="1"/>',
        '<Set foo="1"><Variable key="a" value="b"/></Set>',
        '<Set>x<Variable key="a" value="b"/></Set>',
        '<Set><Variable key="a" value="b" foo="c"/></Set>',
        '<Set><Variable key="a" value="b"/><b/></Set>',
        '<Bridge session_id="1">x</Bridge>',
        '<Enqueue workflowSid="x">q</Enqueue>',
        "<Enqueue>q<Task/></Enqueue>",
        "<Leave>x</Leave>",
        "text<Leave/>",
    ],
)
def test_nothing_is_silently_ignored(flavour: str, verbs: str) -> None:
    """§2.3 Attributes unknown to Gather crash the broker: we ignore + warn."""
    assert findings(verbs, flavour) == [("ignored-option", "warning")]


@every_flavour
@pytest.mark.parametrize(
    "verbs",
    [
        *('<Gather timeout="soon"/>', '<Gather timeout="-1"/>', '<Gather numDigits="x"/>', '<Gather finishOnKey="x"/>'),
        *('<Gather method="PUT"/>', '<Gather actionOnEmptyResult="maybe"/>', '<Pause length="1 s"/>'),
        *('<Say loop="twice">a</Say>', '<Say loop="١">a</Say>', '<Record maxLength=""/>', '<Record playBeep="x"/>'),
        *('<Record trim="x"/>', '<Reject reason="tired"/>', '<Dial record="x">1</Dial>', '<Dial strategy="x">1</Dial>'),
        *('<Dial successfulAfter="x">1</Dial>', '<Dial timeout="1e3">1</Dial>', f'<Pause length="{"9" * 40}"/>'),
        '<Dial><Conference beep="x">c</Conference></Dial>',
    ],
)
def test_a_value_that_means_nothing_is_an_error(flavour: str, verbs: str) -> None:
    result = compiled(f"\n{verbs}", flavour)
    assert result.graph is None
    (finding,) = (f for f in result.findings if f.severity == "error")
    assert (finding.code, finding.where) == ("bad-value", "line 2")
    assert " of <" in finding.message


@every_flavour
@pytest.mark.parametrize(
    "verbs",
    [
        '<Gather timeout="0"><Say>a</Say></Gather>',
        '<Gather timeout="9999"><Say>a</Say></Gather>',
        '<Gather numDigits="0"><Say>a</Say></Gather>',
        '<Say loop="1001">a</Say>',
        '<Record maxLength="99999"/>',
        '<Dial><Conference maxParticipants="1">c</Conference></Dial>',
    ],
)
def test_a_value_out_of_range_is_brought_into_it(flavour: str, verbs: str) -> None:
    """§3.5 Pause cap 3600 and its like."""
    assert findings(verbs, flavour) == [("out-of-range", "warning")]


# --- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flavour", "verb", "names"),
    [
        pytest.param(
            "verboice", "<Redirect>/x</Redirect>", {"CallSid", "From"}, id="§2.2 Flow callback: CallSid, From"
        ),
        pytest.param("verboice", "<Gather/>", {"CallSid", "From", "Digits"}, id="§2.2 Digits (only for Gather)"),
        pytest.param("verboice", "<Record/>", {"CallSid", "From", "RecordingUrl"}, id="§2.2 RecordingUrl (Record)"),
        pytest.param(
            "verboice",
            '<Dial action="/x">1</Dial>',
            {"CallSid", "From", "DialCallStatus"},
            id="§2.2 DialCallStatus",
        ),
        pytest.param(
            "pivot",
            "<Redirect>/x</Redirect>",
            {
                *("CallSid", "AccountSid", "From", "FromRealm", "To", "ToRealm", "CallStatus", "ApiVersion"),
                *("Direction", "CallerName", "CallerNumber", "RecordingUrl", "RecordingDuration", "RecordingSid"),
                *("Digits", "TranscriptionSid", "TranscriptionText", "TranscriptionStatus", "TranscriptionUrl"),
                *("DialCallStatus", "DialCallSid", "DialCallDuration"),
            },
            id="§3.5 Request params",
        ),
        pytest.param(
            "twiml",
            "<Redirect>/x</Redirect>",
            {"CallSid", "AccountSid", "From", "To", "CallStatus", "ApiVersion", "Direction", "CallerName"},
            id="§6 Redirect",
        ),
        pytest.param(
            "twiml",
            "<Record/>",
            {
                *("CallSid", "AccountSid", "From", "To", "CallStatus", "ApiVersion", "Direction", "CallerName"),
                *("RecordingUrl", "RecordingDuration", "RecordingSid", "Digits"),
            },
            id="§6 Record",
        ),
    ],
)
def test_parameters_of_requests(flavour: str, verb: str, names: set[str]) -> None:
    """§2.2 + callback_params, which are the variables `param.NAME`."""
    found = params(only(verb, Fetch, flavour))
    assert set(found) == names | {"{}"}
    assert found["{}"] == "each param."


def test_values_that_are_always_the_same() -> None:
    """§3.5 ApiVersion(2010-04-01); §3.2 `Direction` always `inbound`."""
    found = params(only("<Redirect>/x</Redirect>", Fetch, "pivot"))
    assert (found["ApiVersion"], found["Direction"]) == ("2010-04-01", "inbound")


def test_digits_are_cleared_once_they_were_sent() -> None:
    """§3.2 Collected digits are cleared after being sent in TwiML mode."""
    assert only("<Redirect>/x</Redirect>", Fetch, "pivot").clear == ("digits.",)


@pytest.mark.parametrize(
    ("flavour", "content_type", "readers"),
    [
        pytest.param("pivot", "application/json", ("kazoo",), id="§3.2 `application/json` -> flow"),
        pytest.param("pivot", "text/xml", ("pivot",), id="§3.2 `text/xml` -> TwiML"),
        pytest.param("pivot", "application/xml", ("pivot",), id="§3.2 `application/xml` -> TwiML"),
        pytest.param("pivot", "", ("pivot", "kazoo"), id="§3.2 absent = xml; other = try both"),
        pytest.param("verboice", "", ("verboice",), id="§2.2 Reply = TwiML"),
        pytest.param("twiml", "", ("twiml",), id="§6"),
    ],
)
def test_who_reads_the_answer(flavour: str, content_type: str, readers: tuple[str, ...]) -> None:
    assert dict(only("<Redirect>/x</Redirect>", Fetch, flavour).readers)[content_type] == readers


# --- whose document it is -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "dialect"),
    [
        ("<Response/>", "twiml"),
        (b"\xef\xbb\xbf\n<?xml version='1.0'?><Response/>", "twiml"),
        ("<!-- menu --><Response/>", "twiml"),
        ("<3 says the caller", "brombler"),
        ("Hello", "brombler"),
        ({"_": "Hello"}, "brombler"),
        (None, "brombler"),
    ],
)
def test_the_dialect_is_found_out(document: object, dialect: str) -> None:
    assert detect(document) == dialect


def test_flavours_are_dialects() -> None:
    assert {name: compile_flow("<Response><Reject/></Response>", dialect=name).graph is not None for name in DATA} == {
        "twiml": True,
        "verboice": True,
        "pivot": True,
    }
    assert only("<Reject/>", HangUp, base=BASE).reason == ""
    assert Respond.needs == "nothing"


def test_findings_are_bounded() -> None:
    verbs = "".join(f"<Foo{n}/>" for n in range(5000))
    assert len(compiled(verbs).findings) == 501
    attributes = " ".join(f'a{n}="{"x" * 1000}"' for n in range(60))
    assert sum(len(str(f)) for f in compiled(f"<Say {attributes}>a</Say>" * 10).findings) < 200_000

"""Pivot: the request for a flow, the answers to it, and what happens without one (CONTRACTS §3.1, §3.2, §3.5)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from kazoo_kit import found, graph_of, node, play, step_of, texts

from flows import graph as g
from flows.call import Callback, Fetched, RecordOwed, Reply, Request
from flows.dialects.twiml_flavours import PIVOT
from flows.executor import Executor
from flows.requests import FORM, LastGood, fetch_request, nested, readers_for
from flows.script import parse_script
from flows.scripted_call import ScriptedCall
from flows.scripted_world import canned
from flows.simulate import Scenario, run_sync

URL = "http://pivot.example/flow.php"
FACTS = {
    "call.id": "a1@host",
    "call.account": "acc",
    "call.caller": "+3901",
    "call.caller_realm": "from.example",
    "call.callee": "100",
    "call.callee_realm": "to.example",
    "call.request": "200",
    "call.request_realm": "request.example",
    "call.status": "in-progress",
    "call.caller_name": "Ann",
    "call.user": "u1",
    "call.language": "en-us",
    "call.direction": "outbound",
    "recording.url": "http://h/r.mp3",
    "recording.duration": "12",
    "recording.id": "r1",
    "digits.default": "1",
    "digits.pin": "0042",
    "digits.empty": "",
    "var.color": "red",
    "header.X-Shop": "12",
    "transcription.text": "hello",
    "dial.status": "busy",
    "dial.id": "leg",
    "dial.duration": "0",
}
ALL = {
    "Call-ID": "a1@host",
    "Account-ID": "acc",
    "From": "+3901",
    "From-Realm": "from.example",
    "To": "100",
    "To-Realm": "to.example",
    "Request": "200",
    "Request-Realm": "request.example",
    "Call-Status": "in-progress",
    "Api-Version": "4.x",
    "Direction": "inbound",
    "Caller-ID-Name": "Ann",
    "Caller-ID-Number": "+3901",
    "User-ID": "u1",
    "Language": "en-us",
    "Recording-Url": "http://h/r.mp3",
    "Recording-Duration": "12",
    "Recording-ID": "r1",
    "Transcription-Text": "hello",
    "Custom-Application-Vars[color]": "red",
    "Custom-SIP-Headers[X-Shop]": "12",
    "Digits[default]": "1",
    "Digits[pin]": "0042",
}


def pivot(_: Any = "nothing came", **data: Any) -> dict[str, Any]:
    return node("pivot", {"voice_url": URL, **data}, _=_)


def request(facts: dict[str, str], **data: Any) -> Request:
    return fetch_request(step_of(pivot(**data), g.Fetch), facts)


def reply(body: object, content_type: str = "application/json", status: int = 200) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, content_type, data, URL)


def answered(answer: Reply, document: Any = None, script: str = "") -> list[str]:
    return texts(play(document or pivot(), script, fetch=lambda _: answer))


# --- the request --------------------------------------------------------------------------


def test_request_params() -> None:
    """§3.1 Request params: Call-ID Account-ID From From-Realm To To-Realm Request … Recording-ID Digits."""
    asked = request(FACTS)
    assert (asked.method, asked.url, asked.body) == ("GET", URL, b"")
    assert dict(asked.query) == ALL


def test_variables_and_headers_cannot_pass_for_parameters() -> None:
    """§3.2 Params actually sent: Custom-Application-Vars, Custom-SIP-Headers are apart from the call's own."""
    flow = node("set_variables", {"custom_application_vars": {"Call-ID": "x", "call.id": "y"}}, _=pivot())
    seen: list[Request] = []

    def serve(asked: Request) -> Reply:
        seen.append(asked)
        return reply(node("hangup"))

    play(flow, fetch=serve, facts={"header.X-Call-ID": "z"})
    sent = dict(seen[0].query)
    assert sent["Call-ID"] == "simulated"
    assert sent["Custom-Application-Vars[Call-ID]"] == "x"
    assert sent["Custom-Application-Vars[call.id]"] == "y"
    assert sent["Custom-SIP-Headers[X-Call-ID]"] == "z"


def test_a_call_rings_until_it_is_answered() -> None:
    """§7 Kazoo Call-Status: ringing, in-progress."""
    seen: list[str] = []

    def serve(asked: Request) -> Reply:
        seen.append(dict(asked.query)["Call-Status"])
        return reply(node("answer", _=pivot()) if len(seen) == 1 else node("hangup"))

    play(pivot(), fetch=serve)
    assert seen == ["ringing", "in-progress"]


def test_undefined_params_are_omitted() -> None:
    """§3.2: undefined ones omitted. `Api-Version` = `4.x`; `Direction` always `inbound`."""
    assert dict(request({}).query) == {"Direction": "inbound", "Api-Version": "4.x"}


def test_get_with_a_query() -> None:
    """§3.1 HTTP GET (query); §3.2: Query is appended to one already present."""
    seen: list[Request] = []

    def serve(asked: Request) -> Reply:
        seen.append(asked)
        return reply(node("hangup"))

    simulation = play(pivot(voice_url=f"{URL}?x=1"), fetch=serve, caller="+39", facts={"call.account": "a"})
    ((fetched, _),) = simulation.noted(Fetched)
    assert fetched.url.startswith(f"{URL}?x=1&Call-ID=simulated&Account-ID=a&From=%2B39&")
    assert parse_qs(urlsplit(fetched.url).query)["To"] == ["callee"]
    assert seen[0].method == "GET"


@pytest.mark.parametrize("method", ["post", "POST", "Post"])
def test_post_url_encoded(method: str) -> None:
    """§3.1 POST (url-encoded); §3.2 `method` any case; nested values are form-encoded `Digits[custom_name]=1234`."""
    asked = request(FACTS, method=method)
    assert (asked.method, asked.query) == ("POST", ())
    assert asked.content_type == "application/x-www-form-urlencoded"
    assert dict(parse_qsl(asked.body.decode())) == ALL


def test_post_json() -> None:
    """§3.2 `req_body_format` | `form` (default) or `json`, POST only."""
    asked = request(FACTS, method="post", req_body_format="json")
    assert asked.content_type == "application/json"
    body = json.loads(asked.body)
    assert body["Digits"] == {"default": "1", "pin": "0042"}
    assert body["Custom-Application-Vars"] == {"color": "red"}
    assert body["Call-ID"] == "a1@host"
    assert found(pivot(req_body_format="json")) == [("ignored-option", "warning", "/data/req_body_format")]


def test_nested_names_in_json() -> None:
    assert nested([("a", "1"), ("b[c]", "2"), ("b[d]", "3"), ("a[x]", "4"), ("[e]", "5"), ("f[g][h]", "6")]) == {
        "a": "1",
        "b": {"c": "2", "d": "3"},
        "a[x]": "4",
        "[e]": "5",
        "f[g][h]": "6",
    }


def test_twiml_is_asked_for_as_its_own_requests_do() -> None:
    """§3.5: the names of a TwiML request are those that TwiML's own requests have."""
    assert step_of(pivot(req_format="twiml"), g.Fetch).query == PIVOT.params()


def test_legacy_digits() -> None:
    """§3.1 `Digits`: legacy plain string, or map by `collection_name`."""
    query = dict(request(FACTS, legacy_digits=True).query)
    assert query["Digits"] == "1"
    assert not any(name.startswith("Digits[") for name in query)


def test_twiml_request_params() -> None:
    """§3.5 Request params: CallSid AccountSid From FromRealm … Digits Transcription*, DialCallStatus … after Dial."""
    asked = request(FACTS, req_format="twiml")
    assert dict(asked.query) == {
        "CallSid": "a1@host",
        "AccountSid": "acc",
        "From": "+3901",
        "FromRealm": "from.example",
        "To": "100",
        "ToRealm": "to.example",
        "CallStatus": "in-progress",
        "ApiVersion": "2010-04-01",
        "Direction": "inbound",
        "CallerName": "Ann",
        "CallerNumber": "+3901",
        "RecordingUrl": "http://h/r.mp3",
        "RecordingDuration": "12",
        "RecordingSid": "r1",
        "Digits": "1",
        "TranscriptionText": "hello",
        "DialCallStatus": "busy",
        "DialCallSid": "leg",
        "DialCallDuration": "0",
    }
    assert dict(request(FACTS, req_format="twiml", legacy_digits=True).query)["Digits"] == "1"


def test_collected_digits_are_cleared_in_twiml_mode() -> None:
    """§3.2: Collected digits are cleared after being sent in TwiML mode."""
    assert step_of(pivot(req_format="twiml"), g.Fetch).clear == ("digits.",)
    assert step_of(pivot(), g.Fetch).clear == ()


@pytest.mark.parametrize(
    ("given", "seconds"), [({}, 5.0), ({"req_timeout_ms": 250}, 0.25), ({"req_timeout_ms": "1"}, 0.001)]
)
def test_req_timeout_ms(given: dict[str, Any], seconds: float) -> None:
    """§3.2 `req_timeout_ms` | max 5000, default 5000; §0.4 ms."""
    assert request({}, **given).patience == seconds
    assert found(pivot(req_timeout_ms=5001))[0][:2] == ("bad-value", "error")


@pytest.mark.parametrize("url", ["ftp://h/x", "flow.php", "", "//h/x", "http://", "http://h h/", "http://h:0/", 5])
def test_voice_url(url: object) -> None:
    """§3.2 `voice_url` (required) | must match `^https?://`."""
    code, severity, where = found(pivot(voice_url=url))[0]
    assert code in ("bad-url", "bad-value", "wrong-type")
    assert (severity, where) == ("error", "/data/voice_url")
    assert found(node("pivot", {}))[0] == ("missing-option", "error", "/data")


def test_cdr_url_in_twiml_mode_only() -> None:
    """§3.2 `cdr_url` | TwiML mode only: POST form of the CDR."""
    assert found(pivot(cdr_url="http://h/")) == [("ignored-option", "warning", "/data/cdr_url")]
    assert step_of(pivot(cdr_url="http://h/"), g.Fetch).record_to == ""
    assert found(pivot(cdr_url="http://h/", req_format="twiml")) == []
    assert found(pivot(cdr_url="http://", req_format="twiml"))[0] == ("bad-url", "error", "/data/cdr_url")
    assert found(pivot(cdr_url="ftp://h/", req_format="twiml"))[0] == ("bad-value", "error", "/data/cdr_url")


def test_the_record_is_owed_once() -> None:
    more = "http://pivot.example/other"
    again = pivot(voice_url=more, cdr_url="http://h/cdr", req_format="twiml")
    served = canned({URL: reply(again), more: reply(FLOW)})
    simulation = play(pivot(cdr_url="http://h/cdr", req_format="twiml"), fetch=served)
    assert [each.url for each, _ in simulation.noted(RecordOwed)] == ["http://h/cdr"]
    assert texts(simulation) == ["hello from the server"]


def test_debug_keeps_all_that_was_asked_and_answered() -> None:
    """§3.2 `debug` | store request/response: those that follow in the call too."""
    more = "http://pivot.example/other"
    answer = reply(pivot(voice_url=more))
    headers = {"Content-Type": "application/json", "X-Server": "mine"}
    served = canned({URL: replace(answer, headers=headers), more: reply(b"{", "application/json")})
    first, second = (each for each, _ in play(pivot(debug=True, method="post"), fetch=served).noted(Fetched))
    assert (first.kept, first.status, first.unreadable, first.sent_type) == (True, 200, False, FORM)
    assert "Api-Version=4.x" in first.sent
    assert first.headers == {"content-type": "application/json", "x-server": "mine"}
    assert first.body == answer.body.decode()
    assert (second.kept, second.sent, second.unreadable, second.body) == (True, "", True, "{")
    (plain,) = (each for each, _ in play(pivot(), fetch=canned({URL: reply(FLOW)})).noted(Fetched))
    assert (plain.kept, plain.sent, plain.headers) == (False, "", {})


# --- the answer ---------------------------------------------------------------------------

FLOW = node("tts", {"text": "hello from the server"})


def test_a_json_answer_is_executed_in_place_of_the_flow() -> None:
    """§3.1 JSON answer executed; §3.2: it *replaces* the running flow (pivot node's own children are gone)."""
    assert answered(reply(FLOW)) == ["hello from the server"]


@pytest.mark.parametrize(
    ("content_type", "readers"),
    [
        ("application/json", ("kazoo",)),
        ("Application/JSON; charset=utf-8", ("kazoo",)),
        ("text/xml", ("pivot",)),
        ("application/xml; q=1", ("pivot",)),
        ("", ("pivot", "kazoo")),
        ("text/html", ("pivot", "kazoo")),
    ],
)
def test_content_type_picks_the_translator(content_type: str, readers: tuple[str, ...]) -> None:
    """§3.2: `application/json` -> flow; `text/xml`, `application/xml` -> TwiML; … other = try both; `;` ignored."""
    assert readers_for(step_of(pivot(), g.Fetch), content_type) == readers


def test_a_json_answer_under_another_name_is_read() -> None:
    assert answered(reply(FLOW, "text/html")) == ["hello from the server"]


TWIML = b"<Response><Say>hello in TwiML</Say></Response>"


@pytest.mark.parametrize("content_type", ["text/xml", "application/xml; charset=utf-8", "", "text/plain"])
def test_a_twiml_answer_is_executed(content_type: str) -> None:
    """§3.2: `text/xml`, `application/xml` -> TwiML; absent = xml; other = try both."""
    assert answered(reply(TWIML, content_type)) == ["hello in TwiML"]


def test_twiml_under_the_name_of_json_is_none() -> None:
    """§3.2: Content type picks the translator."""
    assert answered(reply(TWIML, "application/json")) == ["nothing came"]
    assert answered(reply(FLOW, "text/xml")) == ["nothing came"]


def test_twiml_may_go_on_with_a_callflow() -> None:
    """§3.5 Gather, Redirect; §3.2: either format answers either request."""
    gather = b'<Response><Gather numDigits="2" action="/picked"><Say>Which?</Say></Gather></Response>'
    served = canned({"http://pivot.example/picked": reply(FLOW), URL: reply(gather, "text/xml")})
    simulation = play(pivot(req_format="twiml"), "press 42", fetch=served)
    assert texts(simulation) == ["Which?", "hello from the server"]
    assert simulation.noted(Fetched)[1][0].method == "POST"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(reply(b"<Response>", "text/xml"), id="bad XML"),
        pytest.param(reply(b"<html/>", "text/html"), id="neither"),
        pytest.param(reply({}, status=404), id="4xx"),
        pytest.param(reply({}, status=500), id="5xx"),
        pytest.param(reply(FLOW, status=302), id="3xx"),
        pytest.param(reply(b"{", "application/json"), id="bad JSON"),
        pytest.param(reply(node("tts", {})), id="schema errors"),
        pytest.param(reply(b"", "application/json"), id="empty body"),
    ],
)
def test_all_failures_go_to_the_usual_child(answer: Reply) -> None:
    """§3.2 Failures: all failures -> `_`, reason in call log."""
    assert answered(answer) == ["nothing came"]


@pytest.mark.parametrize("script", ["fail", "fail 503"])
def test_no_answer_goes_to_the_usual_child(script: str) -> None:
    """§3.2: connect/DNS failure … no answer -> `_`."""
    simulation = play(pivot(), script, fetch=lambda _: reply(FLOW))
    assert texts(simulation) == ["nothing came"]
    ((fetched, _),) = simulation.noted(Fetched)
    assert fetched.problem


def test_without_a_child_a_failure_hangs_up() -> None:
    """§3.2: any failure -> `_` child, else hang up."""
    simulation = play(node("pivot", {"voice_url": URL}), "fail")
    assert simulation.ending.by == "flow"
    assert simulation.ending.reason.startswith("no flow came from")


def test_last_good_flow() -> None:
    """§3.2: plus last-good-flow cache as option."""
    cache = LastGood()
    served = canned({URL: [reply(FLOW), reply({}, status=500)]})
    heard = []
    for document in (pivot(last_good=True), pivot(last_good=True), pivot()):
        call = ScriptedCall(parse_script(""), Scenario(fetch=served))
        run_sync(Executor(graph_of(document), last_good=cache).run(call))
        heard.append([each.prompt.text for each in call.spoken])
    assert heard == [["hello from the server"], ["hello from the server"], ["nothing came"]]


def test_a_flow_may_ask_for_the_next_one() -> None:
    """§7 Kazoo: step entered = next pivot request. Digits of one flow are told in the next request."""
    ask = node("collect_dtmf", {"max_digits": 4, "collection_name": "pin"}, _=pivot(voice_url=f"{URL}?2"))
    served = canned({f"{URL}?2": reply(FLOW), URL: reply(ask)})
    simulation = play(pivot(), "press 12#", fetch=served)
    assert texts(simulation) == ["hello from the server"]
    assert parse_qs(urlsplit(simulation.noted(Fetched)[1][0].url).query)["Digits[pin]"] == ["12"]
    assert [simulation.noted(Fetched)[0][0].problem, simulation.path] == ["", ""]


# --- webhook ------------------------------------------------------------------------------


def test_webhook() -> None:
    """§3.4 beyond the seed: `webhook`."""
    data = {"uri": "http://h/hook", "custom_data": {"order": 7, "vip": True}}
    simulation = play(node("webhook", data, _="next"), caller="+3901")
    ((callback, _),) = simulation.noted(Callback)
    assert (callback.method, callback.url, callback.encoding) == ("POST", "http://h/hook", "form")
    assert callback.params["hook_event"] == "callflow"
    assert callback.params["From"] == "+3901"
    assert (callback.params["custom_data[order]"], callback.params["custom_data[vip]"]) == ("7", "true")
    assert texts(simulation) == ["next"]
    ((get, _),) = play(node("webhook", {**data, "http_verb": "get"})).noted(Callback)
    assert replace(get, params={}) == Callback("http://h/hook", {}, "GET")
    assert found(node("webhook", {"uri": "http://h/", "retries": 3}))[0][0] == "ignored-option"
    assert found(node("webhook", {"uri": "h"})) == [("bad-url", "error", "/data/uri")]

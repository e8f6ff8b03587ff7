"""A day of a customer of Kazoo: a number gets a callflow URL by HTTP, is called, asks, records; somebody is called; the
log and the records are read; the guide's samples by curl.
"""

from __future__ import annotations

import json
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import sipp, sound, trees
from kit.api import Api, add_account, first_token
from kit.baresip import Baresip
from kit.curl import curl_json
from kit.daemon import ROOT, Daemon, poll
from kit.stores import on_both
from kit.web import Asked, WebServer

pytestmark = pytest.mark.peer("sipp", "curl", "baresip")

CALLER = 600.0
SAMPLES = tomllib.loads((ROOT / "tests" / "data" / "kazoo-guide.toml").read_text())
"""Callflows of Kazoo's guide by their headings: those that are good, and those that it prints wrong."""
NUMBER = "+390115550166"


def module(name: str, child: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    return {"module": name, "data": data, "children": {"_": child} if child else {}}


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    server = WebServer()
    collect = module(
        "collect_dtmf",
        module("pivot", voice_url=server.url("/second.php?shop=7"), method="post"),
        max_digits=2,
        collection_name="pin",
    )
    first = module("record_call", module("tts", collect, text="Please dial."), action="start", url=server.url("/kept"))

    def json_page(flow: object) -> tuple[int, str, str]:
        return 200, "application/json", json.dumps(flow)

    server.pages |= {
        "/first.php": json_page(first),
        "/second.php": json_page(module("tts", module("pivot", voice_url=server.url("/third.php")), text="Right.")),
        "/third.php": (200, "application/json", '{"module": "tts", "data": {}}'),
        "/twiml.php": (200, "text/xml", "<Response><Redirect>/more.php</Redirect></Response>"),
        "/twimlish": (200, "text/plain", "no flow"),
        "/more.php": (200, "text/xml", "<Response><Say>Bye.</Say></Response>"),
    }
    with server:
        yield server


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, store: dict[str, object]) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("kazoo"), {"1000": "Hello!"}, settings={"store": store}) as daemon:
        yield daemon


def get(house: Daemon, path: str, **headers: str) -> tuple[int, Any]:
    """Status and JSON of the answer under ``/v2``."""
    given = [part for name, value in headers.items() for part in ("-H", f"{name.replace('_', '-')}: {value}")]
    return curl_json(*given, f"http://127.0.0.1:{house.http_port}/v2{path}")


def somebody_is_called(house: Daemon, web: WebServer, folder: Path) -> None:
    """Kazoo's API, as far as we have it, places no calls and reads no records of them: those are had by ours. The web
    server tells what to play, is told the key, gets the recording and the record of the call.
    """
    api = Api(house)
    after = module("pivot", voice_url=web.url("/pressed.php"), method="post")
    collect = module("collect_dtmf", after, max_digits=1, collection_name="answer", timeout=20_000)
    played = module("play", collect, id=web.url("/root.wav"))
    begin = module("record_call", played, action="start", format="wav", url=web.url("/called"))
    wav = sound.write_wav(folder.parent / "root.wav", trees.SOUNDS["root.wav"])
    web.pages |= {
        "/called.php": (200, "application/json", json.dumps(begin)),
        "/root.wav": (200, "audio/wav", wav.read_bytes()),
        "/pressed.php": (200, "application/json", json.dumps(module("hangup"))),
    }
    where = {"voice_url": web.url("/called.php"), "req_format": "twiml", "cdr_url": web.url("/cdr/called")}
    flow = {"document": module("pivot", **where, debug=True), "dialect": "kazoo"}
    with Baresip(folder, user="agent", audio=sound.tone(CALLER, 20.0), keep=True, answers=True) as agent:
        call = api.call(agent.uri, flow, **{"from": NUMBER})
        agent.wait_heard(trees.ROOT_HZ, 1.0)
        agent.press("7")
        agent.wait_event("CALL_CLOSED")

    put = web.wait_for("PUT", f"/called/call_recording_{call}.wav")
    for data in (put.body, api.sound(call)):
        theirs, ours = sound.decoded(data)
        assert sound.find_tone(theirs, CALLER)
        assert not sound.find_tone(theirs, trees.ROOT_HZ)
        assert sound.find_tone(ours, trees.ROOT_HZ)
    asked, pressed = web.wait_for("GET", "/called.php").form, web.wait_for("POST", "/pressed.php").form
    assert (asked["CallSid"], asked["To"], asked["From"]) == (call, agent.uri, NUMBER)
    assert (pressed["Call-ID"], pressed["Digits[answer]"]) == (call, "7")
    sent = web.wait_for("POST", "/cdr/called").form
    record = api.record(call)
    told = {key: record["call"][key] for key in ("direction", "caller", "callee", "ended_by", "cause", "path")}
    assert told == {
        "direction": "outbound",
        "caller": NUMBER,
        "callee": agent.uri,
        "ended_by": "flow",
        "cause": "NORMAL_CLEARING",
        "path": "",
    }
    assert (sent["Call-ID"], sent["Call-Direction"], sent["Callee-ID-Number"]) == (call, "outbound", agent.uri)
    assert (sent["Disposition"], sent["Hangup-Cause"]) == ("ANSWER", "NORMAL_CLEARING")
    assert sent["Billing-Seconds"] == str(round(record["call"]["duration"]))
    _, log = get(house, f"/accounts/default/pivot/debug/{call}", X_Auth_Token=first_token(house))
    assert log["data"][0]["uri"].startswith(web.url(f"/called.php?CallSid={call}&"))
    assert [each["iteration"] for each in log["data"]] == [1, 1, 1, 2, 2, 2]


@on_both
def test_a_day(house: Daemon, web: WebServer, tmp_path: Path) -> None:
    web.requests.clear()
    api = Api(house)
    wish = {"number": NUMBER, "callflow_url": web.url("/first.php"), "callflow_debug": True}
    status, made = api.ask("POST", "/numbers", wish)
    assert (status, made["callflow_method"], made["flow"]) == (201, "get", "")
    fill = {"FIRST_MS": "2500", "FIRST_KEY": "4", "SECOND_MS": "300", "SECOND_KEY": "2"}
    audio = sound.tone(CALLER, 10.0)
    sipp.start("uac_info", tmp_path, server=house.address, number=NUMBER, fill=fill, audio=audio).finish()
    (call,) = house.calls_to(NUMBER)
    house.wait_closed(call)

    kept = poll(lambda: next((each for each in web.requests if each.method == "PUT"), None), 15, "no recording came")
    assert kept.path == f"/kept/call_recording_{call}.mp3"
    for data in (kept.body, api.sound(call)):
        left, right = sound.decoded(data)
        assert sound.find_tone(left, CALLER), "the caller is not in the recording"
        assert not sound.find_tone(right, CALLER), "the caller is on both sides"
    record = api.record(call)
    told = {key: record["call"][key] for key in ("direction", "caller", "callee", "ended_by", "cause", "path")}
    assert told == {
        "direction": "inbound",
        "caller": "+39011555",
        "callee": NUMBER,
        "ended_by": "flow",
        "cause": "NORMAL_CLEARING",
        "path": "_",
    }
    pivots = [each for each in web.requests if each.path.endswith(".php")]
    assert [(each.method, each.path) for each in pivots] == [
        ("GET", "/first.php"),
        ("POST", "/second.php"),
        ("GET", "/third.php"),
    ]
    first, second, third = (each.form for each in pivots)
    told = {"Call-ID": call, "Account-ID": "default", "To": NUMBER, "Request": NUMBER, "Direction": "inbound"}
    assert {name: first[name] for name in told} == told
    assert {"From", "From-Realm", "To-Realm", "Request-Realm", "Call-Status", "Api-Version", "Caller-ID-Number"} <= set(
        first
    )
    assert (second["Digits[pin]"], second["shop"], second["Call-Status"]) == ("42", "7", "in-progress")
    assert third["Digits[pin]"] == "42"

    token = first_token(house)
    status, log = get(house, "/accounts/default/pivot/debug", X_Auth_Token=token, X_Request_ID="mine")
    assert (status, log["status"], log["request_id"], log["page_size"]) == (200, "success", "mine", 1)
    (entry,) = log["data"]
    assert (entry["call_id"], entry["iteration"], entry["status_code"]) == (call, 3, "200")
    assert entry["has_schema_errors"] is True
    assert entry["uri"].startswith(web.url("/third.php?Call-ID="))
    for wanted in (call, entry["debug_id"]):
        status, log = get(house, f"/accounts/default/pivot/debug/{wanted}", Authorization=f"Bearer {token}")
        assert status == 200
        assert [each["iteration"] for each in log["data"]] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    asked, answered, body = log["data"][3:6]
    assert (asked["method"], asked["uri"]) == ("post", web.url("/second.php?shop=7"))
    assert asked["req_headers"] == {"content-type": "application/x-www-form-urlencoded"}
    assert "Digits%5Bpin%5D=42" in asked["req_body"]
    assert (answered["resp_status_code"], answered["resp_headers"]["content-type"]) == ("200", "application/json")
    assert json.loads(body["resp_body"])["data"]["text"] == "Right."

    (flow,) = [each["flow"] for each in api.ask("GET", "/numbers")[1]["numbers"] if each["number"] == "1000"]
    status, changed = api.ask("PATCH", f"/numbers/{made['id']}", {"flow": flow})
    assert status == 200, changed
    assert (changed["flow"], changed.get("callflow_url")) == (flow, None)
    names = [flow["name"] for flow in api.ask("GET", "/flows")[1]["flows"]]
    assert not [name for name in names if name.startswith("callflow")], "a flow that was made for a number goes with it"

    somebody_is_called(house, web, tmp_path / "agent")


def test_the_record_of_a_call_is_sent_in_twiml_mode(house: Daemon, web: WebServer, tmp_path: Path) -> None:
    wish = {
        "number": "7100",
        "callflow_url": web.url("/twiml.php"),
        "callflow_method": "POST",
        "callflow_format": "twiml",
        "callflow_body": "json",
        "callflow_timeout": 2,
        "callflow_cdr_url": web.url("/cdr"),
    }
    assert Api(house).ask("POST", "/numbers", wish)[0] == 201
    sipp.start("uac_waits", tmp_path, server=house.address, number="7100", audio=sound.tone(CALLER, 5.0)).finish()
    (call,) = house.calls_to("7100")
    record = web.wait_for("POST", "/cdr")
    asked = json.loads(web.wait_for("POST", "/twiml.php").body)
    assert (asked["CallSid"], asked["To"], asked["ApiVersion"]) == (call, "7100", "2010-04-01")
    assert record.headers["content-type"] == "application/x-www-form-urlencoded"
    told = {"Call-ID": call, "To": "7100", "Hangup-Cause": "NORMAL_CLEARING", "Hangup-Code": "sip:200"}
    assert {name: record.form[name] for name in told} == told
    assert record.form["Disposition"] == "ANSWER"
    _, log = get(house, "/accounts/default/pivot/debug", X_Auth_Token=first_token(house))
    assert call not in {each["call_id"] for each in log["data"]}, "it was not asked to be kept"


@pytest.mark.parametrize("failing", ["/gone.php", "/slow.php", "/twimlish"])
def test_without_a_callflow_the_call_is_hung_up(house: Daemon, web: WebServer, tmp_path: Path, failing: str) -> None:
    over = threading.Event()

    def slow(_: Asked) -> tuple[int, str, str]:
        over.wait(10)
        return 200, "text/plain", "no flow"

    web.pages["/slow.php"] = slow
    number = f"72{len(failing)}{sum(failing.encode()) % 100}"
    wish = {"number": number, "callflow_url": web.url(failing), "callflow_timeout": 1, "callflow_debug": True}
    assert Api(house).ask("POST", "/numbers", wish)[0] == 201
    sipp.start("uac_refused", tmp_path, server=house.address, number=number, fill={"STATUS": "480"}).finish()
    (end,) = [house.wait_closed(call) for call in house.calls_to(number)]
    over.set()
    assert end["by"] == "flow"
    assert "no flow came from" in end["reason"]


@pytest.mark.parametrize(("name", "sample"), SAMPLES["good"].items(), ids=SAMPLES["good"])
def test_the_callflows_of_the_guide_are_taken_from_curl(house: Daemon, name: str, sample: str) -> None:
    status, saved = send(house, name, sample)
    assert (status, saved["document"]) == (201, sample)


@pytest.mark.parametrize(("name", "sample"), SAMPLES["bad"].items(), ids=SAMPLES["bad"])
def test_what_the_guide_prints_wrong_is_refused_with_its_place(house: Daemon, name: str, sample: str) -> None:
    status, refusal = send(house, name, sample)
    assert (status, refusal["error"]["code"], refusal["error"]["field"]) == (422, "bad_flow", "document")
    where = {"business hours": "line 9", "recording per user": "/children/_/children/_/children/module"}[name]
    assert refusal["error"]["findings"][0]["where"].startswith(where)


def send(house: Daemon, name: str, sample: str) -> tuple[int, Any]:
    """Have a callflow stored, as somebody at a shell does."""
    body = json.dumps({"name": f"guide: {name}", "document": sample})
    given = ["-H", f"Authorization: Bearer {first_token(house)}", "-H", "Content-Type: application/json", "-d", body]
    return curl_json(*given, f"http://127.0.0.1:{house.http_port}/api/v1/flows")


def test_who_may_read_the_log(house: Daemon) -> None:
    other = add_account(house, "other")
    base = "/accounts/default/pivot/debug"

    def refusal(status: int, answer: dict[str, Any]) -> tuple[int, str, str, str]:
        assert answer["request_id"]
        return status, answer["error"], answer["message"], answer["status"]

    unknown = (401, "401", "invalid_credentials", "error")
    assert refusal(*get(house, base)) == unknown
    assert refusal(*get(house, base, X_Auth_Token="nonsense")) == unknown
    assert refusal(*get(house, base, X_Auth_Token=other)) == (403, "403", "forbidden", "error")
    assert refusal(*get(house, "/accounts/nobody/pivot/debug", X_Auth_Token=other)) == (
        403,
        "403",
        "forbidden",
        "error",
    )
    mine = first_token(house)
    assert refusal(*get(house, f"{base}/none", X_Auth_Token=mine)) == (404, "404", "not_found", "error")
    assert refusal(*get(house, "/accounts/default/callflows", X_Auth_Token=mine)) == (404, "404", "not_found", "error")
    status, wrong = get(house, f"{base}?page_size=many", X_Auth_Token=mine)
    assert refusal(status, wrong) == (400, "400", "validation_error", "error")
    assert "page_size" in wrong["data"]


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({}, "flow or"),
        ({"flow": "1000.json", "callflow_url": "http://h/"}, "one of flow"),
        ({"callflow_url": "ftp://h/"}, "callflow_url"),
        ({"callflow_url": "http://h/", "callflow_method": "put"}, "callflow_method"),
        ({"callflow_url": "http://h/", "callflow_timeout": 6}, "callflow_timeout"),
        ({"callflow_url": "http://h/", "callflow_cdr_url": "http://h/"}, "callflow_cdr_url"),
    ],
)
def test_what_a_number_cannot_be(house: Daemon, wish: dict[str, Any], says: str) -> None:
    status, answer = Api(house).ask("POST", "/numbers", {"number": "7300", **wish})
    assert status == 400
    assert says in answer["error"]["message"] or "one of flow" in answer["error"]["message"]

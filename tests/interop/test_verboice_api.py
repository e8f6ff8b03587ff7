"""Verboice's API as its users ask it (seed and source of Verboice), with a trunk and a web server that are not ours."""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import sipp, sound
from kit.api import Api, first_token
from kit.curl import curl
from kit.daemon import Daemon, poll
from kit.stores import on_both
from kit.web import Asked, WebServer

HELLO = "<Response><Say>Hello</Say></Response>"


def if_variable_is(variable: str, value: str, *, next: int) -> dict[str, Any]:  # noqa: A002 - Verboice's word
    """The first step of an export: to ``next`` if so, else the call is over."""
    condition = {"variable": variable, "operator": "==", "value": value}
    return {"id": 1, "type": "branch", "root": 1, "options": [{"conditions": [condition], "next": next}]}


ASKS = {
    "workflow": [
        if_variable_is("calls", "7", next=2),
        {"id": 2, "type": "write_variable", "variable": "calls", "value": "8", "next": 3},
        {"id": 3, "type": "capture", "timeout": 1, "number_of_attempts": 1, "next": 4},
        {"id": 4, "type": "hang_up"},
    ]
}
"""Waits for keys before it hangs up: SIPp has no place for a BYE right behind its ACK."""
CALLER = 600.0
LATER = "2037-01-02 10:11:12"


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@dataclass(frozen=True, slots=True)
class Verboice:
    """Somebody who asks the API."""

    daemon: Daemon
    user: str = "ada@example.org"
    password: str = "lovelace"

    def ask(self, method: str, path: str, body: Any = None, **params: str) -> tuple[int, Any]:
        """Status, and JSON if it is some, else text. ``vars__age`` is the parameter ``vars[age]``."""
        named = {name.replace("__", "[") + ("]" if "__" in name else ""): value for name, value in params.items()}
        return self.send(method, path, body, "", named)

    def send(self, method: str, path: str, body: Any, kind: str, params: dict[str, str]) -> tuple[int, Any]:
        query = urllib.parse.urlencode(params)
        url = f"http://127.0.0.1:{self.daemon.http_port}/api{path}" + (f"?{query}" if query else "")
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode() if body is not None else None
        if method in ("PUT", "POST") and data is None:
            data = b""
        request = urllib.request.Request(url, method=method, data=data)
        request.add_header("Authorization", basic(self.user, self.password))
        request.add_header("Content-Type", kind or ("text/xml" if isinstance(body, str) else "application/json"))
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, self._read(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, self._read(error.read())

    @staticmethod
    def _read(data: bytes) -> Any:
        try:
            return json.loads(data)
        except ValueError:
            return data.decode()

    def ok(self, method: str, path: str, body: Any = None, **params: str) -> Any:
        status, answer = self.ask(method, path, body, **params)
        assert status == 200, (status, answer)
        return answer

    def wait(self, call: int, *states: str) -> str:
        def there() -> str | None:
            state = str(self.ok("GET", f"/calls/{call}/state.json")["state"])
            return state if state in states else None

        return poll(there, 30.0, f"call {call} was not {states}", every=0.1)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, store: dict[str, object]) -> Iterator[Daemon]:
    daemon = Daemon(
        tmp_path_factory.mktemp("verboice"),
        {"5000": HELLO, "5001": ASKS},
        trunks=[{"name": "file", "host": "127.0.0.1:9"}],
        settings={"queue": {"rate": 0.0}, "store": store},
    )
    with daemon:
        people = [("ada", "owner", "ada@example.org", "lovelace"), ("vera", "viewer", "vera@example.org", "reads only")]
        for name, role, email, password in people:
            body = {"name": name, "role": role, "email": email, "password": password}
            assert Api(daemon).ask("POST", "/users", body)[0] == 201
        yield daemon


@pytest.fixture
def ada(house: Daemon) -> Verboice:
    return Verboice(house)


@pytest.fixture
def project(ada: Verboice) -> int:
    return int(ada.ok("GET", "/projects.json")[0]["id"])


def channel(ada: Verboice, name: str, port: int, **more: Any) -> dict[str, Any]:
    config = {"domain": f"127.0.0.1:{port}", "number": "+39099", "limit": "3", "direction": "outbound"}
    return dict(ada.ok("POST", "/channels.json", {"kind": "custom_sip", "name": name, "config": config, **more}))


def somebody_calls(house: Daemon, ada: Verboice, survey: str, web: WebServer, folder: Path) -> int:
    """A number gets a flow that records whoever calls and asks for a key; the call's integer, once it is over.

    Verboice's API has neither numbers nor recordings nor what a call did: those are had by ours.
    """
    web.pages |= {
        "/kept": (200, "text/xml", f'<Response><Gather numDigits="1" action="{web.url("/rated")}"/></Response>'),
        "/rated": (200, "text/xml", "<Response><Hangup/></Response>"),
    }
    first = f'<Response><Record finishOnKey="#" timeout="20" action="{web.url("/kept")}"/></Response>'
    hotline = ada.ok("POST", f"{survey}/call_flows", {"name": "Hotline", "flow": first})
    number = "+39011800"
    assert Api(house).ask("POST", "/numbers", {"number": number, "flow": "Hotline"})[0] == 201
    fill = {"FIRST_MS": "2500", "FIRST_KEY": "#", "SECOND_MS": "300", "SECOND_KEY": "5"}
    audio = sound.tone(CALLER, 20.0)
    sipp.start("uac_info", folder, server=house.address, number=number, fill=fill, audio=audio).finish()
    (own,) = house.calls_to(number)
    record = Api(house).record(own)
    bearer = f"Authorization: Bearer {first_token(house)}"
    status, data = curl("-H", bearer, web.wait_for("POST", "/kept").form["RecordingUrl"])
    assert (status, data) == (200, Api(house).sound(own))
    (left,) = sound.decoded(data)
    ((begin, end),) = sound.find_tone(left, CALLER)
    assert end - begin > 1.0, "what was said before the # is there"
    told = {key: record["call"][key] for key in ("direction", "caller", "callee", "flow", "ended_by", "cause", "path")}
    assert told == {
        "direction": "inbound",
        "caller": "+39011555",
        "callee": number,
        "flow": "Hotline",
        "ended_by": "flow",
        "cause": "NORMAL_CLEARING",
        "path": "Hangup.1",
    }

    call = ada.ok("GET", f"/calls/{own}/state.json")["call_id"]
    kept, rated = web.wait_for("POST", "/kept").form, web.wait_for("POST", "/rated").form
    assert (kept["CallSid"], kept["From"]) == (str(call), "+39011555")
    assert (rated["CallSid"], rated["Digits"]) == (str(call), "5")
    details = ada.ok("GET", f"/calls/{call}/details.json")
    contact = ada.ok("GET", f"{survey}/contacts/by_address/+39011555.json")
    assert (details["direction"], details["state"], details["contact_id"]) == ("incoming", "completed", contact["id"])
    assert (details["call_flow_id"], details["project_name"]) == (hotline["id"], "Survey")
    assert len(ada.ask("GET", f"/logs/{call}.csv")[1].splitlines()) > 1
    return int(call)


@on_both
def test_a_day_of_a_customer(house: Daemon, ada: Verboice, tmp_path: Path) -> None:
    """Channel, project, schedule and flow are made; a busy call is made again, a call comes in and is recorded;
    callbacks, details, variables, the recording.
    """
    busy = sipp.start("uas_refuse", tmp_path / "busy", fill={"STATUS": "486 Busy Here"})
    answers: list[sipp.Sipp] = []
    told: list[dict[str, str]] = []

    def status(asked: Asked) -> tuple[int, str, str]:
        told.append({**asked.form, "authorization": asked.headers.get("authorization", "")})
        if asked.form["CallStatus"] == "busy":  # from now on somebody answers there
            busy.finish()
            answers.append(sipp.start("uas_echo", tmp_path / "answers", port=busy.port, calls=2))
        return 200, "text/plain", ""

    web = WebServer({"/status": status, "/more": (200, "text/xml", "<Response><Say>More</Say></Response>")})
    with web:
        made = ada.ok(
            "POST",
            "/projects.json",
            {
                "name": "Survey",
                "time_zone": "Buenos Aires",
                "status_callback_url": web.url("/status?of=survey"),
                "status_callback_user": "hook",
                "status_callback_password": "geheim",
            },
        )
        assert (made["name"], made["time_zone"], made["contact_vars"]) == ("Survey", "Buenos Aires", [])
        survey = f"/projects/{made['id']}"
        variable = ada.ok("POST", f"{survey}/project_variables", {"name": "age"})
        ada.ok("POST", f"{survey}/project_variables", {"name": "town"})
        assert ada.ok("GET", f"{survey}/project_variables.json")[0] == variable
        schedule = ada.ok(
            "POST",
            f"{survey}/schedules.json",
            {"name": "at once", "time_from_str": "0:00", "time_to_str": "24:00", "retries": "0m", "weekdays": ""},
        )
        steps = [
            if_variable_is("age", "38", next=2),
            {"id": 2, "type": "write_variable", "variable": "age", "value": "39", "next": 3},
            {"id": 3, "type": "mark_as_successful"},
        ]
        flow = ada.ok("POST", f"{survey}/call_flows", {"name": "Survey", "flow": json.dumps({"workflow": steps})})
        assert ada.ok("GET", f"{survey}/call_flows.json") == [flow]
        line = channel(ada, "line", busy.port, call_flow="Survey")
        assert (line["call_flow"], line["enabled"], line["config"]["limit"]) == ("Survey", True, 3)
        assert "password" not in json.dumps(line)

        ada.ok("POST", f"{survey}/contacts.json", address="+39011", vars__town="Ivrea", vars__age="12")
        answer = ada.ok(
            "GET", "/call", channel="line", address="+39 011", vars__age="38", schedule="at once",
            callback_params__ref="7",
        )  # fmt: skip
        assert answer == {"call_id": answer["call_id"], "state": "queued"}
        call = answer["call_id"]
        assert ada.wait(call, "completed", "failed") == "completed"
        answers[0].stop()  # it would take another call: one that leaves at once may be gone before it is seen to listen
        poll(lambda: told[-1]["CallStatus"] == "completed" or None, 15, "nobody was told")
        made_told = list(told)
        came = somebody_calls(house, ada, survey, web, tmp_path / "comes")

        def of_it() -> list[str] | None:
            found = [each["CallStatus"] for each in told if each["CallSid"] == str(came)]
            return found if "completed" in found else None

        assert poll(of_it, 15, "nobody was told of who called") == ["in-progress", "completed"]
    told = made_told
    assert [each["CallStatus"] for each in told] == ["ringing", "busy", "in-progress", "completed"]
    assert {(each["CallSid"], each["From"], each["of"], each["ref"]) for each in told} == {
        (str(call), "+39011", "survey", "7")
    }
    assert {each["authorization"] for each in told} == {basic("hook", "geheim")}
    assert (told[1]["CallStatusReason"], told[1]["CallStatusCode"]) == ("busy", "486")
    assert re.search(r"INVITE sip:\+39011@.*\n(.*\n)*?From: .*<sip:\+39099@", answers[0].messages())

    details = ada.ok("GET", f"/calls/{call}/details.json")
    contact = ada.ok("GET", f"{survey}/contacts/by_address/+39011.json")
    assert (contact["addresses"], contact["vars"]) == (["+39011"], {"age": 39, "town": "Ivrea"})
    for moment in ("started_at", "finished_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", details.pop(moment))
    assert details == {
        "call_id": call,
        "state": "completed",
        "project_id": made["id"],
        "project_name": "Survey",
        "direction": "outgoing",
        "channel_id": line["id"],
        "channel_name": "line",
        "call_flow_id": flow["id"],
        "call_flow_name": "Survey",
        "contact_id": contact["id"],
        "contact_address": "+39011",
        "schedule_id": schedule["id"],
        "schedule_name": "at once",
    }
    log = ada.ask("GET", f"/logs/{call}.csv")[1].splitlines()
    assert log[0] == "Entry ID,Time,Step name,Command,Action,Detail"
    assert any(line.split(",")[3] == "Learned" for line in log[1:])
    assert ada.ok("POST", f"/calls/{call}/cancel") == {"call_id": call, "state": "completed"}


def test_a_posted_flow_goes_on_with_what_a_server_answers(ada: Verboice, tmp_path: Path) -> None:
    """``CallSid`` of its requests is the integer, ``callback_params`` come with them."""
    uas = sipp.start("uas_echo", tmp_path / "uas")
    asked: list[dict[str, str]] = []

    def more(request: Asked) -> tuple[int, str, str]:
        asked.append(request.form)
        return 200, "text/xml", "<Response><Hangup/></Response>"

    with WebServer({"/more": more}) as web:
        flow = f'<Response><Pause length="1"/><Redirect>{web.url("/more?a=b")}</Redirect></Response>'
        channel(ada, "posted", uas.port)
        call = ada.ok(
            "POST", "/call", flow, channel="posted", address=f"sip:x@127.0.0.1:{uas.port}", callback_params__k="v",
            status_callback_url=web.url("/status"),
        )["call_id"]  # fmt: skip
        assert ada.wait(call, "completed", "failed") == "completed"
        web.wait_for("GET", "/status")
        uas.finish()
    assert [(each["CallSid"], each["From"], each["k"], each["a"]) for each in asked] == [
        (str(call), f"sip:x@127.0.0.1:{uas.port}", "v", "b")
    ]


def test_a_call_gets_another_flow(house: Daemon, ada: Verboice, tmp_path: Path) -> None:
    uas = sipp.start("uas_echo", tmp_path / "uas")
    waits = '<Response><Pause length="60"/></Response>'
    call = ada.ok("POST", "/call", waits, channel="file", address=f"sip:x@127.0.0.1:{uas.port}")["call_id"]
    assert ada.wait(call, "active")
    house.wait_log(f"x@127.0.0.1:{uas.port}")
    assert ada.ask("GET", f"/calls/{call}/redirect", call_flow_id="4711") == (404, "")
    assert ada.ask("GET", f"/calls/{call}/redirect", project_id="4711") == (404, "")
    assert ada.ask("GET", f"/calls/{call}/redirect") == (400, {"error": "no call flow is named"})
    hangup = "<Response><Hangup/></Response>"

    def redirected() -> bool | None:
        status, answer = ada.ask("POST", f"/calls/{call}/redirect.json", hangup)
        return status == 200 or (None if answer == {"error": "nobody has answered yet"} else False)

    assert poll(redirected, 10, "nobody answered")
    assert ada.wait(call, "completed", "failed") == "completed"
    uas.finish()
    assert ada.ask("POST", f"/calls/{call}/redirect", hangup) == (400, {"error": "the call is completed"})


def test_a_call_that_fails(ada: Verboice, tmp_path: Path) -> None:
    uas = sipp.start("uas_refuse", tmp_path / "uas", fill={"STATUS": "603 Decline"})
    call = ada.ok("POST", "/call", HELLO, channel="file", address=f"sip:x@127.0.0.1:{uas.port}")["call_id"]
    assert ada.wait(call, "failed") == "failed"
    uas.finish()
    details = ada.ok("GET", f"/calls/{call}/details.json")
    assert (details["fail_reason"], details["fail_code"], details["fail_details"]) == ("error", "603", "Decline")
    assert "call_flow_id" not in details


def test_a_call_that_the_account_may_not_make(house: Daemon, ada: Verboice) -> None:
    """It has failed, its details say why, and who asked to be told is told."""
    own = Api(house)
    with WebServer({"/status": (200, "text/plain", "")}) as web:
        assert own.ask("PATCH", "/accounts/default", {"allowed": ["+39"]})[0] == 200
        try:
            wish = {"channel": "file", "address": "+4930", "status_callback_url": web.url("/status?of=mine")}
            call = ada.ok("POST", "/call", HELLO, **wish)["call_id"]
            assert ada.wait(call, "completed", "failed") == "failed"
        finally:
            assert own.ask("PATCH", "/accounts/default", {"allowed": []})[0] == 200
        told = web.wait_for("GET", "/status")
    details = ada.ok("GET", f"/calls/{call}/details.json")
    assert (details["fail_reason"], details["fail_details"]) == ("error", "the account may not call +4930")
    wanted = {"of": "mine", "CallSid": str(call), "From": "+4930", "CallStatus": "failed", "CallStatusReason": "error"}
    assert told.form == wanted


def test_calls_that_others_made_are_there(house: Daemon, ada: Verboice) -> None:
    own = Api(house).call("nobody", {"document": HELLO, "dialect": "twiml"}, trunk="none")
    Api(house).wait(own, "ended")
    found = ada.ok("GET", f"/calls/{own}/state.json")
    assert found["state"] == "failed"
    assert ada.ok("GET", f"/calls/{found['call_id']}/state") == found
    assert ada.ok("GET", f"/calls/{found['call_id']}/details.json")["contact_address"] == "nobody"


def test_whoever_calls_is_a_contact_with_variables(house: Daemon, ada: Verboice, project: int, tmp_path: Path) -> None:
    ada.ok("POST", f"/projects/{project}/project_variables", {"name": "calls"})
    ada.ok("POST", f"/projects/{project}/contacts", {"address": "+39011555", "vars": {"calls": "7"}})
    sipp.start("uac_waits", tmp_path / "uac", server=("127.0.0.1", house.sip_port), number="5001").finish()

    def known() -> int | None:
        found = ada.ok("GET", f"/projects/{project}/contacts/by_address/+39011555.json")["vars"]["calls"]
        return found if found != 7 else None

    assert poll(known, 15, "nothing was remembered") == 8
    calls = Api(house).ask("GET", "/calls?direction=inbound")[1]["calls"]
    details = ada.ok("GET", f"/calls/{calls[0]['id']}/details.json")
    assert (details["direction"], details["contact_address"]) == ("incoming", "+39011555")
    assert (details["state"], details["call_flow_name"]) == ("completed", "5001.json")


def test_what_waits_is_cancelled(ada: Verboice, project: int) -> None:
    channel(ada, "waits", 9)
    schedule = {
        "name": "never now",
        "time_from_str": "9:00",
        "time_to_str": "17:30",
        "weekdays": "1,2",
        "retries": "1d",
    }
    ada.ok("POST", f"/projects/{project}/schedules", schedule)

    def waiting(**more: str) -> int:
        call = ada.ok("POST", "/call", HELLO, channel="waits", address="+39011", not_before=LATER, **more)["call_id"]
        details = ada.ok("GET", f"/calls/{call}/details.json")
        assert (details["state"], details["not_before"]) == (
            "queued",
            "2037-01-02T13:11:12Z" if more else "2037-01-02T10:11:12Z",
        )
        return int(call)

    first = waiting(time_zone="Buenos Aires")
    assert ada.ok("GET", f"/calls/{first}/cancel.json") == {"call_id": first, "state": "cancelled"}
    second = waiting(time_zone="America/Argentina/Buenos_Aires", schedule="never now")
    ada.ok("DELETE", f"/projects/{project}/schedules/never%20now.json")
    assert ada.wait(second, "cancelled")
    third = waiting()
    number = next(each["id"] for each in ada.ok("GET", "/channels/all.json") if each["name"] == "waits")
    ada.ok("POST", f"/channels/{number}/disable")
    assert ada.wait(third, "cancelled")
    assert ada.ask("POST", "/call", HELLO, channel="waits", address="+39011") == (
        400,
        {"error": "Channel waits is disabled"},
    )
    ada.ok("POST", f"/channels/{number}/enable")
    fourth = waiting()
    ada.ok("DELETE", "/channels/waits.json")
    assert ada.wait(fourth, "cancelled")
    assert ada.ask("GET", "/channels/waits.json") == (404, "")


BAD: list[tuple[dict[str, str], str]] = [
    ({"channel": ""}, "channel is missing"),
    ({"channel": "nothing"}, "Channel not found: nothing"),
    ({"channel": "", "channel_id": "99999"}, "Channel not found: 99999"),
    ({"channel": "", "channel_id": "x" * 40}, "Channel not found"),
    ({"address": ""}, "address is missing"),
    ({"address": "a b;c"}, "address must be"),
    ({"address": "1" * 300}, "address is longer"),
    ({"call_flow": "nothing"}, "there is no flow 'nothing'"),
    ({"call_flow_id": "4711"}, "Call flow not found"),
    ({"project_id": "4711"}, "Project not found"),
    ({"schedule": "nothing"}, "Schedule not found"),
    ({"schedule_id": "4711"}, "Schedule not found"),
    ({"time_zone": "Atlantis"}, "Time zone Atlantis not supported"),
    ({"not_before": "tomorrow"}, "is no date"),
    ({"not_after": "2001-01-01"}, "in the past"),
    ({"not_before": LATER, "not_after": "2036-01-01"}, "before not_before"),
    ({"status_callback_url": "gopher://x"}, "status_callback_url"),
    ({"contact_id": "4711", "address": ""}, "Contact not found"),
]


@pytest.mark.parametrize(("params", "says"), BAD, ids=lambda value: str(value)[:40])
def test_what_is_wrong_with_a_call(ada: Verboice, params: dict[str, str], says: str) -> None:
    wish = {"channel": "file", "address": "+39011", "not_before": LATER, **params}
    status, answer = ada.ask("POST", "/call", HELLO, **wish)
    assert status == 400
    assert says in answer["error"], answer


def test_flows_are_looked_at_when_they_come(ada: Verboice) -> None:
    """§2.2 [PROPOSAL]; in Verboice the call would fail when it is made."""
    for flow in ("<Response><Sing/></Response>", "<Response>", "nonsense"):
        status, answer = ada.ask("POST", "/call", flow, channel="file", address="+39011")
        assert status == 400
        assert "Invalid Flow" in answer["error"]
    status, answer = ada.ask("POST", "/call", None, channel="file", address="+39011")
    assert (status, answer["error"]) == (400, "no call flow: none is named, and the channel file has none")
    status, answer = ada.ask("GET", "/call", channel="file", address="+39011", callback_url="ftp://x")
    assert (status, "callback_url" in answer["error"]) == (400, True)


def test_contacts_as_in_the_seed(ada: Verboice, project: int) -> None:
    people = f"/projects/{project}/contacts"
    for name in ("age", "favorite color"):
        ada.ok("POST", f"/projects/{project}/project_variables", {"name": name})
    body = {"addresses": ["1543949458", "sip:x@y.example.json"], "vars": {"age": 38, "favorite color": "blue"}}
    first = ada.ok("POST", f"{people}.json", body)
    assert (first["addresses"], first["vars"]) == (body["addresses"], body["vars"])
    second = ada.ok("POST", people, {"address": "1556948544", "vars": {"age": "007"}})
    assert second["vars"] == {"age": "007"}, "what begins with 0 is no number"
    assert ada.ok("GET", f"{people}/by_address/1543949458.json") == first
    assert ada.ok("GET", f"{people}/by_address/sip:x@y.example.json.json") == first
    changed = ada.ok("PUT", f"{people}/by_address/1543949458.json", vars__age="39")
    assert changed["vars"] == {"age": 39, "favorite color": "blue"}
    everybody = ada.ok("PUT", f"{people}/all.json", vars__age="40")
    assert everybody == ada.ok("GET", f"{people}.json")
    assert [each["vars"]["age"] for each in everybody] == [40] * len(everybody)
    assert ada.ask("PUT", f"{people}/by_address/1543949458.json", vars__shoe="39") == (400, "No such variable: shoe")
    assert ada.ask("PUT", f"{people}/all.json", vars__shoe="39") == (400, "No such variable: shoe")
    assert ada.ask("GET", f"{people}/by_address/1.json") == (404, "")
    assert ada.ask("PUT", f"{people}/by_address/1.json", vars__age="1") == (404, "")
    assert ada.ask("POST", people, {"address": "1556948544"})[0] == 400
    assert ada.ask("POST", people, {})[1] == {"addresses": ["can't be blank"]}


def test_channels(ada: Verboice, project: int) -> None:
    made = channel(ada, "a line", 9)
    assert "a line" in ada.ok("GET", "/channels.json")
    assert ada.ok("GET", "/channels/a%20line.json") == made == ada.ok("GET", f"/channels/{made['id']}.json")
    changed = ada.ok("PUT", "/channels/a%20line.json", {"name": "b line", "config": {"password": "x", "limit": None}})
    assert (changed["id"], changed["name"], changed["config"]["limit"]) == (made["id"], "b line", None)
    assert changed["config"]["domain"] == "127.0.0.1:9"

    def wrong(body: dict[str, Any], *properties: dict[str, str], name: str = "") -> None:
        method, path = ("PUT", f"/channels/{name}.json") if name else ("POST", "/channels.json")
        answer = ada.ok(method, path, body)
        assert answer["summary"] == f"There were problems {'updating' if name else 'creating'} the Channel"
        assert answer["properties"] == list(properties)

    wrong({"kind": "custom"}, {"name": "can't be blank"})
    wrong({"name": ""}, {"name": "can't be blank"}, name="b%20line")
    wrong({"name": "c"}, {"domain": "can't be blank"})
    wrong({"name": "b line", "config": {"domain": "x.example"}}, {"name": "has already been taken"})
    wrong({"name": "c", "config": {"domain": "x.example", "limit": "many"}}, {"limit": "is not a number"})
    wrong({"name": "c", "config": {"domain": "x.example"}, "call_flow": "?"}, {"call_flow": "is not there"})
    wrong(
        {"config": {"domain": "x.example"}},
        {"base": "stands in the configuration file, and is changed there"},
        name="file",
    )
    ada.ok("PUT", "/channels/file.json", {"call_flow": "5000.xml"})
    assert ada.ok("GET", "/channels/file.json")["call_flow"] == "5000.xml"
    ada.ok("DELETE", "/channels/b%20line.json")
    for method, path in (("GET", "/channels/b%20line"), ("PUT", "/channels/x"), ("POST", "/channels/4711/enable")):
        assert ada.ask(method, path, {} if method == "PUT" else None)[0] == 404


def test_schedules(ada: Verboice, project: int) -> None:
    path = f"/projects/{project}/schedules"
    body = {"name": "office", "time_from_str": "9:00", "time_to_str": "17:30", "weekdays": "1,2,3", "retries": "15m, 2"}
    made = ada.ok("POST", path, body)
    assert {key: made[key] for key in body} == body
    assert ada.ok("GET", f"{path}/office.json") == made
    changed = ada.ok("PUT", f"{path}/office", {"time_to_str": "18:00", "weekdays": [0, 6]})
    assert (changed["time_to_str"], changed["weekdays"], changed["retries"]) == ("18:00", "0,6", "15m, 2")
    answer = ada.ok(
        "POST", path, {"name": "bad", "time_from_str": "19:00", "time_to_str": "9:00", "weekdays": "7", "retries": "5w"}
    )
    assert answer == {
        "summary": "There were problems creating the Schedule",
        "properties": [
            {"base": "End time must be greater than the start time."},
            {"weekdays": "is invalid"},
            {"retries": "invalid retry: 5w"},
        ],
    }
    assert ada.ok("POST", path, {**body, "name": "OFFICE"})["properties"] == [{"name": "has already been taken"}]
    assert [each["name"] for each in ada.ok("GET", f"{path}.json")].count("office") == 1
    ada.ok("DELETE", f"{path}/office.json")
    assert ada.ask("GET", f"{path}/office")[0] == 404


def test_who_may_not(house: Daemon, ada: Verboice, project: int) -> None:
    """Wrong passwords, a role that only reads, and another account, to whom nothing is there."""
    status, answer = Verboice(house, password="wrong").ask("GET", "/channels.json")
    assert (status, answer) == (401, {"error": "Invalid email or password."})
    assert Verboice(house, user="nobody@example.org").ask("GET", "/channels.json")[0] == 401
    vera = Verboice(house, "vera@example.org", "reads only")
    assert vera.ask("GET", "/channels.json")[0] == 200
    assert vera.ask("POST", "/call", HELLO, channel="file", address="1")[0] == 401
    assert vera.ask("PUT", f"/projects/{project}/contacts/all.json", vars__age="1")[0] == 401

    status, account = Api(house).ask("POST", "/accounts", {"name": "other"})
    other = _of_another_account(house, ada, account if status == 201 else None)
    call = ada.ok("POST", "/call", HELLO, channel="file", address="+39011", not_before=LATER)["call_id"]
    line = channel(ada, "mine", 9)
    for method, path in (
        ("GET", f"/calls/{call}/state.json"),
        ("GET", f"/calls/{call}/details.json"),
        ("POST", f"/calls/{call}/cancel"),
        ("POST", f"/calls/{call}/redirect"),
        ("GET", f"/logs/{call}.csv"),
        ("GET", f"/projects/{project}"),
        ("PUT", f"/projects/{project}"),
        ("DELETE", f"/projects/{project}"),
        ("GET", f"/projects/{project}/contacts.json"),
        ("PUT", f"/projects/{project}/contacts/all.json"),
        ("GET", f"/projects/{project}/contacts/by_address/+39011.json"),
        ("GET", f"/projects/{project}/schedules.json"),
        ("GET", f"/projects/{project}/project_variables.json"),
        ("GET", f"/projects/{project}/call_flows.json"),
        ("GET", f"/channels/{line['id']}.json"),
        ("GET", "/channels/mine.json"),
        ("PUT", "/channels/mine.json"),
        ("DELETE", "/channels/mine.json"),
        ("POST", f"/channels/{line['id']}/disable"),
    ):
        assert other.ask(method, path, {} if method == "PUT" else None)[0] == 404, (method, path)
    assert other.ok("GET", "/channels.json") == []
    for name, value in (("channel", "mine"), ("channel_id", str(line["id"]))):
        assert other.ask("POST", "/call", HELLO, **{name: value}, address="1")[0] == 400
    assert ada.wait(call, "queued")


def _of_another_account(house: Daemon, ada: Verboice, account: Any) -> Verboice:
    import asyncio

    from engine.accounts import repository, secrets
    from engine.store import Store

    async def make() -> None:
        store = Store(house.store_url)
        async with store.writing() as connection:
            owner = account["id"] if account else (await repository.add_account(connection, "other")).id
            user = await repository.add_user(connection, owner, "otto", role="owner")
            kept = secrets.hashed("otto's")
            await repository.set_login(connection, owner, user.id, email="otto@example.org", password=kept)
        await store.close()

    asyncio.run(make())
    return Verboice(house, "otto@example.org", "otto's")


TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "0", "-1", "1" * 40, "\0", "file", "+39011", HELLO, "<Response>", "[]", '{"a": 1}', "ä" * 300]
    ),
)
PATHS = st.sampled_from(
    [
        *("/call", "/channels", "/channels/all", "/channels/{}", "/channels/{}/enable", "/channels/{}/disable"),
        *("/projects", "/projects/{}", "/projects/{}/contacts", "/projects/{}/contacts/all.json", "/logs/{}"),
        *("/projects/{}/contacts/by_address/{}", "/projects/{}/schedules", "/projects/{}/schedules/{}"),
        *("/projects/{}/project_variables", "/projects/{}/project_variables/{}", "/projects/{}/call_flows"),
        *("/projects/{}/call_flows/{}", "/calls/{}/state", "/calls/{}/details.json", "/calls/{}/cancel"),
        "/calls/{}/redirect",
    ]
)
NAMES = (
    *("channel", "channel_id", "address", "call_flow", "call_flow_id", "project_id", "schedule", "schedule_id"),
    *("not_before", "not_after", "time_zone", "callback_url", "status_callback_url", "vars[a]", "callback_params[b]"),
    *("contact_id", "addresses[]", "after", "["),
)
KEYS = ("name", "kind", "config", "call_flow", "flow", "retries", "weekdays", "time_from_str", "time_zone", "vars")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_request_is_answered_with_an_error_of_ours(house: Daemon, data: st.DataObject) -> None:
    ada = Verboice(house)
    path = data.draw(PATHS)
    for _ in range(path.count("{}")):
        path = path.replace("{}", urllib.parse.quote(data.draw(st.sampled_from(["1", "2"]) | TEXTS), safe=""), 1)
    method = data.draw(st.sampled_from(["GET", "POST", "PUT"]))
    body = data.draw(st.none() | TEXTS | st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5) | JSON)
    params = data.draw(st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=5))
    kind = data.draw(st.sampled_from(["", "text/xml", "application/json", "application/x-www-form-urlencoded"]))
    status, _ = ada.send(method, path, body, kind, params)
    assert status < 500


def test_curl_samples_of_the_seed(house: Daemon, ada: Verboice, project: int) -> None:
    base = f"http://127.0.0.1:{house.http_port}/api"
    channel(ada, "curl", 9)

    def asked(*arguments: str) -> tuple[int, bytes]:
        return curl("-u", "ada@example.org:lovelace", *arguments)

    query = f"channel=curl&address=1543949458&not_before={urllib.parse.quote(LATER)}&time_zone=Buenos%20Aires"
    status, body = asked(f"{base}/call?{query}&vars[age]=38&callback_url=http://127.0.0.1/x")
    assert (status, json.loads(body)["state"]) == (200, "queued")
    status, body = asked("-d", HELLO, f"{base}/call?{query}")  # curl says that this is a form
    assert (status, json.loads(body)["state"]) == (200, "queued")
    form = ["-d", "channel=curl", "-d", "address=1", "-d", f"not_before={LATER}", "-d", "call_flow=5000.xml"]
    assert asked(*form, f"{base}/call")[0] == 200
    assert (
        asked("-X", "PUT", "-g", "-H", "Content-Length: 0", f"{base}/projects/{project}/contacts/all.json?vars[x]=1")[0]
        == 400
    )
    assert asked(f"{base}/call?channel=curl&address=%00")[0] == 400

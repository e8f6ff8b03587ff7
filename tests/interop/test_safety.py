"""What accounts may call, and what stands before all APIs: an allow-list, caps, relays, failed logins, host names."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from kit import sipp
from kit.api import Api, first_token
from kit.daemon import Daemon, poll
from kit.keys import keys_of

from engine.api.kwebbl.callids import of_call

pytestmark = pytest.mark.peer("sipp")

PAUSE = {"title": "p", "steps": [{"id": "p", "action": "pause", "options": {"length": 60}}]}
SECONDS = {"document": {"title": "p", "steps": [{"id": "p", "action": "pause", "options": {"length": 1}}]}}
HOSTS = {"brombler": "calls.example", "messagebird": "voice.example", "verboice": "v.example", "kazoo": "k.example"}


def refusing(target: dict[str, Any]) -> dict[str, Any]:
    """A callflow that dials, and answers 488 when the call is rejected here."""
    rejected = {"module": "response", "data": {"code": 488}, "children": {}}
    return {"module": "resources", "data": target, "children": {"CALL_REJECTED": rejected}}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A carrier that takes all numbers and brings none; Italian ones are allowed, strangers are not relayed."""
    folder = tmp_path_factory.mktemp("safety")
    carrier = sipp.start("uas_echo", folder / "carrier", calls=20)
    daemon = Daemon(
        folder,
        {
            "7001": refusing({"to_did": "+441632960000"}),
            "7002": refusing({"to_did": "+390115550100"}),
        },
        settings={
            "account": {"allowed": ["+39", "sip:127.0.0.1"], "relay": "trunks"},
            "api": {"login_failures": 3, "brombler_rate": 0, "hosts": HOSTS},
            "http": {"trusted_proxies": ["127.0.0.1"]},
        },
        trunks=[{"name": "carrier", "host": f"127.0.0.1:{carrier.port}", "inbound": "none"}],
    )
    with daemon:
        yield daemon
    carrier.stop()


Answer = tuple[int, Any]


def ask(house: Daemon, method: str, path: str, body: object = None, **headers: str) -> Answer:
    """Status and content of the answer: JSON, or text."""
    connection = http.client.HTTPConnection("127.0.0.1", house.http_port, timeout=10)
    data = body if isinstance(body, str | None) else json.dumps(body)
    try:
        connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, json.loads(text) if text[:1] in ("{", "[") else text
    finally:
        connection.close()


@pytest.fixture(scope="module")
def keys(house: Daemon) -> dict[str, str]:
    """Authorization headers by API."""
    api = Api(house)
    client = api.ask("POST", "/clients", {"name": "shop"})[1]
    form = urlencode({"client_id": client["client_id"], "client_secret": client["client_secret"]})
    kind = "application/x-www-form-urlencoded"
    token = ask(house, "POST", "/auth.cas", form, Content_Type=kind)[1]["access_token"]
    access = api.ask("POST", "/tokens", {"user": "owner", "kind": "access_key"})[1]["token"]
    return {
        "ivrea": f"Bearer {first_token(house)}",
        "brombler": f"Bearer {token}",
        "messagebird": f"AccessKey {access}",
    }


def test_each_api_says_no(house: Daemon, keys: dict[str, str]) -> None:
    abroad = "+441632960000"
    status, answer = Api(house).ask("POST", "/calls", {"to": abroad, "flow": SECONDS})
    assert (status, answer["error"]["code"], answer["error"]["field"]) == (403, "target_refused", "to")
    assert abroad in answer["error"]["message"]
    status, answer = Api(house).ask("POST", "/calls", {"to": "sip:+39@elsewhere.example", "flow": SECONDS})
    assert (status, answer["error"]["code"]) == (403, "target_refused")
    status, answer = ask(
        house, "POST", "/call.cas", {"who": abroad, "tree": "Hi"}, Authorization=keys["brombler"],
        Content_Type="application/json",
    )  # fmt: skip
    assert (status, answer["response"]) == (403, 403)
    assert "may not call" in answer["responseText"]
    flow = {"title": "p", "record": False, "steps": [{"action": "pause", "options": {"length": 1}}]}
    call = {"source": "+390115550000", "destination": abroad, "callFlow": flow}
    status, answer = ask(house, "POST", "/v1/calls", call, Authorization=keys["messagebird"])
    assert (status, answer["errors"][0]["code"]) == (403, 14)
    assert "may not call" in answer["errors"][0]["description"] or "may not call" in answer["errors"][0]["message"]
    status, queued = Api(house).ask("POST", "/queue", {"to": abroad, "flow": SECONDS})
    assert status == 201, queued

    def settled() -> dict[str, Any] | None:
        found = Api(house).ask("GET", f"/queue/{queued['id']}")[1]
        return dict(found) if found["state"] not in ("queued", "active") else None

    assert "may not call" in json.dumps(poll(settled, 20, "the queue did not refuse it"))
    assert not house.calls_to(abroad), "none was begun"


def test_live_calls_are_not_handed_on_abroad(house: Daemon, keys: dict[str, str]) -> None:
    api, abroad, kwebbl = Api(house), "+441632960000", keys_of(house, "default").of("/v100")
    for place, body in (
        ("devices", {"name": "desk", "password": "geheim"}),
        ("users", {"name": "ann", "devices": ["desk"]}),
        ("extensions", {"number": "201", "user": "ann"}),
    ):
        assert api.ask("POST", f"/{place}", body)[0] == 201
    call = api.call("+390115550100", {"document": PAUSE})
    api.wait(call, "answered")
    status, answer = api.ask("POST", f"/calls/{call}/transfer", {"to": abroad})
    assert (status, answer["error"]["code"], answer["error"]["field"]) == (403, "not_allowed", "to")
    json_type = "application/json"
    refer = {"who": call, "user": abroad}
    status, answer = ask(
        house, "POST", "/refer.cas", refer, Authorization=keys["brombler"], Content_Type=json_type
    )  # fmt: skip
    assert (status, answer["response"]) == (403, 403)
    wishes: list[tuple[str, dict[str, Any]]] = [
        (f"/v100/calls/{of_call(call)}/transfer", {"target": {"number": abroad}}),
        ("/v100/calls", {"from": {"number": "201"}, "to": {"number": abroad}}),
        ("/v100/calls", {"from": {"number": abroad}, "to": {"number": "201"}}),
    ]
    for path, wish in wishes:
        status, answer = ask(house, "POST", path, wish, Authorization=kwebbl, Content_Type=json_type)
        assert (status, answer["error_code"]) == (403, "access_denied"), path
        assert abroad in answer["message"]
    live = api.ask("GET", "/calls?status=live")[1]["calls"]
    assert [(each["id"], each["status"]) for each in live] == [(call, "answered")], "it is as it was, and alone"
    api.ask("DELETE", f"/calls/{call}")
    api.wait(call, "ended")


@pytest.mark.parametrize("number", ["7001", "7002"])
def test_flows_are_told(house: Daemon, tmp_path: Path, number: str) -> None:
    """A number abroad, and a stranger who would be relayed: the same cause."""
    sipp.start("uac_refused", tmp_path, server=house.address, number=number, fill={"STATUS": "488"}).finish()
    (call,) = house.calls_to(number)
    house.wait_closed(call)
    why = {"7001": "may not call +44", "7002": "a call of a stranger may not go on to +39"}[number]
    assert why in json.dumps(house.stored_notes(call, "Performed"))


def test_caps_hold_over_a_restart(house: Daemon) -> None:
    api = Api(house)
    first = api.call("+390115550100", SECONDS)
    api.wait(first, "ended")
    before = api.ask("GET", "/accounts/default")[1]
    assert (before["allowed"], before["relay"]) == (["+39", "sip:127.0.0.1"], "trunks")
    wrong = {"allowed": ["abc"], "relay": "some", "calls_per_day": -1, "minutes_per_day": 1.5}
    for name, value in wrong.items():
        status, answer = api.ask("PATCH", "/accounts/default", {name: value})
        assert (status, answer["error"]["field"].partition(".")[0]) == (400, name)
    assert api.ask("PATCH", "/accounts/default", {"calls_per_day": 1})[0] == 200

    def refused() -> Answer:
        status, answer = api.ask("POST", "/calls", {"to": "+390115550100", "flow": SECONDS})
        return status, answer["error"]["code"]

    assert refused() == (429, "daily_limit")
    house.stop()
    house.start()
    assert refused() == (429, "daily_limit")
    assert api.ask("PATCH", "/accounts/default", {"calls_per_day": 0})[0] == 200


def test_host_names_of_apis(house: Daemon, keys: dict[str, str]) -> None:
    assert ask(house, "GET", "/list.cas", Host="calls.example:8080", Authorization=keys["brombler"])[0] == 200
    assert ask(house, "GET", "/list.cas", Host="CALLS.example", Authorization=keys["brombler"])[0] == 200
    for path in (
        "/healthz",
        "/docs",
        "/openapi.json",
        "/api/v1/account",
        "/v1/calls",
        "/calls",
        "/v2/accounts/x",
        "//",
    ):
        assert ask(house, "GET", path, Host="calls.example", Authorization=keys["ivrea"])[0] == 404
    voice = {"Host": "voice.example", "Authorization": keys["messagebird"]}
    assert [ask(house, "GET", path, **voice)[0] for path in ("/v1/calls", "/calls", "/list.cas")] == [200, 200, 404]
    debug = "/accounts/default/pivot/debug"
    kazoo = {"Host": "k.example", "Authorization": keys["ivrea"]}
    assert [ask(house, "GET", path, **kazoo)[0] for path in (debug, f"/v2{debug}", f"/v3{debug}")] == [200, 200, 404]
    assert ask(house, "GET", "/projects.json", Host="v.example", X_Forwarded_For="192.0.2.77")[0] == 401
    assert ask(house, "GET", "/api/projects.json", Host="v.example", X_Forwarded_For="192.0.2.77")[0] == 401
    assert ask(house, "GET", "/healthz", Host="other.example")[0] == 200


def test_failed_logins_are_limited_by_address(house: Daemon, keys: dict[str, str]) -> None:
    """Of all APIs together; another address behind the proxy has a count of its own, an IPv6 network has one."""

    def tried(address: str, path: str, **headers: str) -> int:
        return ask(house, "GET", path, X_Forwarded_For=address, **headers)[0]

    basic = "Basic " + base64.b64encode(b"a@b:c").decode()
    wrong = [
        tried("192.0.2.1", "/api/v1/account", Authorization="Bearer x"),
        tried("192.0.2.1", "/list.cas", Authorization="Bearer x"),
        tried("192.0.2.1", "/api/projects.json", Authorization=basic),
    ]
    assert wrong == [401, 401, 401]
    assert tried("192.0.2.1", "/api/v1/account", Authorization=keys["ivrea"]) == 429
    assert tried("192.0.2.1", "/v1/calls", Authorization=keys["messagebird"]) == 429
    envelopes: dict[str, Callable[[Any], bool]] = {
        "/list.cas": lambda said: said["response"] == 429 and said["responseText"].endswith("from this address"),
        "/api/projects.json": lambda said: list(said) == ["error"] and isinstance(said["error"], str),
        "/v2/accounts/x/pivot/debug": lambda said: (said["status"], said["error"]) == ("error", "429"),
        "/v100/extensions": lambda said: (said["status_code"], said["error_code"]) == (429, "too_many_requests"),
        "/token": lambda said: said["error"] == "temporarily_unavailable",
        "/authorize": lambda said: "<html" in said,
        "/v1/calls": lambda said: said["data"] is None and said["errors"][0]["code"] == 15,
        "/api/v1/account": lambda said: said["error"]["code"] == "too_many_failures",
        "/nothing": lambda said: said["error"]["code"] == "too_many_failures",
    }
    for path, fits in envelopes.items():
        status, said = ask(house, "POST" if path == "/token" else "GET", path, X_Forwarded_For="192.0.2.1")
        assert (status, fits(said)) == (429, True), (path, said)
    status, said = ask(house, "GET", "/calls", X_Forwarded_For="192.0.2.1", Host="voice.example")
    assert (status, said["errors"][0]["code"]) == (429, 15)
    assert tried("192.0.2.2", "/api/v1/account", Authorization=keys["ivrea"]) == 200
    network = [tried(f"2001:db8::{n}", "/v100/extensions", Authorization="Bearer x") for n in range(1, 4)]
    assert network == [401, 401, 401]
    assert tried("2001:db8::9", "/api/v1/account", Authorization=keys["ivrea"]) == 429
    assert tried("2001:db8:0:1::9", "/api/v1/account", Authorization=keys["ivrea"]) == 200

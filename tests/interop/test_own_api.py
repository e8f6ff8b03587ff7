"""What an account has, configured over HTTP while the daemon runs, with a real call behind it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import sipp, sound, trees
from kit.api import Api, first_token
from kit.baresip import Baresip
from kit.daemon import ROOT, Daemon, poll
from kit.hooks import HookServer

pytestmark = pytest.mark.peer("sipp", "baresip")

HELLO = {"_": "Press one.", "key:1": "Thank you."}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, hooks: HookServer) -> Iterator[Daemon]:
    daemon = Daemon(
        tmp_path_factory.mktemp("shop"),
        {"7000": trees.two_levels(hooks.url("/7000"))},
        sounds=trees.SOUNDS,
        devices=[{"name": "of-the-file", "password": "geheim"}],
    )
    with daemon:
        yield daemon


@pytest.fixture
def api(shop: Daemon) -> Api:
    return Api(shop)


def ok(answer: tuple[int, Any], status: int = 200) -> Any:
    assert answer[0] == status, answer
    return answer[1]


def refused(answer: tuple[int, Any], status: int, code: str, says: str) -> None:
    assert answer[0] == status, answer
    assert answer[1]["error"]["code"] == code
    assert says in answer[1]["error"]["message"]


def raw(daemon: Daemon, method: str, path: str, data: bytes | None = None, kind: str = "") -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{daemon.http_port}{path}", method=method, data=data)
    request.add_header("Authorization", f"Bearer {first_token(daemon)}")
    if kind:
        request.add_header("Content-Type", kind)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, answer.read()


def test_a_telephone_that_was_made_over_http_registers_and_rings(shop: Daemon, api: Api, tmp_path: Path) -> None:
    device = ok(api.ask("POST", "/devices", {"name": "anna-desk", "password": "anna's"}), 201)
    assert "password" not in device
    user = ok(api.ask("POST", "/users", {"name": "anna", "devices": ["anna-desk"], "role": "agent"}), 201)
    assert (user["devices"], user["logs_in"], user["from_file"]) == (["anna-desk"], False, False)
    ok(api.ask("POST", "/extensions", {"number": "31", "user": "anna"}), 201)
    ok(api.ask("POST", "/flows", {"name": "greet", "document": HELLO}), 201)
    with Baresip(
        tmp_path / "anna", user="anna-desk", server=f"127.0.0.1:{shop.sip_port}", password="anna's", answers=True
    ) as phone:
        shop.wait_log("device_registered")
        call = api.call("31", "greet")
        phone.wait_event("CALL_ESTABLISHED")
        phone.hangup()
        ended = api.wait(call, "ended")
    assert (ended["result"], ended["flow"]) == ("completed", {"name": "greet", "version": 1})
    assert [(leg["to"], leg["sip"]) for leg in ended["legs"]] == [("anna-desk", 200)]
    ok(api.ask("PATCH", "/extensions/31", {"flow": "greet"}))
    assert ok(api.ask("GET", "/extensions/31"))["user"] is None
    assert api.ask("DELETE", "/users/anna")[0] == 204
    assert api.ask("GET", "/users/anna")[0] == 404


def test_a_number_leads_to_a_flow_at_once_and_its_call_is_told_in_full(shop: Daemon, api: Api, tmp_path: Path) -> None:
    wav = tmp_path / "hello.wav"
    sound.write_wav(wav, trees.SOUNDS["root.wav"])
    status, _ = raw(shop, "PUT", "/api/v1/media/hello.wav", wav.read_bytes(), "audio/wav")
    assert status == 201
    assert raw(shop, "GET", "/api/v1/media/hello.wav") == (200, wav.read_bytes())
    tree = {"_": "hello.wav", "key:1": "Thank you."}
    saved = ok(api.ask("POST", "/flows", {"name": "played", "document": tree}), 201)
    assert (saved["version"], saved["number"]) == (1, 1)
    ok(api.ask("POST", "/numbers", {"number": "+39 011 7001", "flow": "played", "record": True}), 201)
    fill = {"TALK_MS": "1200"}
    caller = sipp.start("uac_hangup", tmp_path / "uac", server=shop.address, number="+390117001", fill=fill)
    caller.finish()
    (call,) = [each for each in ok(api.ask("GET", "/calls"))["calls"] if each["to"] == "+390117001"]
    told = ok(api.ask("GET", f"/calls/{call['id']}/record"))
    kinds = [event["kind"] for event in told["timeline"]]
    assert kinds[0] == "Began"
    assert "Sip" in kinds
    (recording,) = told["recordings"]
    assert recording["status"] == "done"
    status, data = raw(shop, "GET", f"/api/v1/calls/{call['id']}/recordings/{recording['id']}")
    assert (status, data[:4]) == (200, b"RIFF")
    assert ok(api.ask("POST", "/flows", {"name": "played", "document": tree}))["version"] == 1
    assert ok(api.ask("POST", "/flows", {"name": "played", "document": HELLO}), 201)["version"] == 2
    assert len(ok(api.ask("GET", "/flows/played/versions"))["versions"]) == 2
    assert api.ask("DELETE", "/media/hello.wav")[0] == 204
    assert not list((shop.folder / "state" / "media").iterdir())


def test_what_is_wrong_is_said_by_its_field(api: Api) -> None:
    refused(api.ask("POST", "/users", {"name": "a/b"}), 400, "bad_request", "name: ")
    refused(api.ask("POST", "/users", {"name": "ok", "rôle": 1}), 400, "bad_request", "rôle: ")
    refused(api.ask("POST", "/users", {"name": "ok", "devices": ["none"]}), 404, "not_found", "device 'none'")
    refused(api.ask("POST", "/trunks", {"name": "t", "host": "x y"}), 400, "bad_request", "host: ")
    refused(api.ask("POST", "/trunks", {"name": "t", "host": "h", "register": True}), 400, "bad_request", "username")
    refused(api.ask("POST", "/numbers", {"number": "1", "flow": "none"}), 404, "not_found", "flow 'none'")
    refused(api.ask("POST", "/extensions", {"number": "77"}), 400, "bad_request", "one of user, group and flow")
    bad = {"title": "f", "steps": [{"action": "fly"}]}
    refused(api.ask("POST", "/flows", {"name": "f", "document": bad}), 422, "bad_flow", "fly")
    refused(api.ask("PATCH", "/devices/of-the-file", {"srtp": "off"}), 409, "from_file", "of-the-file")
    refused(api.ask("DELETE", "/devices/of-the-file"), 409, "from_file", "of-the-file")
    refused(api.ask("POST", "/devices", {"name": "of-the-file", "password": "x"}), 409, "taken", "of-the-file")
    refused(api.ask("GET", "/outbox/0"), 404, "not_found", "")
    refused(api.ask("GET", "/calls/none/record"), 404, "not_found", "none")


def test_a_change_keeps_what_it_does_not_name(api: Api) -> None:
    ok(api.ask("POST", "/trunks", {"name": "carrier", "host": "192.0.2.1", "username": "u", "password": "p"}), 201)
    changed = ok(api.ask("PATCH", "/trunks/carrier", {"order": 3, "name": "other"}))
    assert (changed["name"], changed["order"], changed["username"]) == ("other", 3, "u")
    assert ok(api.ask("GET", "/trunks"))["trunks"] == [changed]
    actions = [entry["action"] for entry in ok(api.ask("GET", "/audit"))["entries"]]
    assert actions[:2] == ["trunk changed", "trunk made"]
    assert api.ask("DELETE", "/trunks/other")[0] == 204


def test_tokens_and_clients_are_made_listed_and_taken_back(shop: Daemon, api: Api) -> None:
    ok(api.ask("POST", "/users", {"name": "vera", "role": "viewer", "email": "V@x.example", "password": "vv"}), 201)
    made = ok(api.ask("POST", "/tokens", {"user": "vera", "name": "wall display"}), 201)
    viewer = Api(shop, made["token"])
    ok(viewer.ask("GET", "/calls"))
    refused(viewer.ask("GET", "/tokens"), 403, "forbidden", "viewer")
    refused(viewer.ask("POST", "/users", {"name": "eve", "role": "owner"}), 403, "forbidden", "viewer")
    listed = {each["name"]: each for each in ok(api.ask("GET", "/tokens"))["tokens"]}
    assert listed["wall display"]["id"] == made["id"]
    assert "token" not in listed["wall display"]
    assert api.ask("DELETE", f"/tokens/{made['id']}")[0] == 204
    assert viewer.ask("GET", "/calls")[0] == 401
    client = ok(api.ask("POST", "/clients", {"name": "crm", "user": "vera"}), 201)
    again = ok(api.ask("POST", f"/clients/{client['client_id']}/secret"))
    assert again["client_secret"] != client["client_secret"]
    assert [each["name"] for each in ok(api.ask("GET", "/clients"))["clients"]] == ["crm"]
    assert api.ask("DELETE", f"/clients/{client['id']}")[0] == 204


@pytest.fixture
def broken() -> Iterator[HookServer]:
    server = HookServer(status=500).start()
    yield server
    server.stop()


def test_a_callback_that_was_given_up_is_sent_again(
    daemon_for: Callable[..., Daemon], broken: HookServer, tmp_path: Path
) -> None:
    house = daemon_for({"7100": trees.two_levels(broken.url("/gone"))}, settings={"callbacks": {"keep": 0.5}})
    api = Api(house)
    fill = {"TALK_MS": "200"}
    sipp.start("uac_hangup", tmp_path / "uac", server=house.address, number="7100", fill=fill).finish()
    house.wait_log("callback given up", count=2)

    def dead() -> list[Any] | None:
        found = ok(api.ask("GET", "/outbox?state=dead"))["deliveries"]
        return found if len(found) == 2 else None

    opened = poll(dead, 10, "two deliveries were not given up")[-1]
    assert (opened["status"], opened["params"]["e"]) == (500, "open")
    broken.status = 200
    before = len(broken.hits)
    again = ok(api.ask("POST", f"/outbox/{opened['id']}/redeliver"))
    assert (again["state"], again["attempts"]) == ("pending", 0)
    poll(lambda: ok(api.ask("GET", f"/outbox/{opened['id']}"))["state"] == "delivered" or None, 10, "not delivered")
    assert [hit.params["e"] for hit in broken.hits[before:]] == ["open"]
    left = ok(api.ask("GET", "/outbox?state=dead"))["deliveries"]
    assert [each["params"]["e"] for each in left] == ["close"]
    assert ok(api.ask("DELETE", f"/outbox/{left[0]['id']}"))["state"] == "dead"


def test_the_reference_has_every_endpoint_and_nothing_from_elsewhere(shop: Daemon) -> None:
    page = urllib.request.urlopen(f"http://127.0.0.1:{shop.http_port}/docs", timeout=10)
    text = page.read().decode()
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    document = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{shop.http_port}/openapi.json", timeout=10).read())
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["summary"], path
            assert operation["tags"], path
        assert f"<code>{path}</code>" in text
    assert "src=" not in text
    assert re.findall(r'href="([^"#][^"]*)"', text) == ["/openapi.json"]


def ivrea(shop: Daemon, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli", *arguments, "--config", str(shop.folder / "ivrea.toml")],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def test_the_same_from_a_shell(shop: Daemon, tmp_path: Path) -> None:
    flow = tmp_path / "hello.json"
    flow.write_text(json.dumps(HELLO))
    assert "version  1" in ivrea(shop, "flow", "add", "shelled", str(flow))
    assert json.loads(ivrea(shop, "flow", "show", "shelled")) == HELLO
    made = json.loads(ivrea(shop, "number", "add", "+39 011 7500", "flow=shelled", "record=yes", "--json"))
    assert (made["number"], made["flow"], made["record"]) == ("+390117500", "shelled", True)
    assert "record  no" in ivrea(shop, "number", "set", "+390117500", "record=no")
    assert "+390117500" in ivrea(shop, "number", "list")
    ivrea(shop, "user", "add", "otto", "role=viewer", "devices=of-the-file")
    assert "of-the-file" in ivrea(shop, "user", "show", "otto")
    assert "role: " in ivrea(shop, "user", "set", "otto", "role=king", status=1)
    assert "KEY=VALUE" in ivrea(shop, "user", "set", "otto", "crown=gold", status=2)
    flow.write_text('{"title": "f", "steps": [{"action": "fly"}]}')
    assert "fly" in ivrea(shop, "flow", "add", "shelled", str(flow), status=1)
    assert "client_secret" in ivrea(shop, "client", "add", "crm", "user=otto", "redirect_uris=https://a.example/b")
    ivrea(shop, "number", "remove", "+390117500")
    assert "none" in ivrea(shop, "outbox", "list", "--state", "dead")


def test_a_call_can_be_captured(shop: Daemon, api: Api, tmp_path: Path) -> None:
    caller = sipp.start("uac_hangup", tmp_path / "uac", server=shop.address, number="7000", fill={"TALK_MS": "3000"})
    shop.wait_log('"call started"', count=shop.log().count('"call started"') + 1)
    (call,) = ok(api.ask("GET", "/calls?status=live"))["calls"]
    ok(api.ask("POST", f"/calls/{call['id']}/capture"), 202)
    caller.finish()
    shop.wait_closed(call["id"])
    ivrea(shop, "capture", call["id"], "-o", str(tmp_path / "call.zip"))
    with zipfile.ZipFile(tmp_path / "call.zip") as file:
        ladder = file.read("ladder.txt").decode()
        assert json.loads(file.read("record.json"))["call"]["id"] == call["id"]
        packets = file.read("call.pcap")
    for said in ("INVITE + SDP", "200 OK (1 INVITE)", "ACK", "BYE"):
        assert said in ladder, ladder
    assert packets.count(b"BYE sip:") == 1
    refused(api.ask("POST", f"/calls/{call['id']}/capture"), 404, "not_found", "live")

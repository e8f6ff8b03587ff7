"""Calls that go out, made by the API and by ``ivrea call``, to phones and proxies that are not ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kit import sipp, sound, trees
from kit.api import Api, add_account, first_token
from kit.baresip import Baresip
from kit.checks import DOWN_TWO
from kit.daemon import ROOT, Daemon
from kit.hooks import HookServer

DaemonFor = Callable[..., Daemon]
PAUSE = {"document": {"title": "p", "steps": [{"id": "p", "action": "pause", "options": {"length": 1}}]}}
LONG_PAUSE = {"document": {"title": "p", "steps": [{"id": "p", "action": "pause", "options": {"length": 30}}]}}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, hooks: HookServer) -> Iterator[Daemon]:
    """One daemon with two telephones, a user who has one of them, and an extension for her."""
    daemon = Daemon(
        tmp_path_factory.mktemp("office"),
        {
            "6000": trees.two_levels(hooks.url("/6000")),
            "6001": trees.two_levels(hooks.url("/6001")),
            "6002": {"title": "p", "steps": [{"id": "stored", "action": "pause", "options": {"length": 1}}]},
        },
        sounds=trees.SOUNDS,
        settings={"sip": {"open": False}},
        devices=[{"name": "bob", "password": "geheim"}, {"name": "carl", "password": "geheim"}],
        more={
            "users": [{"name": "berta", "devices": ["bob"], "role": "viewer"}],
            "extensions": [{"number": "201", "user": "berta"}],
        },
    )
    with daemon:
        yield daemon


@pytest.fixture
def bob(office: Daemon, tmp_path: Path) -> Iterator[Baresip]:
    """The telephone of berta, registered; it takes calls, and keeps what it hears."""
    with registered(office, tmp_path, "bob", answers=True, keep=True) as phone:
        yield phone


@contextmanager
def registered(office: Daemon, folder: Path, user: str, **options: Any) -> Iterator[Baresip]:
    """A telephone that has registered."""
    before = office.log().count("device_registered")
    server = f"127.0.0.1:{office.sip_port}"
    with Baresip(folder / user, user=user, server=server, password="geheim", **options) as phone:
        office.wait_log("device_registered", count=before + 1)
        yield phone


@pytest.mark.peer("baresip")
def test_a_flow_runs_on_the_telephone_that_it_called(office: Daemon, bob: Baresip, hooks: HookServer) -> None:
    api = Api(office)
    call = api.call("berta", "6000.json", **{"from": "+39011", "from_name": "The office"})
    bob.wait_event("CALL_ESTABLISHED")
    hooks.wait_for("open", "/6000")
    assert api.get(call)["status"] == "answered"
    bob.wait_heard(trees.ROOT_HZ)
    bob.press("1")
    hooks.wait_for("tree", "/6000")
    bob.wait_heard(trees.ONE_HZ)
    bob.press("2")
    bob.wait_event("CALL_CLOSED", patience=20)
    ended = api.wait(call, "ended")
    assert (ended["direction"], ended["from"], ended["to"], ended["result"]) == (
        "outbound", "+39011", "berta", "completed",
    )  # fmt: skip
    assert (ended["end"]["by"], ended["end"]["cause"], ended["end"]["q850"]) == ("flow", "NORMAL_CLEARING", 16)
    assert ended["flow"] == {"name": str(office.folder / "6000.json"), "version": 1}
    assert [(leg["to"], leg["sip"]) for leg in ended["legs"]] == [("bob", 200)]
    hooks.wait_for("close", "/6000")
    events = hooks.events("/6000")
    assert [event["e"] for event in events] == DOWN_TWO
    assert {(event["from"], event["to"], event["id"]) for event in events} == {("+39011", "berta", call)}
    rate, samples = bob.heard()
    assert rate == sound.RATE
    assert sound.find_tone(samples, trees.ROOT_HZ)


def test_a_busy_telephone_keeps_its_reason_to_the_end(office: Daemon, tmp_path: Path, hooks: HookServer) -> None:
    uas = sipp.start("uas_refuse", tmp_path / "uas", fill={"STATUS": "486 Out To Lunch"})
    api = Api(office)
    call = api.call(f"sip:bob@127.0.0.1:{uas.port}", "6001.json")
    uas.finish()
    ended = api.wait(call, "ended")
    assert (ended["result"], ended["answered_at"], ended["duration"]) == ("busy", None, 0.0)
    assert ended["end"] == {
        "by": "caller",
        "reason": "refused: 486 Out To Lunch",
        "cause": "USER_BUSY",
        "q850": 17,
        "sip": 486,
        "sip_reason": "Out To Lunch",
    }
    hooks.wait_for("close", "/6001")
    (event,) = hooks.events("/6001")
    assert (event["e"], event["duration"], "answered" in event) == ("close", "0", False)
    office.wait_closed(call)


@pytest.mark.parametrize("how", ["hung up", "too long"])
def test_what_rings_is_cancelled(office: Daemon, tmp_path: Path, how: str) -> None:
    uas = sipp.start("uas_rings_on", tmp_path / "uas")
    api = Api(office)
    call = api.call(f"sip:bob@127.0.0.1:{uas.port}", PAUSE, timeout=1.5 if how == "too long" else 60)
    api.wait(call, "ringing")
    if how == "hung up":
        assert api.ask("DELETE", f"/calls/{call}")[0] == 202
    uas.finish()
    ended = api.wait(call, "ended")
    assert ended["result"] == ("no-answer" if how == "too long" else "canceled")
    assert ended["end"]["reason"] == ("nobody answered within 1.5 s" if how == "too long" else "hung up by owner")
    assert api.ask("DELETE", f"/calls/{call}")[0] == 409


@pytest.mark.peer("baresip")
def test_a_call_is_hung_up_by_the_api(office: Daemon, bob: Baresip) -> None:
    api = Api(office)
    call = api.call("bob", LONG_PAUSE)
    bob.wait_event("CALL_ESTABLISHED")
    api.wait(call, "answered")
    assert api.ask("DELETE", f"/calls/{call}")[0] == 202
    bob.wait_event("CALL_CLOSED")
    assert api.wait(call, "ended")["result"] == "completed"
    _, page = api.ask("GET", "/calls?direction=outbound&status=ended&limit=1")
    assert [each["id"] for each in page["calls"]] == [call]


@pytest.mark.peer("baresip")
def test_an_extension_rings_its_user(office: Daemon, bob: Baresip, tmp_path: Path) -> None:
    with registered(office, tmp_path, "carl") as carl:
        carl.dial(office.uri("201"))
        bob.wait_event("CALL_ESTABLISHED")
        carl.wait_event("CALL_ESTABLISHED")
        bob.hangup()
        carl.wait_event("CALL_CLOSED")


def test_bad_wishes(office: Daemon) -> None:
    api = Api(office)
    good = {"to": "+39011", "flow": "6000.json"}
    assert Api(office, "ivrea_wrong").ask("GET", "/calls")[0] == 401
    status, answer = api.ask("POST", "/calls", {**good, "to": "a b\r\nc;x"})
    assert (status, answer["error"]["field"]) == (400, "to")
    status, answer = api.ask("POST", "/calls", {**good, "flow": "nothing"})
    assert (status, answer["error"]["message"]) == (422, "there is no flow 'nothing'")
    inline = {"document": {"title": "t", "steps": [{"action": "sing"}]}, "dialect": "messagebird"}
    status, answer = api.ask("POST", "/calls", {**good, "flow": inline})
    assert (status, answer["error"]["code"]) == (422, "bad_flow")
    assert answer["error"]["findings"]
    assert api.ask("GET", "/calls/nothing")[0] == 404
    assert api.ask("DELETE", "/calls/nothing")[0] == 404
    viewer = ivrea(office, "token", "--user", "berta").stdout.strip()
    assert Api(office, viewer).ask("GET", "/calls")[0] == 200
    assert Api(office, viewer).ask("POST", "/calls", good)[0] == 403
    nobody = api.wait(api.call("+39011", PAUSE), "ended")
    assert (nobody["result"], nobody["end"]["reason"]) == ("failed", "there is no way to +39011")


def test_a_flow_goes_on_with_a_stored_one(office: Daemon, tmp_path: Path) -> None:
    uas = sipp.start("uas_echo", tmp_path / "uas")
    api = Api(office)
    jump = {"document": {"module": "callflow", "data": {"id": "6002.json"}, "children": {}}, "dialect": "kazoo"}
    ended = api.wait(api.call(f"sip:echo@127.0.0.1:{uas.port}", jump), "ended")
    uas.finish()
    assert (ended["result"], ended["path"], ended["end"]["by"]) == ("completed", "stored", "flow")


def test_another_account_sees_nothing(office: Daemon) -> None:
    call = Api(office).call("+39011", PAUSE)
    add_account(office, "other")
    other = Api(office, ivrea(office, "token", "--account", "other").stdout.strip())
    assert other.ask("GET", "/calls") == (200, {"calls": [], "next": None})
    assert other.ask("GET", f"/calls/{call}")[0] == 404
    assert other.ask("DELETE", f"/calls/{call}")[0] == 404
    assert other.ask("POST", "/calls", {"to": "+39011", "flow": "6000.json"})[0] == 422
    Api(office).wait(call, "ended")


def ivrea(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of ours, with the daemon's configuration."""
    command = [sys.executable, "-m", "engine.cli", *arguments, "--config", str(daemon.folder / "ivrea.toml")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, cwd=daemon.folder)


def test_the_next_trunk_takes_the_call_of_the_command(daemon_for: DaemonFor, tmp_path: Path) -> None:
    broken = sipp.start("uas_refuse", tmp_path / "broken", fill={"STATUS": "503 Service Unavailable"})
    good = sipp.start("uas_echo", tmp_path / "good")
    house = daemon_for(
        {"5000": trees.two_levels()},
        trunks=[
            {"name": "second", "host": f"127.0.0.1:{good.port}", "order": 2, "caller_id": "+39099"},
            {"name": "first", "host": f"127.0.0.1:{broken.port}", "order": 1},
        ],
    )
    flow = tmp_path / "pause.json"
    flow.write_text(json.dumps(PAUSE["document"]))
    done = ivrea(house, "call", "+39 011-22", "--flow", str(flow), "--json")
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout)
    broken.finish()
    good.finish()
    assert (ended["result"], ended["to"], ended["end"]["by"]) == ("completed", "+3901122", "flow")
    legs = [(leg["to"], leg["trunk"], leg["sip"]) for leg in Api(house).get(ended["id"])["legs"]]
    assert legs == [("+3901122 via first", "first", 503), ("+3901122 via second", "second", 200)]
    assert re.search(r"From: .*<sip:\+39099@", good.messages())
    failed = ivrea(house, "call", "nobody-there", "--flow", "5000.json", "--trunk", "third")
    assert (failed.returncode, failed.stdout.splitlines()[-1]) == (
        1,
        "failed: there is no way to nobody-there (NO_ROUTE_DESTINATION, Q.850 3)",
    )


@pytest.mark.peer("baresip")
def test_a_flow_that_changes_is_another_version_and_a_kill_sends_the_bye(daemon_for: DaemonFor, tmp_path: Path) -> None:
    with Baresip(tmp_path / "bob", user="bob", answers=True) as bob:
        house = daemon_for({"5000": LONG_PAUSE["document"]})
        api = Api(house, first_token(house))
        call = api.call(bob.uri, "5000.json")
        bob.wait_event("CALL_ESTABLISHED")
        api.wait(call, "answered")
        house.write_flow("5000", PAUSE["document"])
        house.kill_everything()
        house.start()
        bob.wait_event("CALL_CLOSED")
        ended = api.wait(call, "ended")
        assert (ended["end"]["by"], ended["flow"]["version"]) == ("error", 1)
        assert [leg["ended_at"] is not None for leg in ended["legs"]] == [True]
        assert house.log().count("\nToken ivrea_") == 1
        bob.events.clear()
        again = api.wait(api.call(bob.uri, "5000.json"), "ended")
        assert (again["result"], again["flow"]["version"]) == ("completed", 2)

"""Trunks that are SIPp: told apart at one address, full, down, redirecting; who is told who calls."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import sipp, sound
from kit.api import Api
from kit.baresip import Baresip
from kit.daemon import Daemon
from kit.ports import free_port
from test_bridges import menu_after, transfer_to
from test_outgoing import PAUSE, registered

DaemonFor = Callable[..., Daemon]
CLOSED = {"sip": {"open": False}}
pytestmark = pytest.mark.peer("sipp")


def refuses(number: str) -> dict[str, object]:
    """A flow that refuses its call with a status of its own, by which a test knows that it ran."""
    return {"module": "response", "data": {"code": int(number)}, "children": {}}


def leg_statuses(house: Daemon) -> list[int]:
    return [row["status"] for row in house.events() if row.get("event") == "leg ended"]


def provider(
    folder: Path, house: Daemon, number: str, status: str, *, port: int = 0, from_: str = "", headers: str = ""
) -> sipp.Sipp:
    """A provider's call that is refused with ``status`` at its end."""
    fill = {"STATUS": status, "FROM": from_ or "<sip:+39011555@[local_ip]:[local_port]>", "HEADERS": headers or "X: y"}
    return sipp.start("uac_provider", folder, server=house.address, number=number, fill=fill, port=port)


def test_trunks_at_one_address_are_told_apart(daemon_for: DaemonFor, tmp_path: Path) -> None:
    """By the numbers that are listed, by the port, by digest; what none of them has is the first's."""
    port = free_port()
    house = daemon_for(
        {
            "480": refuses("480"),
            "486": refuses("486"),
            "404": refuses("410"),
            "+39603": refuses("603"),
            "488": refuses("488"),
        },
        settings=CLOSED,
        trunks=[
            {"name": "rest", "host": "127.0.0.1:1", "order": 1},
            {"name": "listed", "host": "127.0.0.1:2", "numbers": ["480"], "order": 2},
            {"name": "port", "host": f"127.0.0.1:{port}", "order": 3},
            {"name": "proving", "host": "127.0.0.1", "inbound": "digest", "username": "acme", "password": "geheim"},
            {"name": "ruled", "host": "127.0.0.1:3", "rewrite_dialled_in": ["0=+39"], "numbers": ["+39603"]},
        ],
    )  # fmt: skip
    calls = [
        provider(tmp_path / "rest", house, "486", "486"),
        provider(tmp_path / "listed", house, "480", "480", port=0),
        provider(tmp_path / "port", house, "404", "410", port=port),
        provider(tmp_path / "ruled", house, "0603", "603"),
    ]
    proof = {"USER": "acme", "PASSWORD": "geheim", "FROM": "<sip:acme@[local_ip]:[local_port]>", "STATUS": "488"}
    wrong = {**proof, "PASSWORD": "falsch", "STATUS": "401"}
    uri = ("-auth_uri", f"488@127.0.0.1:{house.sip_port}")  # the Request-URI
    for name, fill in (("proving", proof), ("wrong", wrong)):
        folder = tmp_path / name
        calls.append(sipp.start("uac_digest", folder, server=house.address, number="488", fill=fill, arguments=uri))
    for call in calls:
        call.finish()
    house.wait_ended(5)
    started = {row["callee"]: row["source"] for row in house.events() if row.get("event") == "call started"}
    assert started == {"486": "rest", "480": "listed", "404": "port", "+39603": "ruled", "488": "proving"}


def test_a_forwarded_call_tells_the_trunk_who_calls_and_for_whom_it_was(daemon_for: DaemonFor, tmp_path: Path) -> None:
    """What a trusted trunk asserts goes out asserted; a withheld number only to who is told such numbers."""
    out = sipp.start("uas_refuse", tmp_path / "out", fill={"STATUS": "503 No"})
    plain = sipp.start("uas_refuse", tmp_path / "plain", fill={"STATUS": "486 Busy Here"})
    house = daemon_for(
        {"5000": transfer_to("+39222", {"id": "end", "action": "hangup"})},
        settings=CLOSED,
        trunks=[
            {
                "name": "out", "host": f"127.0.0.1:{out.port}", "inbound": "none", "order": 1, "identity": "asserted",
                "diversion": "diversion", "from_user": "acme", "from_domain": "acme.example",
                "rewrite_dialled_out": ["+39=0"], "rewrite_caller_out": ["+=00"],
            },
            {
                "name": "plain", "host": f"127.0.0.1:{plain.port}", "inbound": "none", "order": 2,
                "diversion": "history",
            },
            {"name": "in", "host": "127.0.0.1", "outbound": False, "trusted": True, "rewrite_caller_in": ["00=+"]},
        ],
    )  # fmt: skip
    caller = provider(
        tmp_path / "in", house, "5000", "480",
        from_='"Anonymous" <sip:anonymous@anonymous.invalid>',
        headers='P-Asserted-Identity: "Anna" <sip:00441@p.example>\n      Privacy: id\n'
        "      Diversion: <sip:0049@p.example>;reason=user-busy",
    )  # fmt: skip
    for each in (out, plain, caller):
        each.finish()
    house.wait_ended()
    first, second = out.messages(), plain.messages()
    assert re.search(r"^INVITE sip:0222@127\.0\.0\.1", first, re.MULTILINE)
    assert "P-Asserted-Identity: <sip:00441@acme.example>" in first
    assert "Diversion: <sip:5000@acme.example>;reason=unconditional;counter=1;privacy=off" in first
    assert "Diversion: <sip:+49@acme.example>;reason=user-busy;counter=1;privacy=off" in first
    assert "+441" not in second
    assert "0441" not in second
    assert "History-Info: <sip:5000@127.0.0.1;cause=486>;index=1.1;mp=1" in second
    for said in (first, second):
        assert re.search(r"^From: Anonymous <sip:anonymous@anonymous\.invalid>", said, re.MULTILINE)
        assert re.search(r"^Privacy: id\r?$", said, re.MULTILINE)
    (started,) = [row for row in house.events() if row.get("event") == "call started"]
    assert (started["caller"], started["source"]) == ("anonymous", "in")


def test_a_full_trunk_is_busy_to_callers_and_passed_over_by_calls_out(daemon_for: DaemonFor, tmp_path: Path) -> None:
    out = sipp.start("uas_rings_on", tmp_path / "out")
    house = daemon_for(
        {"5000": menu_after("+390222", timeout=3)},
        settings=CLOSED,
        trunks=[
            {"name": "small", "host": "127.0.0.1", "order": 1, "channels": 1},
            {"name": "next", "host": f"127.0.0.1:{out.port}", "order": 2, "inbound": "none"},
        ],
    )
    first = sipp.start("uac_waits", tmp_path / "first", server=house.address, number="5000")
    house.wait_log("leg dialled")
    assert 'ivrea_trunk_channels{trunk="small"} 1' in house.get("/metrics")
    provider(tmp_path / "second", house, "5000", "486").finish()
    out.finish()
    first.finish()
    house.wait_ended()
    legs = [(row["trunk"], row["sip_status"]) for row in legs_of(house)]
    assert legs == [("next", 487)]
    assert "INVITE sip:+390222@" in out.messages()
    provider(tmp_path / "third", house, "404", "404").finish()
    metrics = house.get("/metrics")
    assert 'ivrea_trunk_channels{trunk="small"} 0' in metrics
    assert 'ivrea_trunk_channels{trunk="next"} 0' in metrics


def legs_of(house: Daemon) -> list[dict[str, object]]:
    """The legs of the one call, as the database has them."""
    with contextlib.closing(sqlite3.connect(f"file:{house.folder / 'ivrea.db'}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT trunk, sip_status FROM legs ORDER BY started_at").fetchall()
    return [{"trunk": trunk, "sip_status": status} for trunk, status in rows]


def test_a_trunk_that_redirects_is_followed_on_itself_and_not_elsewhere(daemon_for: DaemonFor, tmp_path: Path) -> None:
    busy = sipp.start("uas_refuse", tmp_path / "busy", fill={"STATUS": "486 Busy Here"})
    contact = f"<sip:+390333@127.0.0.1:{busy.port}>;q=0.5, <sip:bob@elsewhere.example>;q=0.9"
    moved = sipp.start("uas_redirects", tmp_path / "moved", fill={"CONTACT": contact})
    house = daemon_for(
        {"5000": menu_after("+390222")},
        trunks=[{"name": "t", "host": f"127.0.0.1:{moved.port}", "redirects": "same", "inbound": "none"}],
    )
    caller = sipp.start("uac_waits", tmp_path / "uac", server=house.address, number="5000")
    for each in (moved, busy, caller):
        each.finish()
    house.wait_ended()
    assert leg_statuses(house) == [302, 486]
    assert "INVITE sip:+390333@127.0.0.1" in busy.messages()
    assert [row["to"] for row in house.events() if row.get("event") == "redirection_not_followed"] == [
        "sip:bob@elsewhere.example"
    ]


def test_a_trunk_that_does_not_answer_options_comes_last(daemon_for: DaemonFor, tmp_path: Path) -> None:
    up = sipp.start("uas_refuse", tmp_path / "up", fill={"STATUS": "486 Busy Here"})
    nobody = free_port(socket.SOCK_STREAM)
    house = daemon_for(
        {"5000": menu_after("+390222")},
        trunks=[
            {"name": "down", "host": f"tcp:127.0.0.1:{nobody}", "order": 1, "probe": 1.0, "inbound": "none"},
            {"name": "up", "host": f"127.0.0.1:{up.port}", "order": 2, "inbound": "none"},
        ],
    )
    house.wait_log("trunk_down")
    assert 'ivrea_trunk_up{trunk="down"} 0' in house.get("/metrics")
    caller = sipp.start("uac_waits", tmp_path / "uac", server=house.address, number="5000")
    up.finish()
    caller.finish()
    house.wait_ended()
    assert leg_statuses(house) == [486], "the one that is up was asked first"


BUSY_BY_CAUSE = '503 Service Unavailable\n      Reason: Q.850;cause=17;text="user busy"'


def test_a_silent_trunk_is_passed_over_and_the_cause_of_the_next_is_told_to_the_end(
    daemon_for: DaemonFor, tmp_path: Path
) -> None:
    """By a flow and by the API: the first says nothing in time, the second tells of a busy telephone by a 503."""
    silent = sipp.start("uas_answers_too_late", tmp_path / "silent", calls=3)
    busy = sipp.start("uas_refuse", tmp_path / "busy", fill={"STATUS": BUSY_BY_CAUSE}, calls=3)
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as third:
        third.bind(("127.0.0.1", 0))
        third.setblocking(False)
        ports = {"silent": silent.port, "busy": busy.port, "third": third.getsockname()[1]}
        house = daemon_for(
            {
                "5000": {"module": "resources", "data": {"to_did": "+390222"}, "children": {}},
                "5001": transfer_to("+390222"),
            },
            trunks=[
                {"name": name, "host": f"127.0.0.1:{port}", "order": order, "inbound": "none", "respond_within": 1.0}
                for order, (name, port) in enumerate(ports.items())
            ],
        )
        api = Api(house)
        api.call("+390222", PAUSE)
        callers = [
            sipp.start("uac_refused", tmp_path / number, server=house.address, number=number, fill={"STATUS": status})
            for number, status in (("5000", "503"), ("5001", "480"))
        ]
        for each in (*callers, busy, silent):
            each.finish()
        house.wait_ended(3)
        with pytest.raises(BlockingIOError):
            third.recv(1)
    assert all("Reason: Q.850;cause=17" in caller.messages() for caller in callers)
    assert "CANCEL " not in silent.messages()
    calls = [api.get(call["id"]) for call in api.ask("GET", "/calls")[1]["calls"]]
    assert {(call["to"], call["end"]["sip"]) for call in calls} == {("+390222", 503), ("5000", 503), ("5001", 480)}
    for call in calls:
        assert (call["result"], call["end"]["cause"], call["end"]["q850"]) == ("busy", "USER_BUSY", 17)
        assert [(leg["trunk"], leg["sip"], leg["q850"]) for leg in call["legs"]] == [
            ("silent", 408, None),
            ("busy", 503, 17),
        ]


def test_a_worker_that_dies_while_it_rings_is_no_phone_that_does_not_answer(
    daemon_for: DaemonFor, tmp_path: Path
) -> None:
    out = sipp.start("uas_rings_on", tmp_path / "out")
    house = daemon_for({"5000": PAUSE["document"]})
    api = Api(house)
    call = api.call(f"sip:bob@127.0.0.1:{out.port}", "5000.json")
    api.wait(call, "ringing")
    (worker,) = house.workers()
    os.kill(worker, signal.SIGKILL)
    ended = api.wait(call, "ended")
    out.finish()
    assert (ended["result"], ended["end"]["by"], ended["end"]["cause"], ended["end"]["q850"], ended["end"]["sip"]) == (
        "failed", "error", "NETWORK_OUT_OF_ORDER", 38, None,
    )  # fmt: skip


@pytest.mark.peer("baresip")
def test_all_telephones_of_a_device_ring_and_the_first_who_answers_has_the_call(
    daemon_for: DaemonFor, tmp_path: Path
) -> None:
    house = daemon_for(
        {"5000": {"module": "device", "data": {"id": "bob"}, "children": {}}},
        devices=[{"name": "bob", "password": "geheim"}],
    )
    with (
        registered(house, tmp_path / "one", "bob") as one,
        registered(house, tmp_path / "two", "bob") as two,
        Baresip(tmp_path / "alice", user="alice") as alice,
    ):
        alice.dial(house.uri("5000"))
        one.wait_event("CALL_INCOMING")
        two.wait_event("CALL_INCOMING")
        two.command("accept")
        one.wait_event("CALL_CLOSED")
        alice.wait_event("CALL_ESTABLISHED")
        two.hangup()
        alice.wait_event("CALL_CLOSED")
        house.wait_ended()
    assert sorted(leg_statuses(house)) == [200, 487]


@pytest.mark.peer("baresip")
def test_a_page_is_heard_by_all_and_answered_by_none(daemon_for: DaemonFor, tmp_path: Path) -> None:
    ends = [{"id": name, "endpoint_type": "device"} for name in ("bob", "carl")]
    house = daemon_for(
        {"5000": {"module": "page_group", "data": {"endpoints": ends}, "children": {}}},
        devices=[{"name": "bob", "password": "geheim"}, {"name": "carl", "password": "geheim"}],
    )
    with (
        registered(house, tmp_path, "bob", answers=True, keep=True, audio=sound.tone(900.0, 20)) as bob,
        registered(house, tmp_path, "carl", answers=True, keep=True) as carl,
        Baresip(tmp_path / "alice", user="alice", audio=sound.tone(600.0, 20), keep=True) as alice,
    ):
        alice.dial(house.uri("5000"))
        for phone in (alice, bob, carl):
            phone.wait_event("CALL_ESTABLISHED")
        time.sleep(1.5)  # what is said
        alice.hangup()
        for phone in (bob, carl):
            phone.wait_event("CALL_CLOSED")
        house.wait_ended()
        assert leg_statuses(house) == [200, 200]
    for phone in (bob, carl):
        rate, heard = phone.heard()
        assert rate == sound.RATE
        assert sound.find_tone(heard, 600.0)
    for phone in (alice, carl):
        assert not sound.find_tone(phone.heard()[1], 900.0)


def test_a_customer_has_no_calls_of_others_by_naming_their_provider(daemon_for: DaemonFor, tmp_path: Path) -> None:
    """Neither by the number as its name there, nor by an address that nobody assigned to it; once one is, its own."""
    house = daemon_for(
        {"480": refuses("480")},
        settings=CLOSED,
        trunks=[{"name": "carrier", "host": "127.0.0.1:1", "outbound": False, "order": 9}],
    )
    _, account = Api(house).ask("POST", "/accounts", {"name": "thief", "assigned_numbers": ["603"]})
    thief = Api(house, account["token"])
    assert thief.ask("POST", "/flows", {"name": "f", "document": refuses("603")})[0] == 201
    assert thief.ask("POST", "/numbers", {"number": "603", "flow": "f"})[0] == 201
    where = {"name": "line", "host": "127.0.0.1:9", "order": -9}
    status, said = thief.ask("POST", "/trunks", where)
    assert (status, said["error"]["code"]) == (403, "not_assigned")
    trunk = {**where, "register": True, "username": "480", "password": "x"}
    assert thief.ask("POST", "/trunks", trunk)[0] == 201
    provider(tmp_path / "own", house, "480", "480").finish()
    provider(tmp_path / "none", house, "603", "404").finish()
    assert Api(house).ask("PATCH", "/accounts/thief", {"assigned_addresses": ["127.0.0.0/8"]})[0] == 200
    provider(tmp_path / "still", house, "480", "480").finish()
    provider(tmp_path / "assigned", house, "603", "603").finish()
    house.wait_ended(3)
    started = [row["source"] for row in house.events() if row.get("event") == "call started"]
    assert started == ["carrier", "carrier", f"{account['id']}/line"]

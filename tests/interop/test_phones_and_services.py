"""What flows and services do for telephones that are not ours: baresip over UDP and TCP, SIPp over IPv4 and IPv6."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kit import sipp, sound, trees
from kit.api import Api
from kit.baresip import Baresip
from kit.daemon import Daemon, poll
from test_flows_live import module

MUSIC, ANNA, BERT = 1500.0, 700.0, 1100.0
GREETING, BEEP = 3.5, 1000.0
PHONES = ("anna", "bert")


@dataclass(slots=True)
class House:
    """The daemon, which also listens at ``six``, an IPv6 address with its port."""

    daemon: Daemon
    api: Api
    six: tuple[str, int]

    @contextlib.contextmanager
    def registered(self, folder: Path, user: str, **options: Any) -> Iterator[Baresip]:
        """A telephone that has registered."""
        before = self.daemon.log().count("device_registered")
        server = f"127.0.0.1:{self.daemon.sip_port}"
        with Baresip(folder / user, user=user, server=server, password="secret", **options) as phone:
            self.daemon.wait_log("device_registered", count=before + 1)
            yield phone


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("services")
    sound.write_wav(folder / "music.wav", sound.tone(MUSIC, 3.0))
    busy = module("response", code=486, message="Seen")
    flows: dict[str, object] = {
        "6000": {"_": "long.wav", "key:7": "two.wav"},
        "6001": {"_": "one.wav"},
        "6002": module("response", code=486, media="root.wav"),
        "6003": module("answer", module("send_dtmf", module("response"), digits="4*", duration_ms=150)),
        "6004": module("park", slot="1", action="auto"),
        "6005": module(
            "manual_presence",
            module("manual_presence", busy, presence_id="anna", status="idle"),
            presence_id="anna",
            status="busy",
        ),
        "6006": module("device", id="anna", timeout=8),
    }
    daemon = Daemon(
        folder,
        flows,
        sounds=trees.SOUNDS,
        settings={"calls": {"music": str(folder / "music.wav")}, "rtp": {"workers": 2}},
        devices=[{"name": name, "password": "secret"} for name in (*PHONES, "lamp")],
    )
    six = daemon.listen_too("::1")
    with daemon:
        yield House(daemon, Api(daemon), six)


# --- TCP, keys in the sound ---------------------------------------------------------------------


@pytest.mark.peer("baresip")
def test_a_telephone_over_tcp_registers_calls_and_is_called(house: House, tmp_path: Path) -> None:
    """Its key is a tone in its sound. What it is called by comes over the connection that it registered on."""
    pressed = np.concatenate([sound.silence(1.5), sound.dtmf("7", 0.1), sound.silence(20.0)])
    with (
        house.registered(tmp_path, "anna", transport="tcp", audio=pressed, keep=True, answers=True) as anna,
        Baresip(tmp_path / "bert", user="bert", audio=sound.tone(BERT, 20)) as bert,
    ):
        anna.dial(f"{house.daemon.uri('6000')};transport=tcp")
        anna.wait_heard(trees.ROOT_HZ)
        anna.wait_event("CALL_CLOSED")
        (call,) = house.daemon.calls_to("6000")
        assert house.daemon.wait_closed(call)["path"] == trees.path("key:7")
        anna.forget_call()
        bert.dial(house.daemon.uri("6006"))
        for phone in (anna, bert):
            phone.wait_event("CALL_ESTABLISHED")
        anna.wait_heard(BERT)
        anna.hangup()
        bert.wait_event("CALL_CLOSED")
    for number, expected in (("6000", {(False, "tcp")}), ("6006", {(False, "udp"), (True, "tcp")})):
        (call,) = house.daemon.calls_to(number)
        house.daemon.wait_closed(call)
        ladders = house.daemon.stored_notes(call, "Sip")
        ways = {
            (bool(ladder["leg"]), far_end.partition(":")[0])
            for ladder in ladders
            for _, _, far_end, _, _ in ladder["messages"]
        }
        assert ways == expected


# --- sound and keys towards the caller ----------------------------------------------------------


@pytest.mark.peer("baresip")
def test_early_media_of_a_flow_is_heard_before_the_refusal(house: House, tmp_path: Path) -> None:
    with Baresip(tmp_path, user="early", keep=True) as phone:
        phone.dial(house.daemon.uri("6002"))
        phone.wait_event("CALL_PROGRESS")
        phone.wait_heard(trees.ROOT_HZ, 1.0)
        closed = phone.wait_event("CALL_CLOSED")
        assert "486" in closed["param"]
        assert not [row for row in phone.events if row.get("type") == "CALL_ESTABLISHED"]
    (call,) = house.daemon.calls_to("6002")
    assert house.daemon.wait_closed(call)["reason"] == "486"


@pytest.mark.peer("baresip")
def test_keys_that_a_flow_sends_are_understood_by_the_caller(house: House, tmp_path: Path) -> None:
    with Baresip(tmp_path, user="keys") as phone:
        phone.dial(house.daemon.uri("6003"))
        phone.wait_event("CALL_CLOSED")
    assert [row["param"] for row in phone.events if row.get("type") == "CALL_DTMF_START"] == ["4", "*"]


# --- services -----------------------------------------------------------------------------------


@pytest.mark.peer("baresip")
def test_who_is_parked_hears_music_until_somebody_takes_the_call(house: House, tmp_path: Path) -> None:
    with (
        Baresip(tmp_path / "anna", user="anna", audio=sound.tone(ANNA, 20), keep=True) as anna,
        Baresip(tmp_path / "bert", user="bert", audio=sound.tone(BERT, 20), keep=True) as bert,
    ):
        anna.dial(house.daemon.uri("6004"))
        anna.wait_heard(MUSIC)
        bert.dial(house.daemon.uri("6004"))
        anna.wait_heard(BERT)
        bert.wait_heard(ANNA)
        bert.hangup()
        anna.wait_event("CALL_CLOSED")
    parked, taken = house.daemon.calls_to("6004")
    assert house.daemon.wait_closed(taken)["by"] == "caller"
    assert house.daemon.wait_closed(parked)["by"] == "flow"
    assert not sound.find_tone(bert.heard()[1], MUSIC)
    rate, samples = anna.heard()
    assert rate == sound.RATE
    assert sound.find_tone(samples, MUSIC)[-1][1] <= sound.find_tone(samples, BERT)[0][0], "the music has ended"


@pytest.mark.peer("sipp")
def test_what_a_flow_shows_of_somebody_is_told_to_who_watches(house: House, tmp_path: Path) -> None:
    host, port = house.daemon.address
    arguments = ["-auth_uri", f"anna@{host}:{port}"]
    watcher = sipp.start(
        "watches_a_state", tmp_path / "watcher", server=(host, port), number="anna", arguments=arguments
    )
    poll(lambda: "active" in watcher.log() or None, 10, "nobody watches")
    caller = sipp.start("uac_refused", tmp_path / "caller", server=(host, port), number="6005", fill={"STATUS": "486"})
    caller.finish()
    watcher.finish(15)
    (call,) = house.daemon.calls_to("6005")
    assert house.daemon.wait_closed(call)["reason"] == "486 Seen"


# --- answering machines -------------------------------------------------------------------------


def answered_by_a_machine(house: House, folder: Path, wish: str) -> tuple[dict[str, Any], list[float]]:
    """A machine that greets for :data:`GREETING` seconds, beeps and listens: the end of the call, and when the machine
    heard the flow, in seconds since its answer.
    """
    parts = [sound.greeting(GREETING), sound.silence(0.3), sound.tone(BEEP, 0.4), sound.silence(20.0)]
    with Baresip(folder, user="machine", audio=np.concatenate(parts), keep=True, answers=True) as machine:
        call = house.api.call(machine.uri, "6001.json", machine_detection=wish)
        machine.wait_event("CALL_ESTABLISHED")
        began = time.monotonic()
        heard = []
        if wish != "hangup":
            machine.wait_heard(trees.ONE_HZ, 0.2)
            heard.append(time.monotonic() - began)
        machine.wait_event("CALL_CLOSED")
        return house.api.wait(call, "ended"), heard


@pytest.mark.peer("baresip")
def test_what_is_done_about_an_answering_machine(house: House, tmp_path: Path) -> None:
    """Once that is clear the flow begins, into the greeting, or behind the beep, or the call is hung up: three machines
    at a time.
    """
    wishes = ("continue", "delay", "hangup")
    with ThreadPoolExecutor() as pool:
        runs = {wish: pool.submit(answered_by_a_machine, house, tmp_path / wish, wish) for wish in wishes}
    ends = {wish: run.result() for wish, run in runs.items()}
    reasons = {wish: (end["result"], end["end"]["by"], end["end"]["reason"]) for wish, (end, _) in ends.items()}
    assert reasons == {
        "continue": ("completed", "flow", "end of the flow"),
        "delay": ("completed", "flow", "end of the flow"),
        "hangup": ("completed", "flow", "a machine picked up"),
    }
    for end, _ in ends.values():
        (detected,) = house.daemon.stored_notes(end["id"], "Performed")
        assert (detected["facts"]["result"], detected["facts"]["why"]) == ("machine", "greeting")
    ((at_once,), (behind,)) = ends["continue"][1], ends["delay"][1]
    assert at_once < GREETING
    assert behind > GREETING + 0.3
    assert ends["hangup"][0]["duration"] < GREETING


# --- IPv6 ---------------------------------------------------------------------------------------


@pytest.mark.peer("sipp", "ipv6")
def test_a_caller_over_ipv6_presses_keys(house: House, tmp_path: Path) -> None:
    keyed = np.concatenate([sound.silence(0.8), sound.dtmf("7", 0.1), sound.silence(10.0)])
    before = len(house.daemon.calls_to("6000"))
    caller = sipp.start("uac_audio", tmp_path, server=house.six, number="6000", audio=keyed, host="::1")
    caller.finish()
    call = house.daemon.calls_to("6000")[before]
    assert house.daemon.wait_closed(call)["path"] == trees.path("key:7")
    answer = caller.messages().partition("SIP/2.0 200 OK")[2]
    assert "c=IN IP6 ::1" in answer
    assert f"[::1]:{house.six[1]}" in answer

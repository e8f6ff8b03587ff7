"""Bridges between phones that are not ours: who hears whom, what follows, who is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kit import capture, sipp, sound
from kit.baresip import Baresip
from kit.daemon import Daemon, poll

CALLER, CALLEE = 600.0, 900.0
DaemonFor = Callable[..., Daemon]


def transfer_to(uri: str, *then: dict[str, object], **options: object) -> dict[str, object]:
    """A flow that bridges the caller, and goes on with ``then``."""
    step = {"id": "dial", "action": "transfer", "options": {"destination": uri, **options}}
    return {"title": "bridge", "steps": [step, *then]}


def tone_in(heard: tuple[int, sound.Samples], frequency: float) -> bool:
    rate, samples = heard
    assert rate == sound.RATE
    return sound.find_tone(samples, frequency)


@pytest.mark.peer("baresip")
def test_two_phones_hear_each_other_until_the_callee_hangs_up(daemon_for: DaemonFor, tmp_path: Path) -> None:
    with (
        Baresip(tmp_path / "bob", user="bob", audio=sound.tone(CALLEE, 20), keep=True, answers=True) as bob,
        Baresip(tmp_path / "alice", user="alice", audio=sound.tone(CALLER, 20), keep=True) as alice,
    ):
        house = daemon_for({"5000": transfer_to(bob.uri, {"action": "hangup", "id": "end"})})
        alice.dial(house.uri("5000"))
        alice.wait_event("CALL_ESTABLISHED")
        bob.wait_event("CALL_ESTABLISHED")
        alice.wait_heard(CALLEE, 1.0)
        bob.wait_heard(CALLER, 1.0)
        bob.hangup()
        alice.wait_event("CALL_CLOSED")
        bob.wait_event("CALL_CLOSED")
        (end,) = house.wait_ended()
    assert tone_in(alice.heard(), CALLEE)
    assert not tone_in(alice.heard(), CALLER)
    assert tone_in(bob.heard(), CALLER)
    assert (end["by"], end["path"]) == ("flow", "end")


@pytest.mark.peer("baresip")
def test_a_caller_who_hangs_up_ends_the_other_leg_too(daemon_for: DaemonFor, tmp_path: Path) -> None:
    with (
        Baresip(tmp_path / "bob", user="bob", answers=True) as bob,
        Baresip(tmp_path / "alice", user="alice") as alice,
    ):
        house = daemon_for({"5000": transfer_to(bob.uri)})
        alice.dial(house.uri("5000"))
        bob.wait_event("CALL_ESTABLISHED")
        alice.wait_event("CALL_ESTABLISHED")
        alice.hangup()
        bob.wait_event("CALL_CLOSED")
        (end,) = house.wait_ended()
    assert end["by"] == "caller"
    assert [row["status"] for row in house.events() if row.get("event") == "leg ended"] == [200]


@pytest.mark.peer("baresip")
def test_keys_pressed_in_a_bridge_reach_the_other_phone(daemon_for: DaemonFor, tmp_path: Path) -> None:
    with (
        Baresip(tmp_path / "bob", user="bob", keep=True, answers=True) as bob,
        Baresip(tmp_path / "alice", user="alice", audio=sound.tone(CALLER, 20)) as alice,
    ):
        house = daemon_for({"5000": transfer_to(bob.uri)})
        alice.dial(house.uri("5000"))
        bob.wait_event("CALL_ESTABLISHED")
        alice.wait_event("CALL_ESTABLISHED")
        bob.wait_heard(CALLER)
        alice.press("7")
        heard = bob.wait_event("CALL_DTMF_START")
        assert heard["param"] == "7"
        alice.hangup()
        bob.wait_event("CALL_CLOSED")


def menu_after(uri: str, **options: object) -> dict[str, object]:
    """A transfer, and a sound behind it, by which a test knows that the flow went on."""
    return transfer_to(uri, {"id": "sorry", "action": "pause", "options": {"length": 1}}, **options)


@pytest.mark.parametrize(("status", "cause"), [("486 Busy Here", 486), ("603 Decline", 603), ("404 Not Found", 404)])
def test_a_refused_leg_lets_the_flow_go_on(daemon_for: DaemonFor, tmp_path: Path, status: str, cause: int) -> None:
    uas = sipp.start("uas_refuse", tmp_path / "uas", fill={"STATUS": status})
    house = daemon_for({"5000": menu_after(f"sip:bob@127.0.0.1:{uas.port}")})
    caller = sipp.start("uac_waits", tmp_path / "uac", server=house.address, number="5000")
    uas.finish()
    caller.finish()
    (end,) = house.wait_ended()
    (leg,) = [row for row in house.events() if row.get("event") == "leg ended"]
    assert (leg["status"], end["path"]) == (cause, "sorry")


def test_a_leg_that_rings_too_long_is_cancelled(daemon_for: DaemonFor, tmp_path: Path) -> None:
    uas = sipp.start("uas_rings_on", tmp_path / "uas")
    house = daemon_for({"5000": menu_after(f"sip:bob@127.0.0.1:{uas.port}", timeout=2)})
    caller = sipp.start("uac_waits", tmp_path / "uac", server=house.address, number="5000")
    uas.finish()
    caller.finish()
    (end,) = house.wait_ended()
    assert end["path"] == "sorry"


def test_a_caller_who_gives_up_while_it_rings_cancels_the_leg(daemon_for: DaemonFor, tmp_path: Path) -> None:
    uas = sipp.start("uas_rings_on", tmp_path / "uas")
    house = daemon_for({"5000": menu_after(f"sip:bob@127.0.0.1:{uas.port}")})
    caller = sipp.start("uac_cancels", tmp_path / "uac", server=house.address, number="5000")
    caller.finish()
    uas.finish()
    (end,) = house.wait_ended()
    assert (end["by"], end["reason"]) == ("caller", "cancelled before the answer")


def captured(house: Daemon, least: int) -> list[Path]:
    """Files of packets that are at least so long."""
    return [path for path in house.folder.rglob("*.rtp") if path.stat().st_size >= least]


@pytest.mark.peer("baresip")
def test_after_a_kill_both_phones_get_their_bye(daemon_for: DaemonFor, tmp_path: Path) -> None:
    with (
        Baresip(tmp_path / "bob", user="bob", audio=sound.tone(CALLEE, 20), keep=True, answers=True) as bob,
        Baresip(tmp_path / "alice", user="alice", audio=sound.tone(CALLER, 20), keep=True) as alice,
    ):
        house = daemon_for(
            {"5000": transfer_to(bob.uri)}, settings={"calls": {"capture": True, "capture_media": "all"}}
        )
        alice.dial(house.uri("5000"))
        bob.wait_event("CALL_ESTABLISHED")
        alice.wait_event("CALL_ESTABLISHED")
        alice.wait_heard(CALLEE)
        bob.wait_heard(CALLER)
        poll(lambda: len(captured(house, 30_000)) == 2 or None, 10, "not both legs were captured")
        house.kill_everything()
        house.start()
        alice.wait_event("CALL_CLOSED")
        bob.wait_event("CALL_CLOSED")
        (call,) = house.calls_to("5000")
        found = capture.fetch(house, call)
        assert [stream["ended"] for stream in found.about["streams"]] == [None, None]
        said = [capture.heard(found.rtp(to=port)) for port in found.ports()]
    tones = [[hertz for hertz in (CALLER, CALLEE) if sound.find_tone(each, hertz)] for each in said]
    assert sorted(tones) == [[CALLER], [CALLEE]], "what was written can be had"

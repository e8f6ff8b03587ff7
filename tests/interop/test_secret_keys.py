"""A PIN that a flow asks for: its server has it, and neither the log nor the record or the capture of the call."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import capture, sound
from kit.baresip import Baresip
from kit.daemon import Daemon, poll
from kit.phone import Phone
from kit.trees import ROOT_HZ
from kit.web import WebServer

PIN = "8642"
ASK = '<Response><Gather secret="true" numDigits="4" timeout="9" action="{}"><Play>root.wav</Play></Gather></Response>'
SIZE = '<Response><Gather numDigits="1" timeout="9" action="/size"/></Response>'
WAIT = '<Response><Pause length="60"/></Response>'
DaemonFor = Callable[..., Daemon]


def heard(found: capture.Capture) -> list[str]:
    """What the steps of the call took, by its timeline."""
    return [each["detail"]["value"] for each in found.record["timeline"] if each["kind"] == "Heard"]


def nobody_reads(house: Daemon, call: str) -> capture.Capture:
    found = capture.fetch(house, call)
    record = json.dumps(found.record)
    assert PIN not in record
    assert PIN not in house.log()
    assert heard(found) == ["hidden", "5"]
    (port,) = found.ports()
    (secret,) = found.about["secret"]
    received = found.rtp(to=port)
    pressed = [key for key in capture.keys(received) if key != 255]
    assert set(pressed) <= {5}, pressed
    silent = capture.heard(received, secret["from"], secret["to"])
    assert len(silent) > sound.RATE / 4
    assert sound.level(silent) < -60.0
    return found


@pytest.mark.peer("baresip")
def test_a_secret_pin_is_known_to_the_server_alone(daemon_for: DaemonFor, tmp_path: Path) -> None:
    """By telephone-events of baresip; by those, tones and INFO of a telephone that sends all three."""
    pages = {"/check": (200, "application/xml", SIZE), "/size": (200, "application/xml", WAIT)}
    with WebServer(dict(pages)) as web:
        house = daemon_for(
            {"5000": '<?xml version="1.0"?>' + ASK.format(web.url("/check"))},
            settings={"calls": {"capture": True, "capture_media": "all"}},
        )
        with (
            Baresip(tmp_path / "alice", user="alice", audio=sound.tone(600, 30)) as alice,
            Phone(house.address) as phone,
        ):
            alice.dial(house.uri("5000"))
            alice.wait_event("CALL_ESTABLISHED")
            assert phone.call("5000").status == 200
            phone.rtp.wait_for_sound(ROOT_HZ, 5)
            for key in PIN:
                alice.press(key)
                phone.rtp.press(key, inband=True)
                phone.rtp.drained()
                phone.info(key, wait=False)
            poll(
                lambda: len([each for each in web.requests if each.path == "/check"]) == 2 or None, 10, "not both asked"
            )
            alice.press("5")
            phone.rtp.press("5")
            calls = house.calls_to("5000")
            poll(lambda: len(web.requests) == 4 or None, 10, "not both asked again")
            phone.rtp.drained()
            phone.serve(0.5)
            alice.hangup()
            phone.hangup()
            for call in calls:
                house.wait_closed(call)
        told = [asked for asked in web.requests if asked.path == "/check"]
        assert [asked.form["Digits"] for asked in told] == [PIN, PIN]
        assert [asked.form["Digits"] for asked in web.requests if asked.path == "/size"] == ["5", "5"]
        for call in calls:
            found = nobody_reads(house, call)
            assert not [key for key in PIN if found.says(f"Signal={key}".encode())]

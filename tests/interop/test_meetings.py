"""Callers who meet in conferences, queues and parking lots: phones that are not ours, heard by what they keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kit import sound
from kit.api import Api
from kit.baresip import Baresip
from kit.daemon import Daemon
from kit.phone import Phone
from kit.trees import ONE_HZ, ROOT_HZ
from kit.web import WebServer

ALICE, BOB, BEEP = 600.0, 900.0, 1000.0
DaemonFor = Callable[..., Daemon]


def twiml(body: str) -> str:
    return f'<?xml version="1.0"?><Response>{body}</Response>'


def phones(folder: Path) -> tuple[Baresip, Baresip]:
    return (
        Baresip(folder / "alice", user="alice", audio=sound.tone(ALICE, 30), keep=True),
        Baresip(folder / "bob", user="bob", audio=sound.tone(BOB, 30), keep=True),
    )


def hears(phone: Baresip, frequency: float) -> bool:
    _, samples = phone.heard()
    return sound.find_tone(samples, frequency)


@pytest.mark.peer("baresip")
@pytest.mark.parametrize("workers", [1, 2])
def test_members_of_a_conference_hear_each_other_and_not_themselves(
    daemon_for: DaemonFor, tmp_path: Path, workers: int
) -> None:
    """With two workers both are on different ones, and a link between them."""
    house = daemon_for(
        {"6000": twiml("<Dial><Conference>room</Conference></Dial>")}, settings={"rtp": {"workers": workers}}
    )
    alice, bob = phones(tmp_path)
    with alice, bob:
        for phone in (alice, bob):
            phone.dial(house.uri("6000"))
            phone.wait_event("CALL_ESTABLISHED")
        house.wait_log("conference_joined", count=2)
        alice.wait_heard(BOB, 1.5)
        bob.wait_heard(ALICE, 1.5)
        alice.hangup()
        bob.hangup()
        house.wait_ended(2)
    assert hears(alice, BOB)
    assert hears(bob, ALICE)
    assert not hears(alice, ALICE)


@pytest.mark.peer("baresip")
def test_a_conference_ends_when_the_member_leaves_who_is_to_end_it(daemon_for: DaemonFor, tmp_path: Path) -> None:
    """Bob may begin a conference as well as Alice may, and is let go all the same."""
    house = daemon_for(
        {
            "6000": twiml('<Dial><Conference endConferenceOnExit="true">room</Conference></Dial>'),
            "6001": twiml("<Dial><Conference>room</Conference></Dial>"),
        }
    )
    alice, bob = phones(tmp_path)
    with alice, bob:
        for phone, number in ((alice, "6000"), (bob, "6001")):
            phone.dial(house.uri(number))
            phone.wait_event("CALL_ESTABLISHED")
        house.wait_log("conference_joined", count=2)
        alice.hangup()
        bob.wait_event("CALL_CLOSED")
        house.wait_ended(2)


@pytest.mark.peer("baresip")
def test_who_waits_in_a_queue_is_taken_by_who_dials_it(daemon_for: DaemonFor, tmp_path: Path) -> None:
    house = daemon_for(
        {
            "6001": twiml("<Enqueue>support</Enqueue><Hangup/>"),
            "6002": twiml("<Dial><Queue>support</Queue></Dial>"),
        }
    )
    alice, bob = phones(tmp_path)
    with alice, bob:
        alice.dial(house.uri("6001"))
        alice.wait_event("CALL_ESTABLISHED")
        house.wait_log("queued")
        bob.dial(house.uri("6002"))
        bob.wait_event("CALL_ESTABLISHED")
        alice.wait_heard(BOB, 1.0)
        bob.wait_heard(ALICE, 1.0)
        bob.hangup()
        alice.wait_event("CALL_CLOSED")
        house.wait_ended(2)
    assert hears(alice, BOB)
    assert hears(bob, ALICE)


@pytest.mark.peer("baresip")
def test_who_comes_says_a_name_which_is_announced_between_media_of_the_flow(
    daemon_for: DaemonFor, tmp_path: Path
) -> None:
    """Alice hears the sound of coming, the name that Bob says, and the sound of going."""
    config = {"name": "room", "play_name": True, "play_welcome": False}
    customer = WebServer()
    own = {"play_entry_tone": customer.url("/in.wav"), "play_exit_tone": customer.url("/out.wav")}
    house = daemon_for(
        {
            "6000": twiml("<Dial><Conference>room</Conference></Dial>"),
            "6001": {"module": "conference", "data": {"config": config, **own}, "children": {}},
        },
    )
    for path, file in (("/in.wav", "one.wav"), ("/out.wav", "root.wav")):
        customer.pages[path] = (200, "audio/wav", (house.folder / file).read_bytes())
    with customer, Baresip(tmp_path / "alice", user="alice", keep=True) as alice, Phone(house.address) as bob:
        alice.dial(house.uri("6000"))
        alice.wait_event("CALL_ESTABLISHED")
        house.wait_log("conference_joined")
        assert bob.call("6001").status == 200
        bob.rtp.wait_for_sound(BEEP, 15)
        bob.rtp.say(sound.tone(BOB, 0.8))
        bob.rtp.press("5")
        house.wait_log("conference_joined", count=2)
        alice.wait_heard(ONE_HZ, 0.5)
        alice.wait_heard(BOB, 0.5)
        bob.hangup()
        alice.wait_heard(ROOT_HZ, 0.5)
        alice.hangup()
        house.wait_ended(2)
        assert Api(house).ask("GET", f"/calls/{house.call_id(bob.call_id)}/recordings")[1] == {"recordings": []}

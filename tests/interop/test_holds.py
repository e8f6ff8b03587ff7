"""Phones that are not ours put each other on hold: who waits hears music, and the talk goes on after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from kit import sound
from kit.baresip import Baresip
from kit.daemon import Daemon

ALICE, BOB, MUSIC = 600.0, 900.0, 1500.0
DaemonFor = Callable[..., Daemon]
TWIML = '<?xml version="1.0"?><Response>{}</Response>'


def phones(folder: Path, *, answers: bool = False) -> tuple[Baresip, Baresip]:
    return (
        Baresip(folder / "alice", user="alice", audio=sound.tone(ALICE, 60), keep=True),
        Baresip(folder / "bob", user="bob", audio=sound.tone(BOB, 60), keep=True, answers=answers),
    )


def heard(phone: Baresip) -> sound.Samples:
    rate, samples = phone.heard()
    assert rate == sound.RATE
    return samples


def seconds_of(samples: sound.Samples, frequency: float) -> float:
    return sum(end - start for start, end in sound.find_tone(samples, frequency))


def house_with_music(daemon_for: DaemonFor, tmp_path: Path, flows: dict[str, object]) -> Daemon:
    sound.write_wav(tmp_path / "music.wav", sound.tone(MUSIC, 3.0))
    return daemon_for(flows, settings={"calls": {"music": str(tmp_path / "music.wav")}})


@pytest.mark.peer("baresip")
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_the_other_phone_hears_music_until_the_call_is_resumed(daemon_for: DaemonFor, tmp_path: Path, who: str) -> None:
    """Either side of a bridge may hold; the music of the configuration is heard, and ends with the hold."""
    alice, bob = phones(tmp_path, answers=True)
    with alice, bob:
        house = house_with_music(daemon_for, tmp_path, {"5000": TWIML.format(f"<Dial><Sip>{bob.uri}</Sip></Dial>")})
        alice.dial(house.uri("5000"))
        alice.wait_event("CALL_ESTABLISHED")
        bob.wait_event("CALL_ESTABLISHED")
        holder, other = (alice, bob) if who == "caller" else (bob, alice)
        own = ALICE if who == "caller" else BOB
        other.wait_heard(own)
        holder.command("hold")
        house.wait_log('"held"')
        other.wait_heard(MUSIC, 1.6)
        holder.command("resume")
        house.wait_log('"resumed"')
        other.wait_heard(own, other.seconds_heard(own) + 1.3)
        alice.hangup()
        bob.wait_event("CALL_CLOSED")
        house.wait_ended()
    samples = heard(other)
    music = sound.find_tone(samples, MUSIC)
    assert 1.5 < seconds_of(samples, MUSIC) < 3.0
    voice = sound.find_tone(samples, own)
    assert voice[0][0] < music[0][0]  # before the hold
    assert voice[-1][1] > music[-1][1] + 1.0  # and after it
    assert seconds_of(heard(holder), MUSIC) == 0.0


@pytest.mark.peer("baresip")
def test_a_held_member_of_a_conference_brings_no_sound_into_the_room(daemon_for: DaemonFor, tmp_path: Path) -> None:
    house = house_with_music(
        daemon_for, tmp_path, {"6000": TWIML.format("<Dial><Conference beep='false'>room</Conference></Dial>")}
    )
    alice, bob = phones(tmp_path)
    with alice, bob:
        for phone in (alice, bob):
            phone.dial(house.uri("6000"))
            phone.wait_event("CALL_ESTABLISHED")
        house.wait_log("conference_joined", count=2)
        time.sleep(2.0)  # they talk
        alice.command("hold")
        house.wait_log('"held"')
        time.sleep(2.0)  # Bob is alone
        alice.command("resume")
        house.wait_log('"resumed"')
        time.sleep(1.0)
        alice.hangup()
        bob.hangup()
        house.wait_ended(2)
    samples = heard(bob)
    quiet = [piece for piece in np.array_split(samples, len(samples) // 1600) if sound.level(piece) < -60.0]
    assert len(quiet) >= 7  # of ten fifths of a second
    assert seconds_of(samples, MUSIC) == 0.0
    assert sound.find_tone(samples, ALICE)[-1][1] > len(samples) / sound.RATE - 1.5

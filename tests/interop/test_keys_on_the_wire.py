"""Keys as the world sends them: without markers, by three methods at once, fast, early, and damaged on the way."""

from __future__ import annotations

import pytest
from kit import sound
from kit.daemon import Daemon
from kit.phone import Phone
from kit.trees import ROOT_HZ, TWO_HZ, path

EVERY_KEY = "3001"


def keys(text: str) -> str:
    return path(*(f"key:{key}" for key in text))


def walked(house: Daemon, phone: Phone, patience: float = 10.0) -> str:
    """The path of the call, which the flow or the caller has ended."""
    return str(house.closing(phone.call_id, patience)["path"])


def test_keys_without_marker(house: Daemon) -> None:
    with Phone(house.address) as phone:
        assert phone.call(EVERY_KEY).status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        for key in "147":
            phone.rtp.press(key, marker=False, off=0.2)
        phone.wait_for_end()
    assert walked(house, phone) == keys("147")


def test_only_the_end_packets_arrive(house: Daemon) -> None:
    with Phone(house.address) as phone:
        assert phone.call(EVERY_KEY).status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        for key in "258":
            phone.rtp.press(key, on=0.02, marker=False, ends=3, off=0.2)
        phone.wait_for_end()
    assert walked(house, phone) == keys("258")


@pytest.mark.parametrize("first", ["rtp", "info"])
@pytest.mark.parametrize("seconds", [0.06, 0.25, 2.0])
def test_the_same_press_by_all_three_methods_counts_once(house: Daemon, seconds: float, first: str) -> None:
    """Events, tone and INFO for one press, INFO first or last: whichever is first owns the leg."""
    with Phone(house.address) as phone:
        assert phone.call(EVERY_KEY).status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        for key in "369":
            if first == "info":
                phone.info(key, duration_ms=round(seconds * 1000), wait=False)
            phone.rtp.press(key, on=seconds, off=0.4, inband=True)
            phone.rtp.drained()
            if first == "rtp":
                phone.info(key, duration_ms=round(seconds * 1000), wait=False)
            if key != "9":
                phone.serve(0.1)
                assert not phone.ended_by_far_end, "one press was counted twice"
        phone.wait_for_end()
    assert walked(house, phone) == keys("369")


@pytest.mark.parametrize("how", ["rfc4733", "inband"])
def test_the_same_key_twice_with_a_short_gap_is_two_presses(house: Daemon, how: str) -> None:
    with Phone(house.address) as phone:
        assert phone.call(EVERY_KEY).status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        if how == "rfc4733":
            phone.rtp.press("1", on=0.1, off=0.1)
            phone.rtp.press("1", on=0.1, off=0.1)
        else:
            phone.rtp.say(sound.dtmf("11", 0.1, 0.1))
        phone.serve(1.0)
        assert not phone.ended_by_far_end
        phone.hangup()
    assert walked(house, phone) == keys("11")


def test_keys_by_info_alone(house: Daemon) -> None:
    with Phone(house.address) as phone:
        assert phone.call(EVERY_KEY).status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        for key in "4*":
            phone.info(key)
            phone.serve(0.2)
        phone.info("#", wait=False)  # the flow may say BYE before we see the 200
        phone.wait_for_end()
    assert walked(house, phone) == keys("4*#")


def test_type_ahead_before_the_first_prompt(house: Daemon) -> None:
    """Three keys at once, right after the answer: no prompt on the way needs to be heard."""
    with Phone(house.address) as phone:
        assert phone.call(EVERY_KEY).status == 200
        for key in "159":
            phone.rtp.press(key, on=0.06, off=0.06)
        phone.rtp.wait_for_sound(TWO_HZ, 4)
        phone.wait_for_end()
    assert walked(house, phone) == keys("159")


@pytest.mark.parametrize("pattern", ["..x", "2", "r..", "x2r."])
def test_lost_doubled_and_reordered_packets(house: Daemon, pattern: str) -> None:
    with Phone(house.address, rtp_out=pattern) as phone:
        assert phone.call(EVERY_KEY).status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        for key in "357":
            phone.rtp.press(key, on=0.12, off=0.2)
        phone.wait_for_end()
    assert walked(house, phone) == keys("357")


def test_ssrc_changes_in_the_middle(house: Daemon) -> None:
    with Phone(house.address) as phone:
        assert phone.call(EVERY_KEY).status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        phone.rtp.press("6", off=0.3)
        phone.rtp.drained()
        phone.rtp.change_ssrc()
        phone.rtp.press("6", off=0.3)
        phone.rtp.press("2", off=0.1)
        phone.wait_for_end()
    assert walked(house, phone) == keys("662")


def test_alaw_callers_are_heard_and_answered_in_alaw(house: Daemon) -> None:
    with Phone(house.address, codecs=(8,)) as phone:
        assert phone.call(EVERY_KEY).status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        assert {packet.payload_type for packet in phone.rtp.packets} == {8}
        phone.rtp.say(sound.dtmf("5", 0.1, 0.2))
        phone.serve(1.0)
        phone.hangup()
    assert walked(house, phone) == keys("5")


def test_tones_that_are_no_keys_press_nothing(house: Daemon) -> None:
    """Row and column 4 % off, beside a voice's harmonics: outside of what Q.24 lets anyone take for a key."""
    wrong = [(697.0, 1209.0), (852.0, 1477.0)]
    sounds = [sound.tone(row * 1.04, 0.3, -15) + sound.tone(column * 1.04, 0.3, -15) for row, column in wrong]
    sounds.append(sound.tone(180, 0.5, -20) + sound.tone(360, 0.5, -20) + sound.tone(697, 0.5, -20))
    with Phone(house.address) as phone:
        assert phone.call(EVERY_KEY).status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        for samples in sounds:
            phone.rtp.say(samples)
            phone.rtp.say(sound.silence(0.1))
        phone.rtp.drained()
        phone.serve(0.3)
        phone.hangup()
    assert walked(house, phone) == ""

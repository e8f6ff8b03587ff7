"""The kit against itself and against its peers, so that a red test means the daemon."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from kit import sipp, sound
from kit.baresip import Baresip
from kit.hooks import HookServer
from kit.phone import Phone
from kit.ports import PORTS, free_port, free_range
from kit.rtp import Pattern


def test_g711_round_trip_is_within_its_quantisation() -> None:
    samples = sound.tone(1000, 0.5, -10) + sound.noise(0.5, -40)
    for encode, decode in ((sound.to_ulaw, sound.from_ulaw), (sound.to_alaw, sound.from_alaw)):
        error = decode(encode(samples)) - samples
        assert sound.level(error) < sound.level(samples) - 34
    codes = bytes(range(256))
    assert sound.to_alaw(sound.from_alaw(codes) * 32768 / 32767) == codes


def test_tones_are_found_where_they_are() -> None:
    samples = np.concatenate([sound.silence(0.3), sound.tone(440, 0.5), sound.silence(0.4), sound.tone(1050, 0.2)])
    assert sound.find_tone(samples, 440) == [pytest.approx((0.3, 0.8), abs=0.03)]
    assert sound.find_tone(samples, 1050) == [pytest.approx((1.2, 1.4), abs=0.03)]
    assert sound.find_tone(samples, 700) == []
    at, how_much = sound.lag(sound.tone(440, 0.5), samples)
    assert at == pytest.approx(0.3, abs=0.002)
    assert how_much > 0.95


def test_dtmf_has_its_two_tones() -> None:
    samples = sound.dtmf("5", 0.1, 0)
    assert sound.power_at(samples, 770) == pytest.approx(-12, abs=1)
    assert sound.power_at(samples, 1336) == pytest.approx(-12, abs=1)
    assert sound.power_at(samples, 941) < -25


def test_patterns_lose_double_and_reorder() -> None:
    def through(letters: str) -> bytes:
        pattern = Pattern(letters)
        return b"".join(part for data in (b"a", b"b", b"c", b"d") for part in pattern.apply(data))

    assert through(".") == b"abcd"
    assert through(".x") == b"ac"
    assert through("2.") == b"aabccd"
    assert through("r.") == b"badc"


def test_hook_server_is_there_goes_away_and_comes_back(hooks: HookServer) -> None:
    own = HookServer().start()
    urllib.request.urlopen(own.url("/a?e=open&x=1"), timeout=5).read()
    assert own.wait_for("open", "/a") == [{"e": "open", "x": "1"}]
    own.stop()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(own.url(), timeout=5)
    own.status = 500
    own.start()
    with pytest.raises(urllib.error.HTTPError, match="500"):
        urllib.request.urlopen(own.url("/b?e=close"), timeout=5)
    assert own.kinds("/b") == ["close"]
    own.stop()


@pytest.mark.peer("sipp")
def test_phone_against_sipp(tmp_path: Path) -> None:
    uas = sipp.start("uas_echo", tmp_path, arguments=["-rtp_echo"])
    with Phone(("127.0.0.1", uas.port)) as phone:
        assert phone.call("1000").status == 200
        phone.rtp.say(sound.tone(1000, 0.3), "tone")
        at = phone.rtp.wait_for_sound(1000, 3)
        assert 0 <= at - phone.rtp.sent_at["tone"] < 0.1
    uas.finish(10)


@pytest.mark.peer("sipp")
def test_sipp_against_sipp(tmp_path: Path) -> None:
    uas = sipp.start("uas_echo", tmp_path / "uas")
    uac = sipp.start("uac_hangup", tmp_path / "uac", server=("127.0.0.1", uas.port), fill={"TALK_MS": "300"})
    uac.finish(10)
    uas.finish(10)


@pytest.mark.peer("sipp")
def test_a_failed_scenario_fails_the_test(tmp_path: Path) -> None:
    registrar = sipp.start("registrar", tmp_path, fill={"EXPIRES": "60", "REFRESH_MS": "1000"})
    with Phone(("127.0.0.1", registrar.port)) as phone:
        phone.start_invite("1000")  # it wants a REGISTER
        with pytest.raises(AssertionError, match="SIPp left with 1"):
            registrar.finish(10)


@pytest.mark.peer("baresip", "sipp")
def test_baresip_calls_and_hangs_up(tmp_path: Path) -> None:
    uas = sipp.start("uas_echo", tmp_path / "uas")
    with Baresip(tmp_path / "baresip", audio=sound.tone(700, 2)) as softphone:
        softphone.dial(f"sip:1000@127.0.0.1:{uas.port}")
        softphone.wait_event("CALL_ESTABLISHED")
        softphone.hangup()
        softphone.wait_event("CALL_CLOSED")
    uas.finish(10)


def test_ports_are_not_given_twice_in_a_while_and_never_run_out() -> None:
    given = [port for first in (free_port(following=1) for _ in range(200)) for port in (first, first + 1)]
    low, high = free_range(40)
    assert len(set(given)) == len(given)
    assert not set(given) & set(range(low, high + 1))
    for _ in range(60):
        free_port()
        low, high = free_range(410)
        assert low % 2 == 0
        assert high - low == 409
        assert PORTS[0] <= low < high < PORTS[1]

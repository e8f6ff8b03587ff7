"""Calls in G.722 and L16 from end to end: a tone above the telephone band proves what is wide."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from kit import sound
from kit.baresip import Baresip
from kit.daemon import Daemon
from kit.phone import Phone
from kit.sound import Samples

WIDE = 16000
WIDE_HZ, ONE_HZ, CALLER_HZ = 5000.0, 1050.0, 1000.0


def tone(hertz: float, seconds: float, rate: int = WIDE, amplitude: float = 0.1) -> Samples:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def amplitude(samples: Samples, hertz: float, rate: int = WIDE) -> float:
    return float(2 * abs(np.mean(samples * np.exp(-2j * np.pi * hertz * np.arange(len(samples)) / rate))))


def share_of(samples: Samples, hertz: float, rate: int = WIDE) -> float:
    """Part of the loudest second that is at ``hertz``."""
    power = np.convolve(samples**2, np.ones(rate), "valid")
    loudest = samples[int(power.argmax()) :][:rate]
    return float(amplitude(loudest, hertz, rate) ** 2 / 2 / np.mean(loudest**2))


@pytest.fixture
def wide_house(daemon_for: Callable[..., Daemon], tmp_path: Path) -> Daemon:
    """A prompt at 5 kHz; key 1 leads to one at 1050 Hz, which ends the call."""
    prompts = {name: tmp_path / f"{name}.wav" for name in ("wide", "one")}
    sound.write_wav(prompts["wide"], tone(WIDE_HZ, 2.0), rate=WIDE)
    sound.write_wav(prompts["one"], tone(ONE_HZ, 0.8), rate=WIDE)
    tree = {"_": str(prompts["wide"]), "key:1": str(prompts["one"])}
    return daemon_for({"1": tree}, record=["1"], settings={"calls": {"listen": 8.0, "repeats": 0}})


def g722(samples: Samples) -> list[bytes]:
    """FFmpeg's G.722, a payload for every 20 ms."""
    context = av.CodecContext.create("g722", "w")
    context.sample_rate, context.layout, context.format = WIDE, "mono", "s16"
    frames = np.round(samples * 32767).astype(np.int16)[: len(samples) // 320 * 320].reshape(-1, 1, 320)
    payloads = []
    for each in frames:
        frame = av.AudioFrame.from_ndarray(each, format="s16", layout="mono")
        frame.sample_rate = WIDE
        payloads += [bytes(packet) for packet in context.encode(frame)]
    return payloads


def from_g722(payloads: list[bytes]) -> Samples:
    context = av.CodecContext.create("g722", "r")
    context.sample_rate, context.layout = WIDE, "mono"
    frames = [frame for payload in payloads for frame in context.decode(av.Packet(payload))]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]) / 32768


def key(name: str, rate: int) -> Samples:
    low, high = sound.DTMF[name]
    return tone(low, 0.12, rate, 0.15) + tone(high, 0.12, rate, 0.15)


def test_g722_over_the_wire(wide_house: Daemon) -> None:
    said = np.concatenate([tone(CALLER_HZ, 2.6), np.zeros(WIDE // 5), key("1", WIDE), np.zeros(2 * WIDE)])
    with Phone(wide_house.address, codecs=(9, 0)) as phone:
        phone.rtp.idle = False
        phone.rtp.send_payloads(9, g722(said))
        answer = phone.call("1")
        assert answer.status == 200
        assert "RTP/AVP 9 101\r\n" in answer.body
        assert "a=rtpmap:9 G722/8000\r\n" in answer.body
        phone.wait_for_end()
        packets = list(phone.rtp.packets)
    assert {(packet.payload_type, len(packet.payload)) for packet in packets} == {(9, 160)}
    heard = from_g722([packet.payload for packet in packets])
    assert share_of(heard[: 2 * WIDE], WIDE_HZ) > 0.95
    assert amplitude(heard[WIDE // 2 : WIDE * 3 // 2], WIDE_HZ) == pytest.approx(0.1, rel=0.1)
    assert share_of(heard[-WIDE:], ONE_HZ) > 0.5
    row = wide_house.closing(phone.call_id)
    assert row["path"] == "key%3A1"
    check_recording(wide_house.recording(wide_house.calls_to("1")[-1]))


def check_recording(path: Path) -> None:
    """Narrow, the caller on the left, the prompt of the leaf on the right, nothing of 5 kHz folded down to 3."""
    rate, (left, right) = sound.read_wav(path)
    assert rate == 8000
    assert sound.find_tone(left, CALLER_HZ)
    assert sound.find_tone(right, ONE_HZ)
    assert not sound.find_tone(right, 3000.0, above=-60.0)


def test_l16_over_the_wire(wide_house: Daemon) -> None:
    said = np.concatenate([tone(CALLER_HZ, 2.6, 8000), np.zeros(1600), key("1", 8000), np.zeros(16000)])
    octets = np.round(said * 32767).astype(">i2").tobytes()
    with Phone(wide_house.address, codecs=(107, 0)) as phone:
        phone.rtp.idle = False
        phone.rtp.send_payloads(107, [octets[at : at + 320] for at in range(0, len(octets), 320)])
        answer = phone.call("1", offer=phone.offer("a=rtpmap:107 L16/8000\r\n"))
        assert answer.status == 200
        assert "RTP/AVP 107 101\r\n" in answer.body
        phone.wait_for_end()
        packets = [packet for packet in phone.rtp.packets if packet.payload_type == 107]
    assert {len(packet.payload) for packet in packets} == {320}
    heard = np.concatenate([np.frombuffer(packet.payload, ">i2") for packet in packets]) / 32768
    assert share_of(heard[-8000:], ONE_HZ, 8000) > 0.5
    assert wide_house.closing(phone.call_id)["path"] == "key%3A1"
    check_recording(wide_house.recording(wide_house.calls_to("1")[-1]))


def test_g711_callers_hear_the_same_prompts(wide_house: Daemon) -> None:
    with Phone(wide_house.address) as phone:
        assert phone.call("1").status == 200
        phone.serve(2.5)
        phone.rtp.press("1")
        phone.rtp.wait_for_sound(ONE_HZ)
        phone.wait_for_end()


def test_what_is_not_allowed_is_not_taken(daemon_for: Callable[..., Daemon]) -> None:
    daemon = daemon_for({"1": "brief.wav"}, settings={"rtp": {"codecs": ["PCMA"]}})
    with Phone(daemon.address, codecs=(9, 0, 8)) as phone:
        assert "RTP/AVP 8 101\r\n" in phone.call("1").body
    with Phone(daemon.address, codecs=(9, 0)) as phone:
        assert phone.call("1").status == 488


@pytest.mark.peer("baresip")
def test_baresip_hears_wideband(wide_house: Daemon, tmp_path: Path) -> None:
    with Baresip(tmp_path / "baresip", audio=tone(CALLER_HZ, 20), wide=True) as softphone:
        softphone.dial(wide_house.uri("1"))
        softphone.wait_event("CALL_ESTABLISHED")
        time.sleep(2.5)  # a caller who hears the prompt out
        softphone.press("1")
        softphone.wait_event("CALL_CLOSED", patience=20)
    rate, heard = softphone.heard()
    assert rate == WIDE
    assert share_of(heard, WIDE_HZ) > 0.9
    left = sound.read_wav(wide_house.recording(wide_house.calls_to("1")[-1]))[1][0]
    assert sound.find_tone(left, CALLER_HZ)

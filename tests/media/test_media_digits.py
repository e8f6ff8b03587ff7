"""Keys on streams: heard as events and as tones, and pressed."""

import itertools
import struct

import numpy as np
import pytest
from media_studio import Phone, Studio, headers, sounds, tone_power

from media import commands, reports, rtp
from media.dtmf import tones
from media.g711 import Law
from media.rates import FRAME


def test_keys_by_events_without_marker(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    studio.talk(phone, np.zeros(5 * FRAME))
    for digit in (1, 1, 10):
        stamp = phone.timestamp
        for n in range(5):
            phone.raw(phone.event(digit, FRAME * (n + 1), stamp))
            studio.run(0.02)
        for _ in range(3):
            phone.raw(phone.event(digit, FRAME * 5, stamp, end=True))
        phone.timestamp += FRAME * 5
        studio.talk(phone, np.zeros(5 * FRAME))
    digits = studio.reports(reports.DigitHeard)
    assert [(d.digit, d.method) for d in digits] == [("1", "rfc4733"), ("1", "rfc4733"), ("*", "rfc4733")]
    assert studio.drop().lost == 0


def test_events_before_any_sound_and_from_another_source(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    phone.raw(phone.event(3, FRAME, phone.timestamp))
    studio.run(0.02)
    phone.ssrc = 99
    phone.raw(phone.event(4, FRAME, phone.timestamp + 4000))
    studio.run(0.02)
    assert [d.digit for d in studio.reports(reports.DigitHeard)] == ["3", "4"]


def test_events_that_were_not_agreed_on_are_not_keys(studio: Studio, phone: Phone) -> None:
    studio.connect(phone, event_type=-1)
    phone.raw(phone.event(3, FRAME, phone.timestamp))
    studio.run(0.1)
    studio.connect(phone, 2, event_type=96)
    phone.raw(phone.event(3, FRAME, phone.timestamp))
    phone.raw(phone.event(4, FRAME, phone.timestamp, payload_type=96))
    studio.run(0.1)
    assert [(d.stream, d.digit) for d in studio.reports(reports.DigitHeard)] == [(2, "4")]


@pytest.mark.parametrize("law", list(Law))
def test_keys_by_tone(studio: Studio, phone: Phone, law: Law) -> None:
    phone.law = law
    studio.connect(phone)
    studio.talk(phone, np.concatenate([np.zeros(1600), tones("11*0", 80, 100), np.zeros(800)]))
    assert [(d.digit, d.method) for d in studio.reports(reports.DigitHeard)] == [(digit, "inband") for digit in "11*0"]


def test_keys_do_not_show_as_jitter(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    studio.talk(phone, np.zeros(20 * FRAME))
    for _ in range(5):
        stamp = phone.timestamp
        for n in range(20):
            phone.raw(phone.event(1, FRAME * (n + 1), stamp, end=n == 19))
            studio.run(0.02)
        phone.timestamp += 20 * FRAME
        studio.talk(phone, np.zeros(20 * FRAME))
    assert studio.drop().jitter_ms < 0.1


@pytest.mark.parametrize("method", ["rfc4733", "inband"])
def test_keys_pressed_by_one_stream_are_heard_by_another(studio: Studio, method: str) -> None:
    """Two streams of the plane talk to each other."""
    studio.do(commands.Open(1, "127.0.0.1"), commands.Open(2, "127.0.0.1"))
    one, two = (report.port for report in studio.reports(reports.Opened))
    studio.do(commands.Direct(1, "127.0.0.1", two, 0, 0, 101), commands.Direct(2, "127.0.0.1", one, 0, 0, 101))
    studio.open |= {1, 2}
    studio.run(0.1)
    studio.do(commands.SendDigits(1, "15A#", method=method))
    studio.run(1.2)
    heard = studio.reports(reports.DigitHeard)
    assert [(d.stream, d.digit, d.method) for d in heard] == [(2, digit, method) for digit in "15A#"]
    times = [d.at for d in heard]
    assert np.diff(times) == pytest.approx(0.2, abs=0.021)
    studio.run(0.3)
    for stream in (1, 2):
        studio.do(commands.Drop(stream))
    studio.open.clear()
    assert [closed.stats.lost for closed in studio.reports(reports.Closed)] == [0, 0]


def test_keys_sent_on_the_wire(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    studio.run(0.1)
    phone.take()
    studio.do(commands.SendDigits(1, "7", on_ms=100, off_ms=60))
    studio.run(0.3)
    packets = headers(phone.take())
    events = [packet for packet in packets if packet.payload_type == 101]
    assert [struct.unpack("!BBH", p.payload)[2] for p in events] == [160, 320, 480, 640, 800, 800, 800]
    assert [bool(p.payload[1] & 0x80) for p in events] == [False] * 4 + [True] * 3
    assert [p.marker for p in events] == [True] + [False] * 6
    assert len({p.timestamp for p in events}) == 1
    assert all(rtp.sequence_delta(b.sequence, a.sequence) == 1 for a, b in itertools.pairwise(packets))
    after = packets[packets.index(events[-1]) + 1]
    assert rtp.timestamp_delta(after.timestamp, events[0].timestamp) == 800


def test_keys_fall_back_to_tones_when_events_were_not_agreed_on(studio: Studio, phone: Phone) -> None:
    studio.connect(phone, event_type=-1)
    studio.do(commands.SendDigits(1, "5", on_ms=100))
    studio.run(0.2)
    sound = sounds(phone.take())
    loud = sound[np.abs(sound) > 0]
    assert len(loud) > 700
    assert tone_power(sound[: 5 * FRAME], 770) > 2000

"""The life of streams: opened, dropped, forgotten by their slot."""

import numpy as np
from media_studio import Phone, Studio, Tone, sine, sounds

from media import commands, reports
from media.dtmf import tones


def test_open_and_drop(studio: Studio, phone: Phone) -> None:
    port = studio.connect(phone)
    assert port % 2 == 0
    studio.do(commands.Open(1, "127.0.0.1"))
    assert studio.last(reports.OpenFailed).reason == "stream is open"
    for local in ("nonsense", "203.0.113.7"):
        studio.do(commands.Open(2, local))
        assert studio.last(reports.OpenFailed).stream == 2
    studio.do(commands.Drop(1), commands.Drop(1), commands.Drop(99))
    studio.open.clear()
    assert len(studio.reports(reports.Closed)) == 1
    ports = set()
    for number in range(32):
        studio.do(commands.Open(100 + number, "127.0.0.1"))
        ports.add(studio.last(reports.Opened).port)
    assert len(ports) == 32
    assert port not in ports
    studio.do(commands.Open(200, "127.0.0.1"))
    assert studio.last(reports.OpenFailed).reason == "no room for more streams"
    for number in range(32):
        studio.do(commands.Drop(100 + number))
    assert studio.plane.idle


def test_a_slot_forgets_its_last_stream(studio: Studio, phone: Phone, tone: Tone) -> None:
    studio.connect(phone)
    studio.do(commands.Activity(1, True), commands.Play(1, 1, [tone(440)]), commands.SendDigits(1, "123"))
    studio.talk(phone, sine(300, 0.5))
    studio.do(commands.Drop(1))
    studio.heard.clear()
    other = Phone()
    studio.connect(other, 2)
    studio.talk(other, np.zeros(1600))
    studio.run(0.3)
    assert [r for r in studio.heard if isinstance(r, reports.DigitHeard | reports.SpeechStarted)] == []
    assert np.abs(sounds(other.take())).max() == 0
    stats = studio.drop(2)
    assert (stats.received, stats.lost, stats.late) == (10, 0, 0)
    other.close()


def test_ipv6(studio: Studio) -> None:
    phone = Phone("::1")
    studio.connect(phone)
    assert studio.talk(phone, tones("5", 100, 100))
    assert studio.last(reports.DigitHeard).digit == "5"
    phone.close()


def test_commands_for_streams_that_are_gone(studio: Studio) -> None:
    studio.do(
        commands.Direct(9, "127.0.0.1", 4000, 4001, 0),
        commands.Stop(9),
        commands.Hear(9, 1, ["yes"]),
        commands.Activity(9, True),
        commands.SendDigits(9, "1"),
        commands.StopRecord(9, 1),
        commands.RtpTimeout(9, 1.0),
        commands.Drop(9),
    )
    assert studio.heard == []


def test_what_has_an_end_ends_at_once_when_its_stream_is_gone(studio: Studio) -> None:
    studio.do(
        commands.Play(9, 4, ["prompt.wav"]),
        commands.Record(9, 5, "recording.wav"),
        commands.Capture(9, "capture.rtp", "call", 1000),
    )
    played, recorded, captured = studio.heard
    assert played == reports.PlayEnded(9, 4, studio.now, False, "no such stream")
    assert recorded == reports.Recorded(9, 5, "recording.wav", 0.0, 0, "no such stream", "failed")
    assert captured == reports.Captured(9, "call", 0, "failed", "no such stream")

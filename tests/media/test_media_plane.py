"""The plane over loopback sockets, under virtual time."""

import errno
import itertools
import socket
import struct

import numpy as np
import pytest
from aiortc.rtp import RtcpByePacket, RtcpPacket, RtcpReceiverInfo, RtcpRrPacket, RtcpSrPacket
from hypothesis import given, settings
from hypothesis import strategies as st
from media_studio import Phone, Studio, Tone, rms, samples_of, sine, tone_power, write_wav

from media import commands, reports, rtp
from media.dtmf import tones
from media.g711 import Law
from media.rates import FRAME

SILENCE = np.zeros(FRAME)


def headers(packets: list[bytes]) -> list[rtp.Packet]:
    return [rtp.parse(packet) for packet in packets]


def sounds(packets: list[bytes], law: Law = Law.PCMU) -> np.ndarray:
    return np.concatenate([samples_of(packet, law) for packet in packets]) if packets else np.zeros(0)


def assert_continuous(packets: list[bytes], samples: int = FRAME) -> None:
    parsed = headers(packets)
    for one, two in itertools.pairwise(parsed):
        assert rtp.sequence_delta(two.sequence, one.sequence) == 1
        assert rtp.timestamp_delta(two.timestamp, one.timestamp) == samples
        assert two.ssrc == one.ssrc


# --- sending ----------------------------------------------------------------------------


@pytest.mark.parametrize("law", list(Law))
def test_sends_silence_then_the_prompt_then_silence(studio: Studio, phone: Phone, tone: Tone, law: Law) -> None:
    phone.law = law
    studio.connect(phone)
    studio.run(0.1)
    studio.do(commands.Play(1, 9, [tone(440, 0.3), tone(880, 0.2)]))
    studio.run(0.7)
    packets = phone.take()
    assert_continuous(packets)
    assert [packet.marker for packet in headers(packets)] == [True] + [False] * (len(packets) - 1)
    assert {packet.payload_type for packet in headers(packets)} == {int(law)}
    sound = sounds(packets, law)
    loud = np.flatnonzero(np.abs(sound) > 100)
    prompt = sound[loud[0] : loud[-1] + 1]
    assert len(prompt) == pytest.approx(4000, abs=4)
    assert tone_power(prompt[400:2000], 440) == pytest.approx(8000, rel=0.02)
    assert tone_power(prompt[2400:4000], 880) == pytest.approx(8000, rel=0.02)
    ended = studio.reports(reports.PlayEnded)
    assert [(e.play, e.complete, e.reason) for e in ended] == [(9, True, "")]


def test_starts_when_told_to_the_frame(studio: Studio, phone: Phone, tone: Tone) -> None:
    for offset in (0.100, 0.107, 0.113):
        studio.connect(phone)
        start = studio.now + offset
        studio.do(commands.Play(1, 1, [tone(440)], start_at=start))
        began = None
        while began is None:
            studio.tick()
            if any(rms(samples_of(packet)) > 1000 for packet in phone.take()):
                began = studio.now - 0.005
        assert abs(began - start) <= 0.0101
        studio.do(commands.Drop(1))
        studio.open.clear()


def test_stop_fades_within_five_milliseconds_of_the_next_frame(studio: Studio, phone: Phone, tone: Tone) -> None:
    studio.connect(phone)
    studio.do(commands.Play(1, 1, [tone(440, 3)]))
    studio.run(0.5)
    phone.take()
    studio.do(commands.Stop(1))
    studio.run(0.2)
    sound = sounds(phone.take())
    audible = np.flatnonzero(np.abs(sound) > 40)
    assert audible[-1] < 40
    assert np.abs(np.diff(sound[:200])).max() < 8000 * 2 * np.pi * 440 / 8000 * 1.3  # no click
    ended = studio.last(reports.PlayEnded)
    assert (ended.play, ended.complete, ended.reason) == (1, False, "stopped")
    studio.do(commands.Stop(1))
    studio.run(0.1)
    assert len(studio.reports(reports.PlayEnded)) == 1


def test_a_new_play_replaces_the_old_one(studio: Studio, phone: Phone, tone: Tone) -> None:
    studio.connect(phone)
    studio.do(commands.Play(1, 1, [tone(440, 3)]))
    studio.run(0.1)
    studio.do(commands.Play(1, 2, [tone(880, 0.2)]), commands.Play(1, 3, [tone(1000, 0.2)]))
    studio.run(0.5)
    ended = [(e.play, e.complete, e.reason) for e in studio.reports(reports.PlayEnded)]
    assert sorted(ended) == [(1, False, "replaced"), (2, False, "replaced"), (3, True, "")]
    assert tone_power(sounds(phone.take()[-20:-14]), 1000) > 1000


def test_every_play_ends_exactly_once(studio: Studio, phone: Phone, tone: Tone, tmp_path) -> None:
    text = tmp_path / "not-a.wav"
    text.write_text("hello")
    stereo = write_wav(tmp_path / "stereo.wav", np.zeros(100), channels=2)
    other = write_wav(tmp_path / "other.wav", np.zeros(100), rate=22050)
    empty = write_wav(tmp_path / "empty.wav", np.zeros(0))
    studio.connect(phone)
    plays = [
        [str(text)],
        [stereo],
        [other],
        [str(tmp_path)],
        [str(tmp_path / "none.wav")],
        [],
        [empty],
        [empty, tone(440, 0.04)],
    ]
    for number, files in enumerate(plays):
        studio.do(commands.Play(1, number, files))
        studio.run(0.2)
    studio.do(commands.Play(1, 100, [empty], loop=True))
    studio.run(0.1)
    studio.do(commands.Play(1, 101, [tone(440, 0.04)], loop=True))
    studio.run(0.3)
    studio.do(commands.Drop(1), commands.Play(1, 102, [tone(440)]))
    studio.open.clear()
    ended = {e.play: (e.complete, e.reason) for e in studio.reports(reports.PlayEnded)}
    assert len(studio.reports(reports.PlayEnded)) == len(ended) == len(plays) + 3
    assert all(not ended[n][0] and ended[n][1] for n in range(5))
    assert "22050 Hz" in ended[2][1]
    assert [ended[n] for n in (5, 6, 7, 100)] == [(True, "")] * 4
    assert [ended[n] for n in (101, 102)] == [(False, "closed"), (False, "no such stream")]


def test_a_loop_goes_on_without_a_gap(studio: Studio, phone: Phone, tone: Tone) -> None:
    studio.connect(phone)
    studio.do(commands.Play(1, 1, [tone(500, 0.04)], loop=True))
    studio.run(0.5)
    packets = phone.take()
    assert all(rms(samples_of(packet)) > 1000 for packet in packets[1:])


@pytest.mark.parametrize("ptime", [10, 20, 30, 40, 60])
def test_packet_times(studio: Studio, phone: Phone, tone: Tone, ptime: int) -> None:
    studio.connect(phone, ptime=ptime)
    studio.do(commands.Play(1, 1, [tone(440, 2)]))
    arrivals: list[float] = []
    packets: list[bytes] = []

    def listen() -> None:
        for packet in phone.take():
            arrivals.append(studio.now)
            packets.append(packet)

    studio.each_tick = listen
    studio.run(1.2)
    assert_continuous(packets, 8 * ptime)
    assert {len(packet) for packet in packets} == {12 + 8 * ptime}
    assert np.diff(arrivals) == pytest.approx(ptime / 1000, abs=1e-6)
    assert tone_power(sounds(packets)[1600:8000], 440) == pytest.approx(8000, rel=0.02)


def test_streams_are_spread_over_phases_and_ticks_are_even(studio: Studio) -> None:
    phones = [Phone() for _ in range(8)]
    for number, phone in enumerate(phones):
        studio.connect(phone, number)
    studio.run(0.1)
    per_tick = []
    for phone in phones:
        phone.take()
    studio.each_tick = lambda: per_tick.append([bool(phone.take()) for phone in phones])
    studio.run(0.2)
    assert {sum(row) for row in per_tick} == {2}
    for column in zip(*per_tick, strict=True):
        assert np.diff(np.flatnonzero(column)).tolist() == [4] * 9
    for phone in phones:
        phone.close()


def test_time_that_the_process_missed_shows_in_the_timestamps(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    studio.run(0.1)
    before = headers(phone.take())[-1]
    studio.now += 0.5
    studio.tick(skipped=25)
    studio.run(0.02)
    after = headers(phone.take())[0]
    assert rtp.timestamp_delta(after.timestamp, before.timestamp) == 26 * FRAME
    assert (after.sequence - before.sequence) & 0xFFFF == 1
    assert after.marker


def test_hold_stops_sending_and_the_prompt_goes_on_unheard(studio: Studio, phone: Phone, tone: Tone) -> None:
    studio.connect(phone)
    studio.do(commands.Play(1, 1, [tone(440, 0.3)]))
    studio.run(0.1)
    before = headers(phone.take())[-1]
    studio.direct(phone, send=False)
    studio.run(0.4)
    assert phone.take() == []
    assert studio.last(reports.PlayEnded).complete
    studio.direct(phone)
    studio.run(0.1)
    after = headers(phone.take())[0]
    assert after.marker
    assert rtp.timestamp_delta(after.timestamp, before.timestamp) == 21 * FRAME


@pytest.mark.parametrize("ptime", [10, 30, 40, 60])
def test_the_clock_of_other_packet_times_goes_on_through_hold_and_stalls(
    studio: Studio, phone: Phone, ptime: int
) -> None:
    studio.connect(phone, ptime=ptime)
    behind: list[float] = []

    def listen() -> None:
        behind.extend(studio.now * 8000 - packet.timestamp for packet in headers(phone.take()))

    studio.each_tick = listen
    studio.run(0.5)
    studio.direct(phone, ptime=ptime, send=False)
    studio.run(1.01)
    studio.direct(phone, ptime=ptime)
    studio.run(0.5)
    studio.now += 0.5
    studio.tick(skipped=25)
    studio.run(0.5)
    assert len(behind) >= 3 * 8
    drift = (np.array(behind) - behind[0] + 2**31) % 2**32 - 2**31
    off = np.abs(drift) > max(FRAME, 8 * ptime)
    assert off.sum() <= 1  # a packet that waited between two frames when time stood still
    assert not off[-8:].any()


def test_an_address_that_cannot_be_sent_to(studio: Studio, phone: Phone) -> None:
    for host, port in (("0.0.0.0", 4000), ("example.org", 4000), ("127.0.0.1", 0), ("224.0.0.1", 4000)):
        studio.connect(phone)
        studio.do(commands.Direct(1, host, port, 0, 0))
        studio.run(0.1)
        phone.raw(phone.sound(SILENCE))
        phone.raw(phone.sound(SILENCE))
        phone.take()
        studio.run(0.1)
        assert len(phone.take()) >= 4  # sent to where its packets come from
        studio.do(commands.Drop(1))
        studio.open.clear()


def test_a_peer_that_is_gone_is_no_error(studio: Studio) -> None:
    phone = Phone()
    studio.connect(phone)
    studio.talk(phone, np.zeros(800))
    phone.close()
    studio.run(0.5)
    studio.do(commands.Drop(1))
    studio.open.clear()
    assert studio.last(reports.Closed).stats.received == 5


# --- receiving --------------------------------------------------------------------------


def test_counts_what_comes_in(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    packets = [phone.sound(SILENCE) for _ in range(50)]
    del packets[20]
    packets[10], packets[11] = packets[11], packets[10]
    packets.insert(30, packets[29])
    for packet in packets:
        phone.raw(packet)
        studio.run(0.02)
    phone.raw(b"")
    phone.raw(b"\x80")
    phone.raw(b"x" * 200)
    phone.raw(b"x" * 1700)
    phone.raw(phone.packet(b"other", 97))
    studio.run(0.1)
    studio.do(commands.Drop(1))
    studio.open.clear()
    stats = studio.last(reports.Closed).stats
    assert (stats.received, stats.lost, stats.reordered, stats.duplicated) == (49, 1, 1, 1)
    assert (stats.malformed, stats.foreign) == (5, 0)


def decorated(phone: Phone, sound: np.ndarray, kind: str) -> bytes:
    plain = bytearray(phone.sound(sound))
    if kind == "padding":
        plain[0] |= 0x20
        return bytes(plain) + b"\0\0\0\4"
    if kind == "sources":
        plain[0] |= 2
        return bytes(plain[:12] + bytes(8) + plain[12:])
    plain[0] |= 0x10
    return bytes(plain[:12] + struct.pack("!HH", 0xBEDE, 1) + bytes(4) + plain[12:])


@pytest.mark.parametrize("kind", ["padding", "sources", "extension"])
def test_unusual_packets_are_heard(studio: Studio, phone: Phone, tmp_path, kind: str) -> None:
    studio.connect(phone)
    studio.do(commands.Activity(1, True))
    for n in range(60):
        sound = sine(300, 0.02, 6000) if 20 <= n < 40 else SILENCE
        phone.raw(decorated(phone, sound, kind))
        studio.run(0.02)
    speech = studio.last(reports.SpeechEnded)
    assert speech.at - speech.since == pytest.approx(0.4, abs=0.05)
    assert speech.dbfs == pytest.approx(20 * np.log10(6000 / 32768), abs=1)


def test_latches_once_and_again_only_on_sdp(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    other = Phone()
    other.to, other.ssrc = phone.to, 0x1234
    studio.talk(phone, np.zeros(3 * FRAME))
    studio.talk(other, np.zeros(5 * FRAME))
    assert other.take() == []
    phone.take()
    studio.direct(phone)
    studio.talk(other, np.zeros(5 * FRAME))
    assert other.take() == []
    assert phone.take()
    studio.do(commands.Direct(1, phone.host, phone.port, 0, 0, 101, relatch=True))
    studio.talk(other, np.zeros(5 * FRAME))
    phone.take()
    studio.run(0.1)
    assert len(other.take()) >= 4
    assert phone.take() == []
    studio.do(commands.Drop(1))
    studio.open.clear()
    stats = studio.last(reports.Closed).stats
    assert stats.received == 3 + 4
    other.close()


def test_a_single_stray_packet_does_not_take_over(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    stray = Phone()
    stray.to = phone.to
    stray.raw(stray.sound(SILENCE))
    studio.run(0.1)
    assert phone.take()
    assert stray.take() == []
    studio.talk(phone, np.zeros(3 * FRAME))
    studio.do(commands.Drop(1))
    studio.open.clear()
    stats = studio.last(reports.Closed).stats
    assert (stats.received, stats.foreign) == (3, 1)
    stray.close()


def test_a_stranger_does_not_take_a_call_whose_peer_is_where_sdp_says(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    stranger = Phone()
    stranger.to, stranger.ssrc = phone.to, phone.ssrc
    assert studio.talk(stranger, np.zeros(5 * FRAME))  # it may be the peer behind a NAT: it is answered for now
    studio.talk(phone, np.zeros(5 * FRAME))
    stranger.take()
    studio.talk(stranger, np.zeros(5 * FRAME))
    assert stranger.take() == []
    assert len(studio.talk(phone, np.zeros(5 * FRAME))) >= 5
    studio.do(commands.Drop(1))
    studio.open.clear()
    assert studio.last(reports.Closed).stats.received == 4 + 10
    stranger.close()


def test_a_peer_behind_a_nat_is_answered_at_once_and_latched_in_the_end(studio: Studio, phone: Phone) -> None:
    outside, stranger = Phone(), Phone()
    studio.connect(phone)
    outside.to = stranger.to = phone.to
    stranger.ssrc = outside.ssrc
    assert studio.talk(outside, np.zeros(3 * FRAME))
    for _ in range(100):
        stranger.raw(stranger.sound(SILENCE))  # the same source, not from there: it disturbs nothing
        studio.talk(outside, np.zeros(FRAME))
    assert stranger.take() == []
    phone.take()
    studio.talk(outside, np.zeros(5 * FRAME))
    assert phone.take() == []
    studio.do(commands.Drop(1))
    studio.open.clear()
    stats = studio.last(reports.Closed).stats
    assert 106 <= stats.received <= 107
    assert (stats.lost, stats.duplicated) == (0, 0)
    assert 70 <= stats.foreign <= 80  # then the kernel filters
    for one in (outside, stranger):
        one.close()


def test_after_a_move_the_old_peer_is_left_behind(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    new = Phone()
    new.to = phone.to
    studio.talk(phone, np.zeros(5 * FRAME))
    phone.raw(phone.sound(SILENCE))
    phone.raw(phone.sound(SILENCE))
    studio.direct(new)
    phone.take()
    studio.talk(phone, np.zeros(20 * FRAME))  # still under way
    assert phone.take() == []
    assert len(studio.talk(new, np.zeros(5 * FRAME))) >= 5
    studio.talk(phone, np.zeros(100 * FRAME))
    assert phone.take() == []
    studio.do(commands.Drop(1))
    studio.open.clear()
    assert studio.last(reports.Closed).stats.received == 5 + 5
    new.close()


def test_what_waits_from_the_old_peer_goes_with_it(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    studio.talk(phone, np.zeros(5 * FRAME))
    for _ in range(3):
        phone.raw(phone.sound(SILENCE))
    new = Phone()
    studio.direct(new)
    assert studio.sockets.receive(np.array([0]), anew=True) == 0
    new.close()


def test_a_kernel_that_will_not_let_go_of_a_peer_is_survived(
    studio: Studio, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.connect(phone)
    studio.talk(phone, np.zeros(5 * FRAME))

    def refuse(sock: socket.socket) -> None:
        raise OSError(errno.ENOBUFS, "no buffer space")

    monkeypatch.setattr("media.sockets.disconnect", refuse)
    new = Phone()
    studio.direct(new)
    new.to = phone.to
    studio.run(0.2)
    assert len(new.take()) >= 9
    assert studio.sockets.refused == 1
    new.close()


def test_two_sources_on_one_address_do_not_take_turns(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    other = Phone()
    studio.talk(phone, np.zeros(5 * FRAME))
    for _ in range(50):
        phone.raw(other.sound(SILENCE)[:8] + b"\0\0\0\7" + bytes(FRAME))
        studio.talk(phone, np.zeros(FRAME))
    studio.do(commands.Drop(1))
    studio.open.clear()
    assert studio.last(reports.Closed).stats.received == 5 + 50
    other.close()


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
    studio.do(commands.Drop(1))
    studio.open.clear()
    assert studio.last(reports.Closed).stats.jitter_ms < 0.1


def test_a_new_source_on_the_same_address(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    studio.do(commands.Activity(1, True))
    studio.talk(phone, np.zeros(10 * FRAME))
    phone.ssrc, phone.sequence, phone.timestamp = 77, 5, 123456
    studio.talk(phone, sine(300, 0.4))
    studio.talk(phone, np.zeros(30 * FRAME))
    studio.do(commands.Drop(1))
    studio.open.clear()
    stats = studio.last(reports.Closed).stats
    assert (stats.received, stats.lost) == (10 + 20 + 30 - 1, 0)
    speech = studio.last(reports.SpeechEnded)
    assert speech.at - speech.since == pytest.approx(0.4, abs=0.05)


def test_loss_of_the_network_is_told_once_and_not_on_hold(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    studio.do(commands.RtpTimeout(1, 2.0))
    studio.talk(phone, np.zeros(50 * FRAME))
    studio.run(1.9)
    assert studio.reports(reports.RtpLost) == []
    studio.run(0.2)
    (lost,) = studio.reports(reports.RtpLost)
    assert lost.seconds == pytest.approx(2.0, abs=0.05)
    studio.run(5)
    assert len(studio.reports(reports.RtpLost)) == 1
    studio.direct(phone, receive=False)
    studio.run(5)
    studio.direct(phone)
    studio.run(1.9)
    assert len(studio.reports(reports.RtpLost)) == 1
    studio.run(0.2)
    assert len(studio.reports(reports.RtpLost)) == 2


# --- keys -------------------------------------------------------------------------------


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
    studio.do(commands.Drop(1))
    studio.open.clear()
    assert studio.last(reports.Closed).stats.lost == 0


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


# --- RTCP -------------------------------------------------------------------------------


def test_reports_go_both_ways(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    packets = []
    for n in range(500):
        if n % 10:
            phone.raw(phone.sound(SILENCE))
        else:
            phone.sound(SILENCE)
        studio.run(0.02)
        packets += phone.take_control()
    assert 1 <= len(packets) <= 4
    report = RtcpPacket.parse(packets[-1])[0]
    assert isinstance(report, RtcpSrPacket)
    assert report.sender_info.packet_count <= 500
    assert report.reports[0].ssrc == phone.ssrc
    assert report.reports[0].fraction_lost == pytest.approx(25, abs=6)
    info = RtcpReceiverInfo(
        ssrc=report.ssrc,
        fraction_lost=0,
        packets_lost=7,
        highest_sequence=1,
        jitter=16,
        lsr=(report.sender_info.ntp_timestamp >> 16) & 0xFFFFFFFF,
        dlsr=0,
    )
    phone.control.sendto(bytes(RtcpRrPacket(ssrc=phone.ssrc, reports=[info])), ("127.0.0.1", phone.to + 1))
    phone.control.sendto(b"junk", ("127.0.0.1", phone.to + 1))
    studio.run(0.1)
    phone.take_control()
    studio.do(commands.Drop(1))
    studio.open.clear()
    stats = studio.last(reports.Closed).stats
    assert (stats.remote_lost, stats.remote_jitter_ms, stats.malformed) == (7, 2.0, 1)
    assert 0 <= stats.round_trip_ms < 8000
    (last,) = phone.take_control()
    assert any(isinstance(packet, RtcpByePacket) for packet in RtcpPacket.parse(last))


# --- streams ----------------------------------------------------------------------------


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
    studio.do(commands.Drop(2))
    studio.open.clear()
    stats = studio.last(reports.Closed).stats
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


def test_a_flood_on_one_port_starves_nobody(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    quiet = Phone()
    studio.connect(quiet, 2)
    for _ in range(300):
        phone.raw(b"\x80" + bytes(171))
    studio.talk(quiet, np.zeros(10 * FRAME))
    studio.do(commands.Drop(1), commands.Drop(2))
    studio.open.clear()
    assert studio.last(reports.Closed).stats.received == 10
    quiet.close()


Datagram = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda first, second, rest: bytes([first, second]) + rest,
        st.sampled_from([0x80, 0x90, 0xA0, 0x81, 0xBF]),
        st.sampled_from([0, 0x80, 13, 101, 0xE5, 8, 200, 201, 202, 203, 205]),
        st.binary(max_size=700),
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["peer", "stranger", "control"]), Datagram), max_size=30))
def test_no_datagram_breaks_the_plane(datagrams: list[tuple[str, bytes]]) -> None:
    studio, peer, quiet, stranger = Studio(), Phone(), Phone(), Phone()
    studio.connect(peer)
    studio.connect(quiet, 2)
    stranger.to = peer.to
    studio.do(commands.Activity(1, True), commands.Hear(1, 1, ["yes"]))
    studio.talk(quiet, np.zeros(2 * FRAME))
    for origin, data in datagrams:
        if origin == "control":
            peer.control.sendto(data, ("127.0.0.1", peer.to + 1))
        else:
            (peer if origin == "peer" else stranger).raw(data)
        studio.talk(quiet, np.zeros(FRAME))
    studio.run(0.1)
    studio.do(commands.Drop(1), commands.Drop(2))
    stats = studio.last(reports.Closed).stats
    assert (stats.received, stats.lost, stats.late, stats.malformed) == (2 + len(datagrams), 0, 0, 0)
    for phone in (peer, quiet, stranger):
        phone.close()


def test_packets_of_zeros_are_nobodys(studio: Studio, phone: Phone) -> None:
    """Whatever begins like no RTP packet is refused, also where nothing is expected yet."""
    stranger = Phone()
    studio.do(commands.Open(1, "127.0.0.1"))
    studio.open.add(1)
    stranger.to = studio.last(reports.Opened).port
    heads = [b"\0\0", b"\0\x80", b"\x80\0", b"\0\x7f", b"\xff\xff"]
    for head in heads:
        stranger.raw(head + bytes(170))
    studio.run(0.1)
    studio.direct(phone)
    for _ in range(10):
        for head in heads:
            stranger.raw(head + bytes(10) + np.arange(160, dtype=np.uint8).tobytes())
        studio.run(0.05)
    studio.do(commands.Drop(1))
    studio.open.clear()
    stats = studio.last(reports.Closed).stats
    assert stats.received <= 10  # those with a valid header are RTP, and latch where nobody else speaks
    assert stats.malformed + stats.foreign + stats.received >= 50
    stranger.close()


def test_a_stall_is_made_up_for_at_once(studio: Studio, phone: Phone) -> None:
    """What lay in the socket meanwhile is taken with the next frames, not one by one."""
    studio.connect(phone)
    studio.talk(phone, np.zeros(20 * FRAME))
    for _ in range(15):
        phone.raw(phone.sound(np.zeros(FRAME)))
    studio.now += 0.3
    studio.tick(skipped=15)
    studio.run(0.06)
    studio.talk(phone, np.zeros(50 * FRAME))
    studio.do(commands.Drop(1))
    studio.open.clear()
    stats = studio.last(reports.Closed).stats
    assert stats.received == 85
    assert stats.late <= 18
    assert stats.delay_ms < 80

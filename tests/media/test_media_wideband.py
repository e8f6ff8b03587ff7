"""Streams in G.722 and L16 through the plane: both bands out, one band in, and everything else as ever."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from media_studio import Phone, Studio, read_wav, samples_of, sine, tone_power, write_wav

from media import commands, reports
from media.codecs import G722, L16, PCMA, Codec
from media.g711 import Law
from media.rates import FRAME, RATE, WIDE_RATE

WIDE = {"payload_type": 9, "codec": "G722"}
LINEAR = {"payload_type": 96, "codec": "L16"}


def wide_sine(hertz: float, seconds: float, amplitude: float = 8000) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(WIDE_RATE * seconds)) / WIDE_RATE)


@pytest.fixture
def wide_clip(tmp_path: Path) -> Callable[..., str]:
    def make(hertz: float, seconds: float = 1.0) -> str:
        return write_wav(tmp_path / f"wide-{hertz}-{seconds}.wav", wide_sine(hertz, seconds), rate=WIDE_RATE)

    return make


def own(packets: list[bytes], payload_type: int = 9) -> list[bytes]:
    """Those with sound in this payload type."""
    return [packet for packet in packets if packet[1] & 0x7F == payload_type]


def steps(packets: list[bytes]) -> set[int]:
    """Timestamp units from packet to packet."""
    stamps = [struct.unpack("!I", packet[4:8])[0] for packet in packets]
    return {(after - before) % 2**32 for before, after in pairwise(stamps)}


def heard(packets: list[bytes], codec: Codec = G722, payload_type: int = 9) -> np.ndarray:
    """What the phone hears; G.722 by FFmpeg, at 16 kHz."""
    payloads = [packet[12:] for packet in own(packets, payload_type)]
    if codec is not G722:
        decoder = codec.decoder()
        return np.concatenate([decoder.decode(each) for each in payloads]).astype(float)
    context = av.CodecContext.create("g722", "r")
    context.sample_rate, context.layout = WIDE_RATE, "mono"
    frames = [frame for each in payloads for frame in context.decode(av.Packet(each))]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(float)


def amplitude(sound: np.ndarray, hertz: float, rate: int = WIDE_RATE) -> float:
    return float(2 * abs(np.mean(sound * np.exp(-2j * np.pi * hertz * np.arange(len(sound)) / rate))))


def talk(
    studio: Studio, phone: Phone, sound: np.ndarray, codec: Codec = G722, payload_type: int = 9, units: int = FRAME
) -> list[bytes]:
    """The phone sends ``sound`` in ``codec``; returns what came back meanwhile."""
    encoder, step = codec.encoder(), codec.rate // 50 * units // FRAME
    came: list[bytes] = []
    for start in range(0, len(sound) // step * step, step):
        payload = encoder.encode(np.rint(sound[start : start + step]).astype(np.int16))
        phone.raw(phone.packet(payload, payload_type))
        phone.timestamp += units
        studio.run(0.02 * units / FRAME)
        came += phone.take()
    return came


# --- out --------------------------------------------------------------------------------


def test_a_wide_prompt_is_heard_wide(studio: Studio, phone: Phone, wide_clip) -> None:
    studio.connect(phone, **WIDE)
    studio.do(commands.Play(1, 1, [wide_clip(5000)]))
    studio.run(1.2)
    packets = own(phone.take())
    assert {len(packet) for packet in packets} == {172}
    assert steps(packets) == {FRAME}
    sound = heard(packets)
    assert amplitude(sound[3200:12800], 5000) == pytest.approx(8000, rel=0.1)
    assert np.abs(sound[-1600:]).max() < 50
    assert studio.last(reports.PlayEnded).complete


def test_a_narrow_prompt_is_heard_too(studio: Studio, phone: Phone, tone) -> None:
    studio.connect(phone, **WIDE)
    studio.do(commands.Play(1, 1, [tone(1000)]))
    studio.run(1.2)
    sound = heard(phone.take())[3200:12800]
    assert amplitude(sound, 1000) == pytest.approx(8000, rel=0.03)
    assert amplitude(sound, 7000) < 60


def test_a_narrow_caller_hears_a_wide_prompt(studio: Studio, phone: Phone, wide_clip) -> None:
    studio.connect(phone)
    studio.do(commands.Play(1, 1, [wide_clip(1000)]))
    studio.run(0.8)
    sound = np.concatenate([samples_of(packet) for packet in phone.take()])[1600:4800]
    assert tone_power(sound, 1000) == pytest.approx(8000, rel=0.03)


def test_linear_sound_goes_out_in_network_order(studio: Studio, phone: Phone, tone) -> None:
    studio.connect(phone, **LINEAR)
    studio.do(commands.Play(1, 1, [tone(1000)]))
    studio.run(0.8)
    packets = own(phone.take(), 96)
    assert {len(packet) for packet in packets} == {332}
    sound = np.concatenate([np.frombuffer(packet[12:], ">i2") for packet in packets]).astype(float)[1600:4800]
    assert tone_power(sound, 1000) == pytest.approx(8000, rel=0.001)


@pytest.mark.parametrize(("codec", "direct"), [(G722, WIDE), (L16, LINEAR)], ids=["G722", "L16"])
@pytest.mark.parametrize("ptime", [10, 30, 40, 60])
def test_other_packet_times(
    studio: Studio, phone: Phone, tone, codec: Codec, direct: dict[str, object], ptime: int
) -> None:
    studio.connect(phone, ptime=ptime, **direct)
    studio.do(commands.Play(1, 1, [tone(1000)]))
    studio.run(1.0)
    number = int(str(direct["payload_type"]))
    packets = own(phone.take(), number)
    assert {len(packet) for packet in packets} == {12 + codec.octets * ptime // 20}
    assert steps(packets) == {8 * ptime}
    rate = WIDE_RATE if codec is G722 else RATE
    sound = heard(packets, codec, number)[rate // 5 : rate * 3 // 5]
    assert amplitude(sound, 1000, rate) == pytest.approx(8000, rel=0.03)


def test_keys_as_tones_and_as_events(studio: Studio, phone: Phone, wide_clip) -> None:
    studio.connect(phone, **WIDE)
    studio.do(commands.Play(1, 1, [wide_clip(5000, 2.0)]))
    studio.run(0.4)
    phone.take()
    studio.do(commands.SendDigits(1, "5", "inband", 200, 100))
    studio.run(0.2)
    sound = heard(phone.take())[1200:2800]
    assert amplitude(sound, 770) > 1000
    assert amplitude(sound, 1336) > 1000
    assert amplitude(sound, 5000) < 300, "the key comes in place of the prompt"
    studio.run(0.4)
    phone.take()
    studio.do(commands.SendDigits(1, "7", "rfc4733", 100, 100))
    studio.run(0.6)
    packets = phone.take()
    assert {packet[12] for packet in packets if packet[1] & 0x7F == 101} == {7}
    assert amplitude(heard(packets)[-3200:], 5000) > 4000, "it goes on after the key"


def test_a_stopped_prompt_dies_away(studio: Studio, phone: Phone, wide_clip) -> None:
    studio.connect(phone, **WIDE)
    studio.do(commands.Play(1, 1, [wide_clip(500, 2.0)]))
    studio.run(0.5)
    studio.do(commands.Stop(1))
    studio.run(0.3)
    sound = heard(phone.take())
    assert not studio.last(reports.PlayEnded).complete
    assert np.abs(sound[-3200:]).max() < 60
    assert np.abs(np.diff(sound)).max() < 1.3 * 8000 * 2 * np.pi * 500 / WIDE_RATE, "a click"


def test_after_a_hold_the_far_end_is_in_step(studio: Studio, phone: Phone, wide_clip) -> None:
    """What was not sent must not have been encoded: both ends of G.722 adapt to what they had in common."""
    studio.connect(phone, **WIDE)
    studio.do(commands.Play(1, 1, [wide_clip(1000, 3.0)]))
    studio.run(0.5)
    studio.direct(phone, send=False, **WIDE)
    studio.run(0.5)
    studio.direct(phone, **WIDE)
    studio.run(0.5)
    sound = heard(phone.take())
    assert np.abs(sound).max() < 9500
    assert amplitude(sound[-4800:], 1000) == pytest.approx(8000, rel=0.03)


def test_after_a_key_the_far_end_is_in_step(studio: Studio, phone: Phone, wide_clip) -> None:
    studio.connect(phone, **WIDE)
    studio.do(commands.Play(1, 1, [wide_clip(1000, 3.0)]))
    studio.run(0.5)
    studio.do(commands.SendDigits(1, "7", "rfc4733", 200, 100))
    studio.run(1.0)
    packets = phone.take()
    assert any(packet[1] & 0x7F == 101 for packet in packets)
    assert np.abs(heard(packets)).max() < 8900


# --- in ---------------------------------------------------------------------------------


def recorded(studio: Studio, phone: Phone, path: Path, talking: Callable[[], object]) -> np.ndarray:
    """Both sides while ``talking``: shape (n, 2)."""
    studio.do(commands.Record(1, 1, str(path)))
    talking()
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.1)
    return read_wav(path)


@pytest.mark.parametrize(
    ("codec", "direct", "rate"), [(G722, WIDE, WIDE_RATE), (L16, LINEAR, RATE)], ids=["G722", "L16"]
)
def test_the_caller_is_recorded(
    studio: Studio, phone: Phone, tmp_path: Path, codec: Codec, direct: dict[str, object], rate: int
) -> None:
    studio.connect(phone, **direct)
    said = 8000 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    number = int(str(direct["payload_type"]))
    sides = recorded(studio, phone, tmp_path / "a.wav", lambda: talk(studio, phone, said, codec, number))
    left = sides[2400:6400, 0]
    assert tone_power(left, 1000) == pytest.approx(8000, rel=0.03)
    assert np.sqrt(np.mean(left**2)) == pytest.approx(8000 / np.sqrt(2), rel=0.03), "nothing but the tone"
    assert studio_stats(studio).malformed == 0


def studio_stats(studio: Studio) -> reports.StreamStats:
    studio.drop()
    stats: reports.StreamStats = studio.last(reports.Closed).stats
    return stats


def test_what_plays_wide_is_recorded_narrow(studio: Studio, phone: Phone, tmp_path: Path, wide_clip) -> None:
    studio.connect(phone, **WIDE)
    both = write_wav(tmp_path / "both.wav", wide_sine(1000, 1.0, 6000) + wide_sine(5000, 1.0, 6000), rate=WIDE_RATE)
    studio.do(commands.Play(1, 1, [both]))
    sides = recorded(studio, phone, tmp_path / "a.wav", lambda: talk(studio, phone, wide_sine(300, 0.8)))
    right = sides[1600:5600, 1]
    assert tone_power(right, 1000) == pytest.approx(6000, rel=0.02)
    assert tone_power(right, 3000) < 10, "5 kHz folded down"


@pytest.mark.parametrize(("codec", "number"), [(G722, 9), (L16, 96)], ids=["G722", "L16"])
@pytest.mark.parametrize("units", [80, 240, 320])
def test_packets_of_another_length_are_taken(
    studio: Studio, phone: Phone, tmp_path: Path, codec: Codec, number: int, units: int
) -> None:
    studio.connect(phone, payload_type=number, codec=codec.name)
    said = 8000 * np.sin(2 * np.pi * 1000 * np.arange(codec.rate * 6 // 5) / codec.rate)
    sides = recorded(studio, phone, tmp_path / "a.wav", lambda: talk(studio, phone, said, codec, number, units))
    assert tone_power(sides[2400:6400, 0], 1000) == pytest.approx(8000, rel=0.05)


def test_keys_in_the_sound_of_g722(studio: Studio, phone: Phone) -> None:
    studio.connect(phone, **WIDE)
    pressed = wide_sine(852, 0.1, 4000) + wide_sine(1209, 0.1, 4000)
    talk(studio, phone, np.concatenate([np.zeros(3200), pressed, np.zeros(3200)]))
    assert [(digit.digit, digit.method) for digit in studio.reports(reports.DigitHeard)] == [("7", "inband")]


def test_numbers_of_both_directions(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    """We send by the number of their answer, they by that of our offer."""
    studio.connect(phone, payload_type=100, receive_payload_type=96, codec="L16")
    came: list[bytes] = []
    sides = recorded(
        studio, phone, tmp_path / "a.wav", lambda: came.extend(talk(studio, phone, sine(1000, 0.8), L16, 96))
    )
    assert {packet[1] & 0x7F for packet in came} == {100}
    assert tone_power(sides[2400:5600, 0], 1000) > 7500
    phone.raw(phone.packet(bytes(320), 100))
    studio.run(0.1)
    assert studio_stats(studio).malformed == 1


def test_loss_is_concealed_and_the_decoder_recovers(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    studio.connect(phone, **WIDE)
    encoder = G722.encoder()
    said = wide_sine(1000, 2.0)

    def lossy() -> None:
        for number, start in enumerate(range(0, said.size, 320)):
            payload = encoder.encode(np.rint(said[start : start + 320]).astype(np.int16))
            packet = phone.packet(payload, 9)
            if number not in (30, 31):
                phone.raw(packet)
            phone.timestamp += FRAME
            studio.run(0.02)

    sides = recorded(studio, phone, tmp_path / "a.wav", lossy)
    assert np.abs(sides[:, 0]).max() < 14000
    assert tone_power(sides[8000:14400, 0], 1000) == pytest.approx(8000, rel=0.03)
    assert studio_stats(studio).lost == 2


def test_another_source_is_decoded_afresh(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    """Its encoder knows nothing of what the one before had sent."""
    studio.connect(phone, **WIDE)
    loud = np.random.default_rng(1).normal(0, 9000, WIDE_RATE // 2).clip(-32000, 32000)

    def two_sources() -> None:
        talk(studio, phone, loud)
        phone.ssrc ^= 0x5A5A
        talk(studio, phone, wide_sine(500, 0.5, 1000))

    sides = recorded(studio, phone, tmp_path / "a.wav", two_sources)
    begin = int(np.flatnonzero(np.abs(sides[:, 0]) > 6000)[-1])
    after = sides[begin + FRAME : begin + 8 * FRAME, 0]
    assert np.abs(after).max() < 1100, "still adapted to the one before"
    assert np.abs(after).max() > 900


@pytest.mark.parametrize(("codec", "number"), [("G722", 9), ("L16", 96)])
def test_hostile_payloads(studio: Studio, phone: Phone, codec: str, number: int) -> None:
    studio.connect(phone, payload_type=number, codec=codec)
    talk(studio, phone, np.zeros(3200))
    for size in (0, 1, 3, 159, 160, 161, 319, 320, 321, 1500, 1587, 1588, 3000):
        phone.raw(phone.packet(b"\xa5" * size, number))
        phone.timestamp += FRAME
        studio.run(0.02)
    studio.run(0.5)
    assert studio_stats(studio).received > 10


# --- another codec in the middle --------------------------------------------------------


def test_a_codec_may_change_while_a_prompt_plays(studio: Studio, phone: Phone, wide_clip) -> None:
    studio.connect(phone, **WIDE)
    studio.do(commands.Play(1, 1, [wide_clip(1000, 1.5)]))
    studio.run(0.5)
    phone.take()
    studio.direct(phone)
    studio.run(0.5)
    narrow = np.concatenate([samples_of(packet) for packet in phone.take()])
    assert tone_power(narrow[800:3200], 1000) == pytest.approx(8000, rel=0.03)
    studio.direct(phone, **WIDE)
    studio.run(0.4)
    assert amplitude(heard(phone.take())[1600:4800], 1000) == pytest.approx(8000, rel=0.05)
    studio.run(0.4)
    assert studio.last(reports.PlayEnded).complete
    assert len(studio.reports(reports.PlayEnded)) == 1


def test_a_play_replaces_one_of_the_other_band(studio: Studio, phone: Phone, wide_clip) -> None:
    studio.connect(phone, **WIDE)
    studio.do(commands.Play(1, 1, [wide_clip(1000, 3.0)]))
    studio.run(0.2)
    studio.direct(phone, payload_type=int(Law.PCMA))
    studio.do(commands.Play(1, 2, [wide_clip(500, 0.5)]))
    studio.run(0.2)
    phone.take()
    studio.run(0.2)
    sound = heard(phone.take(), PCMA, int(Law.PCMA))
    assert tone_power(sound, 500) == pytest.approx(8000, rel=0.05)
    assert tone_power(sound, 1000) < 200
    studio.run(0.4)
    ended = [(report.play, report.complete, report.reason) for report in studio.reports(reports.PlayEnded)]
    assert sorted(ended) == [(1, False, "replaced"), (2, True, "")]


def test_wide_and_narrow_streams_side_by_side(studio: Studio, phone: Phone, tone, wide_clip) -> None:
    other = Phone()
    studio.connect(phone, 1, **WIDE)
    studio.connect(other, 2)
    studio.do(commands.Play(1, 1, [wide_clip(5000)]), commands.Play(2, 1, [tone(700)]))
    studio.run(0.8)
    assert amplitude(heard(phone.take())[3200:9600], 5000) == pytest.approx(8000, rel=0.1)
    narrow = np.concatenate([samples_of(packet) for packet in other.take()])
    assert tone_power(narrow[1600:4800], 700) == pytest.approx(8000, rel=0.03)
    other.close()


def test_a_slot_starts_afresh(studio: Studio, phone: Phone, tone) -> None:
    """A G.711 stream in a slot that a G.722 stream left."""
    studio.connect(phone, 1, **WIDE)
    studio.run(0.2)
    studio.drop()
    phone.take()
    second = Phone()
    studio.connect(second, 2)
    studio.do(commands.Play(2, 1, [tone(700)]))
    studio.run(0.5)
    packets = second.take()
    assert {packet[1] & 0x7F for packet in packets} == {0}
    sound = np.concatenate([samples_of(packet) for packet in packets])
    assert tone_power(sound[800:3200], 700) == pytest.approx(8000, rel=0.03)
    second.close()


def test_l16_is_relayed_as_it_is_while_others_are_decoded(studio: Studio, tmp_path: Path) -> None:
    """Two in a bridge and one on its own, whose packets come in the same rounds."""
    ours = [Phone() for _ in range(3)]
    for number, each in enumerate(ours, 1):
        studio.connect(each, number, **LINEAR)
    studio.do(commands.Relay(1, 2), commands.Relay(2, 1), commands.Record(3, 1, str(tmp_path / "c.wav")))
    encoder = L16.encoder()
    sent: list[bytes] = []
    came: list[bytes] = []
    for start in range(0, RATE, FRAME):
        sent.append(encoder.encode(np.rint(sine(1000, 1.0)[start : start + FRAME]).astype(np.int16)))
        for each in ours:
            each.raw(each.packet(sent[-1], 96))
            each.timestamp += FRAME
        studio.run(0.02)
        came += [packet[12:] for packet in own(ours[1].take(), 96)]
    assert came[-40:] == sent[-40:]
    studio.do(commands.StopRecord(3, 1))
    studio.run(0.1)
    assert tone_power(read_wav(tmp_path / "c.wav")[2400:6400, 0], 1000) == pytest.approx(8000, rel=0.001)
    for each in ours:
        each.close()


def test_short_and_long_packets_of_several_codecs_in_one_round(studio: Studio) -> None:
    """A payload of 160 octets is 10 ms of L16 and 20 ms of G.722."""
    ours = [(Phone(), LINEAR, 80), (Phone(), WIDE, FRAME), (Phone(), LINEAR, FRAME), (Phone(), {}, FRAME)]
    for number, (each, direct, _) in enumerate(ours, 1):
        studio.connect(each, number, **direct)
    for _ in range(50):
        for each, direct, units in ours:
            number = int(str(direct.get("payload_type", 0)))
            size = 2 * units if number == 96 else units
            for _ in range(FRAME // units):
                each.raw(each.packet(bytes(size), number))
                each.timestamp += units
        studio.run(0.02)
    for number, (each, _, units) in enumerate(ours, 1):
        studio.do(commands.Drop(number))
        stats = studio.last(reports.Closed).stats
        assert stats.received >= 50 * FRAME // units - 1  # one may be thrown away when the stream latches
        assert stats.malformed == 0
        each.close()
    studio.open.clear()

"""The codecs of calls: what goes in comes out, bit for bit as other implementations have it."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.codecs import CODECS, G722, L16, MAX_FRAMES, PCMU, Codec, codec_of
from media.g711 import Law
from media.rates import RATE, WIDE_RATE

SPEECH = sorted((Path(__file__).parents[1] / "data" / "speech" / "read").glob("austen_*.wav"))

Sound = np.ndarray
EACH = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)


def tone(hertz: float, rate: int, seconds: float = 1.0, amplitude: float = 8000) -> Sound:
    return np.rint(amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.int16)


def speech(rate: int) -> Sound:
    """Twelve seconds of reading, with 200 ms of silence before and after."""
    with wave.open(str(SPEECH[0])) as file:
        assert file.getframerate() == WIDE_RATE
        read = np.frombuffer(file.readframes(12 * WIDE_RATE), "<i2")
    quiet = np.zeros(WIDE_RATE // 5, np.int16)
    sound = np.concatenate([quiet, read, quiet])
    return sound if rate == WIDE_RATE else sound[::2].copy()


def frames(sound: Sound, codec: Codec) -> Iterator[Sound]:
    frame = codec.rate // 50
    return iter(sound[: sound.size // frame * frame].reshape(-1, frame))


def encoded(sound: Sound, codec: Codec) -> list[bytes]:
    encoder = codec.encoder()
    return [encoder.encode(frame) for frame in frames(sound, codec)]


def decoded(payloads: list[bytes], codec: Codec, rate: int) -> Sound:
    decoder = codec.decoder(rate)
    return np.concatenate([decoder.decode(payload) for payload in payloads])


def snr(original: Sound, copy: Sound, delay: int = 0) -> float:
    """Signal to noise in dB of a copy that comes ``delay`` samples later."""
    there = original[: copy.size - delay].astype(float)
    error = copy[delay : delay + there.size] - there
    return float(10 * np.log10(np.sum(there**2) / max(np.sum(error**2), 1e-9)))


def dbfs(sound: Sound) -> float:
    return float(20 * np.log10(max(sound.astype(float).std(), 1e-9) / 32768 * np.sqrt(2)))


def amplitude_at(sound: Sound, hertz: float, rate: int) -> float:
    return float(2 * abs(np.mean(sound * np.exp(-2j * np.pi * hertz * np.arange(sound.size) / rate))))


DELAY = {"PCMU": 0, "PCMA": 0, "G722": 22, "L16": 0}
"""Samples that the band filters take."""

SNR = {"PCMU": (36, 33), "PCMA": (36, 33), "G722": (25, 15), "L16": (200, 200)}
"""Least dB, of a tone and of speech."""


@EACH
def test_a_tone_and_speech_survive(codec: Codec) -> None:
    for sound, least in zip((tone(1000, codec.rate), speech(codec.rate)), SNR[codec.name], strict=True):
        copy = decoded(encoded(sound, codec), codec, codec.rate)
        assert copy.dtype == np.int16
        assert snr(sound, copy, DELAY[codec.name]) > least


@EACH
def test_a_frame_has_its_size(codec: Codec) -> None:
    assert {len(payload) for payload in encoded(tone(500, codec.rate), codec)} == {codec.octets}
    assert codec.decoder().decode(codec.encoder().silence()).size == 160


@EACH
def test_silence_is_quiet_at_once_and_stays_so(codec: Codec) -> None:
    encoder, decoder = codec.encoder(), codec.decoder(codec.rate)
    for frame in frames(tone(1000, codec.rate), codec):
        decoder.decode(encoder.encode(frame))
    quiet = [decoder.decode(encoder.silence()) for _ in range(100)]
    assert max(dbfs(frame) for frame in quiet[2:]) < -60


def test_linear_samples_are_in_network_order() -> None:
    assert L16.encoder().encode(np.array([1, -2, 0x1234], np.int16)) == b"\x00\x01\xff\xfe\x12\x34"
    assert L16.decoder().decode(b"\x12\x34\x80\x00\x7f").tolist() == [0x1234, -32768]


# --- G.722 ------------------------------------------------------------------------------


def ffmpeg_encoded(sound: Sound) -> list[bytes]:
    context = av.CodecContext.create("g722", "w")
    context.sample_rate, context.layout, context.format = WIDE_RATE, "mono", "s16"
    payloads = []
    for samples in frames(sound, G722):
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = WIDE_RATE
        payloads += [bytes(packet) for packet in context.encode(frame)]
    return payloads


def ffmpeg_decoded(payloads: list[bytes]) -> Sound:
    context = av.CodecContext.create("g722", "r")
    context.sample_rate, context.layout = WIDE_RATE, "mono"
    return np.concatenate([frame.to_ndarray()[0] for each in payloads for frame in context.decode(av.Packet(each))])


@pytest.mark.parametrize("kind", ["tone", "speech", "noise"])
def test_g722_is_that_of_ffmpeg_bit_for_bit(kind: str) -> None:
    sound = {
        "tone": tone(5000, WIDE_RATE),
        "speech": speech(WIDE_RATE),
        "noise": np.random.default_rng(1).normal(0, 6000, WIDE_RATE).clip(-32768, 32767).astype(np.int16),
    }[kind]
    payloads = encoded(sound, G722)
    assert payloads == ffmpeg_encoded(sound)
    assert np.array_equal(decoded(payloads, G722, WIDE_RATE), ffmpeg_decoded(payloads))


@pytest.mark.parametrize("hertz", [200, 1000, 3000, 5000, 6500])
def test_g722_is_wide(hertz: float) -> None:
    copy = decoded(encoded(tone(hertz, WIDE_RATE), G722), G722, WIDE_RATE)[1600:]
    assert amplitude_at(copy, hertz, WIDE_RATE) == pytest.approx(8000, rel=0.06)


@pytest.mark.parametrize(("hertz", "kept"), [(200, 1.0), (1000, 1.0), (3000, 1.0), (3400, 0.95)])
def test_g722_is_decoded_at_8_khz_too(hertz: float, kept: float) -> None:
    copy = decoded(encoded(tone(hertz, WIDE_RATE), G722), G722, RATE)[800:]
    assert amplitude_at(copy, hertz, RATE) == pytest.approx(8000 * kept, rel=0.04)


@pytest.mark.parametrize(("hertz", "damping"), [(4600, 10), (5000, 20), (6000, 60)])
def test_what_is_above_4_khz_is_kept_out_of_8_khz(hertz: float, damping: float) -> None:
    sound = tone(hertz, WIDE_RATE, amplitude=16000)
    assert dbfs(decoded(encoded(sound, G722), G722, RATE)[800:]) < dbfs(sound) - damping


@pytest.mark.parametrize("rate", [RATE, WIDE_RATE])
def test_after_lost_frames_the_sound_comes_back(rate: int) -> None:
    payloads = encoded(speech(WIDE_RATE), G722)
    whole = decoded(payloads, G722, rate).astype(float)
    lost = slice(150, 153)
    frame = rate // 50
    broken = decoded(payloads[: lost.start] + payloads[lost.stop :], G722, rate).astype(float)
    rest, expected = broken[lost.start * frame :], whole[lost.stop * frame :]
    error = (rest - expected).reshape(-1, frame)
    signal = expected.reshape(-1, frame)
    assert np.abs(rest).max() < 1.5 * np.abs(whole).max(), "it blew up"
    assert np.mean(error[20:30] ** 2) < np.mean(signal[20:30] ** 2) / 100  # after 0.4 s
    assert np.array_equal(rest[-frame:], expected[-frame:])


def test_streams_do_not_share_a_memory() -> None:
    one, two = G722.encoder(), G722.encoder()
    alone = encoded(tone(1000, WIDE_RATE), G722)
    for samples, payload in zip(frames(tone(1000, WIDE_RATE), G722), alone, strict=True):
        assert one.encode(samples) == payload
        two.encode(samples[::-1])


# --- hostile ----------------------------------------------------------------------------


@EACH
@given(payloads=st.lists(st.binary(max_size=1600), max_size=5))
def test_any_payload_is_decoded(codec: Codec, payloads: list[bytes]) -> None:
    for rate in {RATE, codec.rate}:
        decoder = codec.decoder(rate)
        for payload in payloads:
            sound = decoder.decode(payload)
            assert sound.dtype == np.int16
            assert sound.size == min(len(payload), MAX_FRAMES * codec.octets) * (rate // 50) // codec.octets


@EACH
def test_too_long_a_payload_is_cut(codec: Codec) -> None:
    assert codec.decoder().decode(bytes(1 << 20)).size == MAX_FRAMES * 160


def test_names_and_static_numbers() -> None:
    assert codec_of("", 0) is PCMU
    assert codec_of("", Law.PCMA) is CODECS["PCMA"]
    assert codec_of("", 9) is G722
    assert codec_of("L16", 96) is L16
    assert codec_of("G722", 110) is G722
    for name, number in (("", -1), ("", 96), ("OPUS", 96), ("pcmu", 0)):
        with pytest.raises(ValueError, match=f"payload type {number}"):
            codec_of(name, number)
    with pytest.raises(ValueError, match="16000 Hz"):
        PCMU.decoder(WIDE_RATE)

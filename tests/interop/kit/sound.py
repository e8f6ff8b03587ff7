"""Sound for tests, written independently of ``media``: tones, G.711 by formula, and finding sound again.

Samples are float64 in −1 … 1 at 8 kHz; dBFS is relative to a full-scale sine (0 dBFS = RMS of 1/√2).
"""

from __future__ import annotations

import io
import math
import wave
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

RATE = 8000
FRAME = 160
Samples = NDArray[np.float64]

_ROWS = (697.0, 770.0, 852.0, 941.0)
_COLUMNS = (1209.0, 1336.0, 1477.0, 1633.0)
DTMF = {
    key: (_ROWS[row], _COLUMNS[column])
    for row, keys in enumerate(("123A", "456B", "789C", "*0#D"))
    for column, key in enumerate(keys)
}


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE))


def tone(frequency: float, seconds: float, dbfs: float = -20.0, ramp: float = 0.005) -> Samples:
    """A sine with short ramps, so that its edges do not click."""
    count = round(seconds * RATE)
    samples = 10 ** (dbfs / 20) * np.sin(2 * np.pi * frequency * np.arange(count) / RATE)
    edge = min(round(ramp * RATE), count // 2)
    if edge:
        samples[:edge] *= np.linspace(0, 1, edge)
        samples[-edge:] *= np.linspace(1, 0, edge)
    return samples


def dtmf(keys: str, on: float = 0.1, off: float = 0.1, dbfs: float = -12.0) -> Samples:
    """In-band keys, each followed by silence; ``dbfs`` per frequency."""
    parts: list[Samples] = []
    for key in keys:
        row, column = DTMF[key]
        parts += [tone(row, on, dbfs) + tone(column, on, dbfs), silence(off)]
    return np.concatenate(parts) if parts else silence(0)


def greeting(seconds: float, dbfs: float = -20.0) -> Samples:
    """What sounds like somebody who talks without a pause: a voice of 120 Hz, four syllables a second."""
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = 2 * np.pi * np.cumsum(120 + 15 * np.sin(2 * np.pi * 0.7 * time)) / RATE
    voice = np.sum([np.sin(n * pitch + n * n) / n for n in range(1, 24)], axis=0)
    syllables = 0.35 + 0.65 * np.sin(2 * np.pi * 2 * time) ** 2
    spoken = voice * syllables
    return np.asarray(spoken * 10 ** (dbfs / 20) / np.sqrt(2) / np.sqrt(np.mean(spoken**2)))


def noise(seconds: float, dbfs: float = -60.0, seed: int = 1) -> Samples:
    return np.random.default_rng(seed).normal(0, 10 ** (dbfs / 20) / math.sqrt(2), round(seconds * RATE))


def level(samples: Samples) -> float:
    """dBFS of ``samples``, −120 for silence."""
    return (
        max(-120.0, 20 * math.log10(float(np.sqrt(np.mean(samples**2))) * math.sqrt(2) + 1e-12))
        if len(samples)
        else -120.0
    )


def power_at(samples: Samples, frequency: float) -> float:
    """dBFS of the part of ``samples`` at ``frequency`` (one DFT bin as wide as the piece is long)."""
    if not len(samples):
        return -120.0
    bin_ = np.exp(-2j * np.pi * frequency * np.arange(len(samples)) / RATE)
    return max(-120.0, 20 * math.log10(2 * abs(complex(samples @ bin_)) / len(samples) + 1e-12))


def find_tone(
    samples: Samples, frequency: float, *, window: float = 0.02, above: float = -35.0
) -> list[tuple[float, float]]:
    """Where ``frequency`` sounds and is most of what sounds: (start, end) in seconds, gaps under 60 ms bridged."""
    size = round(window * RATE)
    count = len(samples) // size
    if not count:
        return []
    pieces = samples[: count * size].reshape(count, size)
    bin_ = np.exp(-2j * np.pi * frequency * np.arange(size) / RATE)
    there = 20 * np.log10(2 * np.abs(pieces @ bin_) / size + 1e-12)
    total = 20 * np.log10(np.sqrt(np.mean(pieces**2, axis=1)) * math.sqrt(2) + 1e-12)
    return spans((there > above) & (there > total - 3), window, bridge=0.06)


def find_sound(
    samples: Samples, *, window: float = 0.01, above: float = -45.0, bridge: float = 0.2
) -> list[tuple[float, float]]:
    """Where anything sounds: (start, end) in seconds."""
    size = round(window * RATE)
    count = len(samples) // size
    if not count:
        return []
    pieces = samples[: count * size].reshape(count, size)
    total = 20 * np.log10(np.sqrt(np.mean(pieces**2, axis=1)) * math.sqrt(2) + 1e-12)
    return spans(total > above, window, bridge=bridge)


def spans(active: NDArray[np.bool_], window: float, bridge: float) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for index in np.flatnonzero(active):
        start = float(index) * window
        if found and start - found[-1][1] <= bridge + 1e-9:
            found[-1] = (found[-1][0], start + window)
        else:
            found.append((start, start + window))
    return found


def lag(reference: Samples, heard: Samples) -> tuple[float, float]:
    """Where ``reference`` begins in ``heard``, in seconds, and the correlation there (1 = itself)."""
    size = 1 << (len(reference) + len(heard)).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(reference, size)), size)[: len(heard)]
    at = int(np.argmax(product))
    piece = heard[at : at + len(reference)]
    norm = math.sqrt(float(np.sum(reference[: len(piece)] ** 2) * np.sum(piece**2))) or 1.0
    return at / RATE, float(product[at]) / norm


# --- G.711, by the formulas of the Recommendation rather than by a table -------------------------


def to_ulaw(samples: Samples) -> bytes:
    pcm = np.clip(np.round(samples * 32767), -32635, 32635).astype(np.int32)
    magnitude = np.abs(pcm) + 132
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    code = ~(((pcm < 0) << 7) | (exponent << 4) | mantissa) & 0xFF
    return bytes(code.astype(np.uint8))


def from_ulaw(data: bytes) -> Samples:
    code = ~np.frombuffer(data, np.uint8).astype(np.int32) & 0xFF
    exponent, mantissa = (code >> 4) & 7, code & 0x0F
    magnitude = (((mantissa << 3) + 132) << exponent) - 132
    return np.where(code & 0x80, -magnitude, magnitude) / 32768


def to_alaw(samples: Samples) -> bytes:
    pcm = np.clip(np.round(samples * 32767), -32768, 32767).astype(np.int32)
    magnitude = np.where(pcm >= 0, pcm, -pcm - 1) >> 4
    exponent = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 3, 0)
    mantissa = (magnitude >> np.maximum(exponent - 1, 0)) & 0x0F
    code = (((pcm >= 0) << 7) | (exponent << 4) | mantissa) ^ 0x55
    return bytes(code.astype(np.uint8))


def from_alaw(data: bytes) -> Samples:
    code = np.frombuffer(data, np.uint8).astype(np.int32) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, code & 0x0F
    magnitude = np.where(exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 264) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude) / 32768


# --- files ---------------------------------------------------------------------------------------


def write_wav(path: Path, *channels: Samples, rate: int = RATE) -> Path:
    length = max(len(channel) for channel in channels)
    frames = np.zeros((length, len(channels)))
    for index, channel in enumerate(channels):
        frames[: len(channel), index] = channel
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.clip(np.round(frames * 32767), -32768, 32767).astype("<i2").tobytes())
    return path


def read_wav(path: Path) -> tuple[int, list[Samples]]:
    """Rate and channels of a 16-bit WAV, read with Python's own ``wave``."""
    with wave.open(str(path), "rb") as file:
        assert file.getsampwidth() == 2, f"{path} is not 16 bit"
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        return file.getframerate(), [data[index :: file.getnchannels()] for index in range(file.getnchannels())]


def decoded(data: bytes) -> list[Samples]:
    """The channels of a WAV or MP3 file at 8 kHz, as FFmpeg plays it."""
    with av.open(io.BytesIO(data)) as file:
        stream = file.streams.audio[0]
        assert stream.rate == RATE, stream.rate
        resampler = av.AudioResampler("fltp")
        frames = [piece for frame in file.decode(stream) for piece in resampler.resample(frame)]
        return list(np.concatenate([frame.to_ndarray() for frame in frames], axis=1).astype(np.float64))


def to_8k(samples: Samples, rate: int) -> Samples:
    """Down to 8 kHz by a windowed-sinc low-pass and decimation; ``rate`` must be a multiple of 8 kHz."""
    factor, rest = divmod(rate, RATE)
    assert rest == 0, rate
    if factor == 1:
        return samples
    taps = np.arange(-16 * factor, 16 * factor + 1) / factor
    kernel = np.sinc(taps * 0.95) * np.hamming(len(taps))
    return np.asarray(np.convolve(samples, kernel / kernel.sum(), "same")[::factor])

"""Test speech, and what a call makes of it: 8 kHz, G.711 coded and decoded, silence around."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

Samples = npt.NDArray[np.int16]

DATA = Path(__file__).parent.parent / "data" / "speech"
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SPEAKERS = ["george", "jackson", "lucas", "yweweler"]


def read_wave(path: Path) -> Samples:
    """Mono samples at 8 kHz."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return to_8k(samples, file.getframerate())


def to_8k(samples: Samples, rate: int) -> Samples:
    if rate == 8000:
        return samples
    resampled = soxr.resample(samples.astype(np.float64), rate, 8000)
    return np.clip(np.rint(resampled), -32768, 32767).astype(np.int16)


def spoken_digit(digit: int, speaker: str, take: int) -> Samples:
    return read_wave(DATA / "digits" / f"{digit}_{speaker}_{take}.wav")


def mu_law(samples: Samples) -> Samples:
    """Through a G.711 µ-law coder and back, by the formula of the Recommendation's segments."""
    magnitude = np.minimum(np.abs(samples.astype(np.int32)) >> 2, 8158) + 33
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 5
    step = (magnitude >> (exponent + 1)) & 15
    decoded = ((((step << 1) + 33) << exponent) - 33) << 2
    return np.where(samples < 0, -decoded, decoded).astype(np.int16)


def pink_noise(length: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    spectrum = np.fft.rfft(rng.standard_normal(length))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), length)
    return noise / noise.std()


def on_the_phone(samples: Samples, *, snr: float | None = None, padding: float = 0.3, seed: int = 1) -> Samples:
    """``samples`` between paddings of near silence, with pink noise ``snr`` dB below them, as a call carries them."""
    rng = np.random.default_rng(seed)
    speech = samples.astype(np.float64)
    power = np.sqrt((speech**2).mean())
    heard = np.pad(speech, int(padding * 8000))
    heard += rng.standard_normal(len(heard)) * 8.0
    if snr is not None:
        heard += pink_noise(len(heard), rng) * power * 10 ** (-snr / 20)
    return mu_law(np.clip(np.rint(heard), -32768, 32767).astype(np.int16))

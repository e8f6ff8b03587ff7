"""Test speech, and what a call makes of it: 8 kHz, G.711 coded and decoded, silence around."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from media.frames import powers
from media.listening import PRE_ROLL
from media.rates import FRAME
from media.speech.engine import Key, Recogniser
from media.vad import SpeechDetector

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


SENTENCES = sorted(path.stem for path in (DATA / "read").glob("*.wav"))


def read_sentence(name: str) -> Samples:
    return read_wave(DATA / "read" / f"{name}.wav")


def utterances(samples: Samples) -> list[Samples]:
    """Cut as a voice detector does: 300 ms before speech, an end after 300 ms of silence or 8 s."""
    count = len(samples) // 80
    level = 10 * np.log10((samples[: count * 80].reshape(count, 80).astype(np.float64) ** 2).mean(axis=1) + 1)
    floor = np.array([np.percentile(level[max(0, i - 300) : i + 300], 10) for i in range(count)])
    voiced = level > np.maximum(floor + 9, 30)
    found, at = [], 0
    while at < count:
        if not voiced[at] or voiced[at : at + 3].sum() < 2:
            at += 1
            continue
        start, last = max(0, at - 30), at
        while at < count and at - last < 30 and at - start < 830:
            last = at if voiced[at] else last
            at += 1
        found.append(samples[start * 80 : at * 80])
    return found


def recognise(
    recogniser: Recogniser, samples: Samples, words: list[str], piece: int = 320
) -> tuple[list[str], list[str]]:
    """Words accepted at the end, and words spotted on the way, of an utterance in pieces of 20 ms."""
    key = Key(1, 1, 1)
    recogniser.begin(key, words, "en", 0.0)
    spotted: list[str] = []
    pcm = samples.tobytes()
    for i in range(0, len(pcm), piece):
        spotted += [found.word for found in recogniser.audio(key, pcm[i : i + piece])]
    return [found.word for found in recogniser.end(key)], spotted


def as_detected(samples: Samples) -> list[Samples]:
    """Cut by the media plane's own detector, with the 360 ms before each speech that the recogniser gets."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    detector, slot = SpeechDetector(1), np.array([0])
    detector.open(0)
    cuts, begin = [], None
    for index, frame in enumerate(frames):
        level = powers(frame[None])
        begun, ended = detector.feed(slot, detector.voiced(slot, level), level, index * FRAME / 8000)
        if begun:
            begin = max(0, index - PRE_ROLL)
        if ended and begin is not None:
            cuts.append(frames[begin : index + 1].reshape(-1))
    return cuts

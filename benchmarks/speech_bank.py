"""Human speech and noises for the cases about ears, at 8 kHz.

The speech is that of tests/data/speech: digits of four speakers, and read sentences. Levels are in dBFS (0: a sine at
full scale), of the sound without its pauses.
"""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from media.levels import active_level
from media.rates import RATE

FOLDER = Path(__file__).parents[1] / "tests" / "data" / "speech"
NOISES = ("white", "pink", "babble", "hum")

Sound = NDArray[np.float64]

_BABBLERS = 24


@dataclass(frozen=True, slots=True)
class Take:
    """A recording. ``speaker`` of a digit by name; of read sentences "austen" or "go"."""

    name: str
    speaker: str
    sound: Sound


def rms_of(dbfs: float) -> float:
    """The root mean square of a level."""
    return float(32768 / np.sqrt(2) * 10 ** (dbfs / 20))


def at_level(sound: Sound, dbfs: float) -> Sound:
    """``sound`` with ``dbfs`` while it lasts, pauses not counted."""
    # active_level counts from a full-scale square wave: a sine of 0 dBFS is at -3.01 there.
    active = active_level((sound / 32768).astype(np.float32), RATE)
    return sound * 10 ** ((dbfs - 3.01 - active) / 20)


@cache
def takes() -> tuple[Take, ...]:
    """All recordings, by name."""
    found = []
    for path in sorted(FOLDER.glob("*/*.wav")):
        with wave.open(str(path)) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
            if file.getframerate() != RATE:
                sound = soxr.resample(sound, file.getframerate(), RATE)
        speaker = path.stem.split("_")[1 if path.parent.name == "digits" else 0]
        found.append(Take(path.stem, speaker, sound))
    return tuple(found)


def speakers(*names: str) -> list[Take]:
    """The recordings of some speakers."""
    return [take for take in takes() if take.speaker in names]


def talk(chosen: Sequence[Take], seconds: float, rng: np.random.Generator, pause: tuple[float, float]) -> Sound:
    """Recordings in random order, each at -20 dBFS, with silence of random length (seconds) before each."""
    parts, left = [], round(seconds * RATE)
    while left > 0:
        sound = at_level(chosen[rng.integers(len(chosen))].sound, -20.0)
        parts += [np.zeros(round(rng.uniform(*pause) * RATE)), sound]
        left -= sum(map(len, parts[-2:]))
    return np.concatenate(parts)[: round(seconds * RATE)]


def noise(kind: str, seconds: float, dbfs: float, rng: np.random.Generator, babblers: Sequence[Take] = ()) -> Sound:
    """``kind``: white, pink (1/f, from 50 Hz), babble (24 recordings of ``babblers`` at once) or hum (50 Hz, its odd
    multiples, and a little white noise).
    """
    count = round(seconds * RATE)
    if kind == "white":
        sound = rng.normal(0, 1, count)
    elif kind == "pink":
        spectrum = np.fft.rfft(rng.normal(0, 1, count))
        hertz = np.fft.rfftfreq(count, 1 / RATE)
        sound = np.fft.irfft(spectrum / np.sqrt(np.maximum(hertz, 100)) * (hertz > 50), count)
    elif kind == "babble":
        sound = sum((talk(babblers or takes(), seconds, rng, (0.0, 0.3)) for _ in range(_BABBLERS)), np.zeros(count))
    elif kind == "hum":
        time = np.arange(count) / RATE
        sound = 0.03 * rng.normal(0, 1, count)
        for index, multiple in enumerate(range(1, 12, 2)):
            sound += np.sin(2 * np.pi * 50 * multiple * time + rng.uniform(0, 6.3)) / (index + 1)
    else:
        raise ValueError(f"no noise is called {kind}")
    return sound * (rms_of(dbfs) / np.sqrt(np.mean(sound**2)))

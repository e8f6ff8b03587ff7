"""Every criterion of ITU-T Q.24 that keys in the sound of a call must meet, and how often the receiver meets it.

The limits are those of AT&T in Q.24's table where the administrations differ. A cell is all sixteen keys, several times
each, at random phases of the frame and of both tones, coded and decoded by one G.711 law. Levels are per tone in dBm0:
a full-scale sine is 3.17 dBm0 (µ-law) or 3.14 (A-law), ITU-T G.711. The ratio of signal to noise is that of both tones
together to white noise up to 4 kHz.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.speech_bank import noise, takes, talk
from media import g711
from media.dtmf import COLUMNS, KEYS, ROWS, ToneReceiver
from media.frames import Samples, powers
from media.g711 import Law
from media.rates import FRAME, RATE

FULL_SCALE_DBM0 = {Law.PCMU: 3.17, Law.PCMA: 3.14}
NAMES = {Law.PCMU: "µ-law", Law.PCMA: "A-law"}

Sound = NDArray[np.float64]


def amplitude(dbm0: float, law: Law = Law.PCMU) -> float:
    """The peak of a sine at ``dbm0``, in 16-bit samples."""
    return float(32768 * 10 ** ((dbm0 - FULL_SCALE_DBM0[law]) / 20))


@dataclass(frozen=True, slots=True)
class Press:
    """A key as it might come: ``low`` and ``high`` off by these parts of their frequency, the high tone ``twist`` dB
    over the low one, the louder of them at ``dbm0``; ``count`` times with ``pause`` ms between.
    """

    ms: float = 60.0
    low: float = 0.0
    high: float = 0.0
    dbm0: float = -13.0
    twist: float = 0.0
    snr: float | None = None
    count: int = 1
    pause: float = 0.0

    def sound(self, key: str, law: Law, rng: np.random.Generator) -> Sound:
        """Samples, with silence (or noise) of random length before, and enough of it after."""
        place = KEYS.index(key)
        loud = amplitude(self.dbm0, law)
        peaks = loud * 10 ** (min(0.0, -self.twist) / 20), loud * 10 ** (min(0.0, self.twist) / 20)
        hertz = ROWS[place // 4] * (1 + self.low), COLUMNS[place % 4] * (1 + self.high)
        on, off = round(RATE * self.ms / 1000), round(RATE * self.pause / 1000)
        time = np.arange(on) / RATE
        lead = int(rng.integers(320, 480))
        sound = np.zeros(lead + self.count * (on + off) + 1000)
        for index in range(self.count):
            start = lead + index * (on + off)
            for peak, f in zip(peaks, hertz, strict=True):
                sound[start : start + on] += peak * np.sin(2 * np.pi * f * time + rng.uniform(0, 2 * np.pi))
        if self.snr is not None:
            sound += rng.normal(0, np.sqrt(sum(p * p / 2 for p in peaks) / 10 ** (self.snr / 10)), sound.size)
        return sound


@dataclass(frozen=True, slots=True)
class Criterion:
    """A row of the table. ``accept``: each press must be heard as ``expect`` presses, and what is heard otherwise
    counts against it; else nothing at all may be heard. ``goal``: whether the limits ask for it, or it is for
    information.
    """

    name: str
    presses: tuple[Press, ...]
    accept: bool = True
    expect: int = 1
    goal: bool = True


def _off_by(part: float) -> tuple[tuple[float, float], ...]:
    """(low, high): one of the tones off by ``part`` either way, or both in all ways."""
    return tuple((low, high) for low in (-part, 0.0, part) for high in (-part, 0.0, part) if low or high)


def _frequencies(part: float, **fields: float) -> tuple[Press, ...]:
    return tuple(Press(low=low, high=high, **fields) for low, high in _off_by(part))


def _one_off(part: float) -> tuple[Press, ...]:
    return tuple(Press(ms=100, low=low, high=high) for low, high in _off_by(part))


CRITERIA = (
    Criterion("nominal, 60 ms, −13 dBm0", (Press(),)),
    Criterion("frequency ±1.5 %, one tone or both", _frequencies(0.015)),
    Criterion("frequency ±1.5 %, in 40 ms", _frequencies(0.015, ms=40)),
    Criterion("frequency ±1.8 % (NTT)", _frequencies(0.018), goal=False),
    Criterion("tone of 40 ms", (Press(ms=40),)),
    Criterion("tone of 1 s is one press", (Press(ms=1000),)),
    Criterion("twist +4 dB", (Press(twist=4), Press(twist=4, ms=40))),
    Criterion("twist −8 dB", (Press(twist=-8), Press(twist=-8, ms=40))),
    Criterion("twist +8 dB", (Press(twist=8),), goal=False),
    Criterion("level −3 dBm0", (Press(dbm0=-3), Press(dbm0=-3, ms=40))),
    Criterion("level −25 dBm0", (Press(dbm0=-25), Press(dbm0=-25, ms=40))),
    Criterion(
        "level −25 dBm0, the other tone 4 or 8 dB over it", (Press(dbm0=-21, twist=4), Press(dbm0=-17, twist=-8))
    ),
    Criterion("15 dB over noise", (Press(snr=15),)),
    Criterion("15 dB over noise, 40 ms", (Press(snr=15, ms=40),)),
    Criterion(
        "15 dB over noise, ±1.5 %, twist +4 and −8 dB",
        (*_frequencies(0.015, snr=15, twist=4), *_frequencies(0.015, snr=15, twist=-8)),
        goal=False,
    ),
    Criterion(
        "all at once: 15 dB, ±1.5 %, +4 and −8 dB, 40 ms",
        (*_frequencies(0.015, snr=15, twist=4, ms=40), *_frequencies(0.015, snr=15, twist=-8, ms=40)),
        goal=False,
    ),
    Criterion("9 dB over noise", (Press(snr=9),), goal=False),
    Criterion("pause of 40 ms: two presses", (Press(count=2, pause=40), Press(count=2, pause=40, ms=40)), expect=2),
    Criterion("pause of 40 ms, 15 dB over noise", (Press(count=2, pause=40, ms=50, snr=15),), expect=2),
    Criterion("interruption of 10 ms is bridged", (Press(count=2, pause=10),)),
    Criterion("frequency ±3.5 %, one tone or both", _one_off(0.035), accept=False),
    Criterion("frequency ±3.5 %, 15 dB over noise", _frequencies(0.035, ms=100, snr=15), accept=False),
    Criterion("frequency ±3.0 % (NTT)", _one_off(0.03), accept=False, goal=False),
    Criterion("tone of 20 ms", (Press(ms=20),), accept=False),
    Criterion("tone of 20 ms, 15 dB over noise", (Press(ms=20, snr=15),), accept=False),
    Criterion("tone of 23 ms (AT&T)", (Press(ms=23),), accept=False, goal=False),
    Criterion("twist of ±11 dB", (Press(ms=100, twist=11), Press(ms=100, twist=-11)), accept=False, goal=False),
    Criterion("level −50 dBm0", (Press(ms=100, dbm0=-50),), accept=False, goal=False),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of a criterion under a law: ``right`` of ``presses``."""

    criterion: Criterion
    law: Law
    right: int
    presses: int

    @property
    def percent(self) -> float:
        """Percent of the presses that were heard (or, where none should be, that were)."""
        share = 100 * self.right / self.presses
        return share if self.criterion.accept else 100 - share


def coded(sound: NDArray[np.floating] | Samples, law: Law) -> Samples:
    """``sound`` as a call carries it."""
    linear = np.clip(np.rint(sound), -32768, 32767).astype(np.int16)
    return g711.decode(g711.encode(np.ascontiguousarray(linear), law), law)


def keys_in(sounds: Sequence[Samples]) -> list[str]:
    """The keys that one receiver finds in several streams at once."""
    length = -(-max(map(len, sounds)) // FRAME) * FRAME
    linear = np.zeros((len(sounds), length), np.int16)
    for row, sound in zip(linear, sounds, strict=True):
        row[: len(sound)] = sound
    keys = [""] * len(sounds)
    for row, _, key in presses_in(linear.reshape(len(sounds), -1, FRAME)):
        keys[row] += key
    return keys


def presses_in(frames: Samples) -> Iterator[tuple[int, int, str]]:
    """(stream, frame, key) of each press in sound of the shape (streams, frames, FRAME)."""
    streams = np.arange(len(frames))
    last = np.zeros((len(frames), FRAME), np.int16)
    receiver = ToneReceiver(len(frames), lambda slots: last[slots])
    for index in range(frames.shape[1]):
        now = np.ascontiguousarray(frames[:, index])
        for stream, key in receiver.feed(streams, now, powers(now)):
            yield stream, index, key
        last = now


def measure(criterion: Criterion, law: Law, times: int, seed: int = 1) -> Cell:
    """Each key ``times`` in each way that ``criterion`` names."""
    rng = np.random.default_rng(seed)
    wanted, sounds = [], []
    for press in criterion.presses:
        for key in KEYS * times:
            wanted.append(key * criterion.expect if criterion.accept else "")
            sounds.append(coded(press.sound(key, law, rng), law))
    heard = keys_in(sounds)
    right = sum(got == want for got, want in zip(heard, wanted, strict=True))
    return Cell(criterion, law, right, len(wanted))


def sweep(times: int, *, advance: Callable[[str], None] = lambda _: None) -> Iterator[tuple[Cell, ...]]:
    """A row of cells, one of each law, for each criterion; the fewer ways a criterion has, the oftener each."""
    for criterion in CRITERIA:
        advance(criterion.name)
        each = max(1, round(8 * times / len(criterion.presses)))
        yield tuple(measure(criterion, law, each) for law in Law)


def table(rows: Iterable[tuple[Cell, ...]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of text."""
    head = ["criterion", "wanted", *(NAMES[law] for law in Law), "presses, each"]
    lines = []
    for row in rows:
        criterion = row[0].criterion
        wanted = ("heard" if criterion.accept else "not heard") + ("" if criterion.goal else " (not asked for)")
        lines.append([criterion.name, wanted, *(f"{cell.percent:.1f} %" for cell in row), str(row[0].presses)])
    return head, lines


TALKERS = 30


def talk_off(hours: float, seed: int = 1) -> list[str]:
    """Keys heard in ``hours`` of all the recorded speech, by TALKERS side by side: in random order, each recording at
    a random level from -30 to -10 dBFS, in white, pink or hum noise 10 to 40 dB below -20 dBFS. None should be.
    """
    rng = np.random.default_rng(seed)
    seconds = hours * 3600 / TALKERS
    streams = []
    for talker in range(TALKERS):
        parts, left = [], seconds
        while left > 0:
            part = talk(takes(), min(left, 30.0), rng, (0.0, 0.3)) * 10 ** (rng.uniform(-10, 10) / 20)
            parts.append(part)
            left -= len(part) / RATE
        sound = np.concatenate(parts)
        sound = sound[: len(sound) // FRAME * FRAME]
        kind, below = ("white", "pink", "hum")[talker % 3], (10, 20, 30, 40)[talker % 4]
        sound += noise(kind, len(sound) / RATE, -20.0 - below, rng)
        streams.append(coded(sound, list(Law)[talker % 2]).reshape(-1, FRAME))
    return [key for _, _, key in presses_in(np.stack(streams))]

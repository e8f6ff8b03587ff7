"""Tones that stay what they are for a while, in the sound of many streams at once: beeps of answering machines,
ringback and other call progress tones (ITU-T E.180), special information tones, fax.

A frame that is about as loud as the one before it is looked at together with that: 40 ms, one Fourier transform. It is
tonal when nearly all of its power lies near one frequency or near two. Several such windows in a row with the same
frequency are a tone; then a longer transform says whether it is a single one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.frames import Flags, Powers, Samples, Slots, power, some
from media.rates import FRAME, RATE

LEAST = 5
"""Windows in a row that make a tone: 120 ms of it. One of 150 ms fills as many wherever its frames begin."""

QUIETEST = power(-42.0)
"""Power of a frame below which no tone is looked for."""

STEADY = 10 ** (2.5 / 10)
"""Ratio of the powers of two frames of a tone; that of two tones that beat is within it."""

ONE = 0.8
"""Share of the power that a single tone has."""

TWO = 0.9
"""Share of the power that two tones have together."""

DRIFT = 12.0
"""Hz by which a window of a tone may be off the mean of those before it: that of two tones that beat moves as much."""

WANDER = 1.5
"""The same for a single tone: a machine holds its pitch, a voice does not."""

VOICES, ONE_AMONG_VOICES = 520.0, 0.9
"""Hz below which voices have harmonics that may outdo all others, and the share that a single tone must have there."""

SECOND = 0.02
"""Share of the power from which on a second tone, which has most of what the first one leaves, is one."""

_LOWEST, _HIGHEST = 300.0, 3400.0
_LOBE = 2  # the main lobe of a Hann window reaches two bins to either side

_Spectra = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tone:
    """A tone of ``slot`` that is over after ``frames`` frames. ``single``: a sine, with harmonics at most; otherwise
    ``hertz`` is the mean of two.
    """

    slot: int
    hertz: float
    frames: int
    single: bool


class _Analyser:
    """Peaks in the spectra of windows of ``length`` samples."""

    def __init__(self, length: int) -> None:
        self._taper = np.hanning(length + 1)[:-1].astype(np.float32)
        self.bin = RATE / length
        self._band = slice(int(_LOWEST / self.bin), int(_HIGHEST / self.bin) + 1)

    def spectra(self, sound: NDArray[np.float32]) -> _Spectra:
        """Powers by frequency: (n, length) to (n, length / 2 + 1)."""
        lines = np.fft.rfft(sound * self._taper, axis=1)
        return (lines.real**2 + lines.imag**2).astype(np.float32)

    def take_peak(self, spectra: _Spectra, wipe: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Power and frequency (Hz) of the highest peak of each row, which is zero there and ``wipe`` bins to
        either side afterwards.
        """
        rows = np.arange(len(spectra))[:, None]
        place = spectra[:, self._band].argmax(axis=1) + self._band.start
        around = place[:, None] + np.arange(-_LOBE, _LOBE + 1)
        lobe = spectra[rows, around]
        powers = lobe.sum(axis=1)
        hertz = (lobe * around).sum(axis=1) / np.maximum(powers, np.float32(1e-6)) * np.float32(self.bin)
        spectra[rows, place[:, None] + np.arange(-wipe, wipe + 1)] = 0
        return powers, hertz.astype(np.float32)


_SHORT = _Analyser(2 * FRAME)
_LONG = _Analyser(LEAST * FRAME)


def single_tone(sound: Samples) -> tuple[bool, float]:
    """Whether LEAST frames in a row are one sine, and its frequency."""
    spectra = _LONG.spectra(sound.astype(np.float32)[None])
    total = max(float(spectra.sum()), 1.0)
    first, hertz = (float(figure[0]) for figure in _LONG.take_peak(spectra, 2 * _LOBE))
    second, other = (float(figure[0]) for figure in _LONG.take_peak(spectra, 2 * _LOBE))
    if first < (ONE_AMONG_VOICES if hertz < VOICES else ONE) * total:
        return False, hertz
    times = other / max(hertz, 1.0)
    is_harmonic = times > 1.5 and abs(times - round(times)) < 0.02 * times
    is_tone = second >= SECOND * total and second >= 0.5 * (total - first)
    return is_harmonic or not is_tone, hertz


class SteadyTones:
    """The tones of all streams of a worker."""

    def __init__(
        self, capacity: int, before: Callable[[Slots], Samples], history: Callable[[int, int], Samples]
    ) -> None:
        """``before``: the frames that came before those that are fed; ``history``: of a slot so many frames, as one
        piece, up to and with the one that is fed.
        """
        self._before = before
        self._history = history
        self._level: Powers = np.zeros(capacity, np.float32)
        self._run: NDArray[np.int32] = np.zeros(capacity, np.int32)
        self._hertz: NDArray[np.float32] = np.zeros(capacity, np.float32)
        self._wander: NDArray[np.float32] = np.zeros(capacity, np.float32)
        self._single: dict[int, float] = {}

    def open(self, slot: int) -> None:
        """Forget what an earlier stream left in ``slot``."""
        self._level[slot] = self._run[slot] = 0
        self._single.pop(slot, None)

    def begun(self, slot: int) -> bool:
        """Whether the last windows of ``slot`` may become a tone."""
        return bool(self._run[slot])

    def feed(self, slots: Slots, frames: Samples, levels: Powers) -> tuple[Flags, list[Tone]]:
        """One frame for each of ``slots``, with its power: (which of them are in a tone, tones that are over)."""
        last = self._level[slots]
        self._level[slots] = levels
        run = self._run[slots]
        steady = (levels > QUIETEST) & (levels < last * np.float32(STEADY)) & (last < levels * np.float32(STEADY))
        if not (some(steady) or some(run)):
            return steady, []
        mean, hertz = self._hertz[slots], np.zeros(slots.size, np.float32)
        if some(steady):
            chosen = slots[steady]
            sound = np.concatenate([self._before(chosen), frames[steady]], axis=1)
            rows = np.flatnonzero(steady)
            steady[rows], hertz[rows] = _tonal(sound)
        off = np.abs(hertz - mean)
        same = steady & (run > 0) & (off <= DRIFT)
        over = [self._end(slot) for slot in slots[(run >= LEAST) & ~same].tolist()]
        run = np.where(same, run + 1, steady)
        self._hertz[slots] = np.where(same, mean + (hertz - mean) / np.maximum(run, 1), hertz)
        self._run[slots] = run
        self._wander[slots] = np.where(same, np.maximum(self._wander[slots], off), 0)
        for slot in slots[(run == LEAST) & (self._wander[slots] <= WANDER)].tolist():
            single, exactly = single_tone(self._history(slot, LEAST))
            if single:
                self._single[slot] = exactly
        return run >= LEAST, over

    def _end(self, slot: int) -> Tone:
        exactly = self._single.pop(slot, None)
        hertz = float(self._hertz[slot]) if exactly is None else exactly
        return Tone(slot, hertz, int(self._run[slot]) + 1, exactly is not None)


def _tonal(sound: Samples) -> tuple[Flags, NDArray[np.float32]]:
    """Of pairs of frames, which are one tone or two, and of these the (mean) frequency: (n, 320) to (n,) twice."""
    spectra = _SHORT.spectra(sound.astype(np.float32))
    total = spectra.sum(axis=1)
    first, hertz = _SHORT.take_peak(spectra, _LOBE)
    one = first >= np.float32(ONE) * total
    second, other = _SHORT.take_peak(spectra, _LOBE)
    both = first + second
    mean = (hertz * first + other * second) / np.maximum(both, np.float32(1e-6))
    return one | (both >= np.float32(TWO) * total), np.where(one, hertz, mean)

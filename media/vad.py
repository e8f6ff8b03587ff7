"""Speech or not, by level over a noise floor that minimum statistics follow; many streams at once.

The floor is the least smoothed power of the last 1.4 s: speech has gaps, noise has none. A frame well above it is
*voiced*; three of five voiced frames begin speech, 300 ms without one end it. How far above depends on the unrest of
the noise, which is how far its frames lie above its floor on average: a fan is steady, a room full of people is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.frames import Flags, Floats, Powers, Slots, level, power, some
from media.rates import FRAME_SECONDS

SILENCE_FRAMES = 15
"""Frames without voice after which speech has ended: 300 ms."""

QUIETEST = power(-46.0)
"""Power that is never voice, whatever the floor."""

OVER_FLOOR = 10 ** (9.0 / 10)
"""A frame this much over the floor is voiced, where the noise is steady; within speech 3 dB less will do."""

OVER_UNREST = 10 ** (7.0 / 10)
"""In noise that is less steady, a frame must be this much over the mean of what is no speech."""

MOST_OVER_FLOOR = 10 ** (13.0 / 10)
"""More than this over the floor is not asked for."""

WITHIN_SPEECH = 0.5
_LOUDEST_FIRST_FLOOR = power(-36.0)
_LEAST_FLOOR = power(-75.0)
_LEADING = 4
"""Frames of digital silence, before the first packet is due, that say nothing about the floor."""

_SMOOTHING = np.float32(0.6)
_UNREST_SMOOTHING = np.float32(0.02)  # a mean over one second
_SPAN = 10
_SPANS = 7
_ENOUGH = np.array([bits.bit_count() >= 3 for bits in range(32)])


@dataclass(frozen=True, slots=True)
class Speech:
    """Speech of one stream from ``since`` to ``until`` (seconds), with its mean level."""

    slot: int
    since: float
    until: float
    dbfs: float


class SpeechDetector:
    """The detectors of all streams of a worker. ``speaking`` says which slots are in speech."""

    def __init__(self, capacity: int) -> None:
        self.speaking: Flags = np.zeros(capacity, np.bool_)
        self.since: Floats = np.zeros(capacity)
        self._until: Floats = np.zeros(capacity)
        self._recent: NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self._silent: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._sum: Floats = np.zeros(capacity)
        self._voiced: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._smooth: Powers = np.zeros(capacity, np.float32)
        self._least: Powers = np.full(capacity, np.inf, np.float32)
        self._minima: Powers = np.zeros((capacity, _SPANS), np.float32)
        self._floor: Powers = np.zeros(capacity, np.float32)
        self._unrest: Powers = np.ones(capacity, np.float32)
        self._frames: NDArray[np.int64] = np.zeros(capacity, np.int64)

    def open(self, slot: int) -> None:
        """Forget what an earlier stream left in ``slot``."""
        self.calm(slot)
        self._smooth[slot] = 0
        self._least[slot] = np.inf
        self._minima[slot] = _LOUDEST_FIRST_FLOOR  # until it is known, the floor is what was heard first
        self._floor[slot] = _LOUDEST_FIRST_FLOOR
        self._unrest[slot] = 1
        self._frames[slot] = -_LEADING

    def calm(self, slot: int) -> None:
        """Leave speech, if in any; the floor stays. What goes on sounding begins speech anew."""
        self.speaking[slot] = False
        self._recent[slot] = 0

    def voiced(self, slots: Slots, levels: Powers) -> Flags:
        """Which of the frames with these powers are loud enough to be voice; the floors follow."""
        frames = self._frames[slots]
        if frames.min(initial=0) < 0 and (waiting := (frames < 0) & (levels == 0)).any():
            self._frames[slots[waiting]] += 1
            voiced = np.zeros(slots.size, np.bool_)
            voiced[~waiting] = self.voiced(slots[~waiting], levels[~waiting])
            return voiced
        smooth = self._smooth[slots]
        smooth += (levels - smooth) * _SMOOTHING
        self._smooth[slots] = smooth
        self._least[slots] = np.minimum(self._least[slots], smooth)
        frames = np.maximum(frames, 0) + 1
        self._frames[slots] = frames
        full = slots[frames % _SPAN == 0]
        if full.size:
            self._minima[full, self._frames[full] // _SPAN % _SPANS] = self._least[full]
            self._least[full] = np.inf
            self._floor[full] = np.maximum(self._minima[full].min(axis=1), np.float32(_LEAST_FLOOR))
        floor = np.minimum(self._floor[slots], np.maximum(self._least[slots], np.float32(_LEAST_FLOOR)))
        unrest, speaking = self._unrest[slots], self.speaking[slots]
        factor = unrest * np.float32(OVER_UNREST)
        np.minimum(np.maximum(factor, np.float32(OVER_FLOOR), out=factor), np.float32(MOST_OVER_FLOOR), out=factor)
        over = levels / floor
        quiet = (over <= factor) & ~speaking
        self._unrest[slots] = unrest + quiet * (over - unrest) * _UNREST_SMOOTHING
        factor[speaking] *= np.float32(WITHIN_SPEECH)
        return (over > factor) & (levels > np.float32(QUIETEST))

    def feed(self, slots: Slots, voiced: Flags, levels: Powers, now: float) -> tuple[list[int], list[Speech]]:
        """One frame, just heard, for each of ``slots``: (slots in which speech began, speech that ended)."""
        recent = (self._recent[slots] << 1 | voiced) & 31
        self._recent[slots] = recent
        speaking = self.speaking[slots]
        begun = slots[_ENOUGH[recent] & ~speaking]
        if begun.size:
            self.speaking[begun] = True
            self.since[begun] = now - 3 * FRAME_SECONDS
            self._silent[begun] = self._voiced[begun] = 0
            self._sum[begun] = 0
        self._silent[slots] = np.where(voiced, 0, self._silent[slots] + 1)
        loud = slots[voiced]
        if loud.size:
            self._until[loud] = now
            self._sum[loud] += levels[voiced]
            self._voiced[loud] += 1
        ended: list[Speech] = []
        if not some(speaking):
            return begun.tolist(), ended
        over = slots[speaking & (self._silent[slots] >= SILENCE_FRAMES)]
        for slot in over.tolist():
            mean = float(self._sum[slot]) / max(1, int(self._voiced[slot]))
            ended.append(Speech(slot, float(self.since[slot]), float(self._until[slot]), level(mean)))
            self.calm(slot)
        return begun.tolist(), ended

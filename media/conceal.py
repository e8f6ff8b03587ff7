"""Lost frames made up from what was heard before, in the spirit of ITU-T G.711 Appendix I; many streams at once.

The last pitch period before the gap is found by normalised cross-correlation and repeated. Its end is overlapped with
that of the period before it, so that its repetitions join, and its beginning is bent to where the sound stopped. Sound
without a pitch repeats its last frame. From 10 ms on it fades; after 60 ms there is silence. The first good frame is
faded into, from what would have come next.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from media.rates import FRAME

LONGEST = 3
"""Frames that are made up; after them there is silence."""

HISTORY = 2 * FRAME
"""Samples before a gap that are looked at."""

SHORTEST_PERIOD = 40
LONGEST_PERIOD = 120
"""5 and 15 ms in samples: a pitch of 200 down to 67 Hz; of a higher one two or three periods are taken for one."""

MAX_SEARCHES = 24
"""Periods that are looked for at a time, at most: an outage of all streams costs a part of a tick and no more."""

CROSS_FADE = 32
"""Samples over which the first good frame takes over: 4 ms."""

NO_PITCH = FRAME
"""Instead of a period: the last frame is repeated."""

_PITCHED = 0.5
"""A normalised correlation below this is no pitch."""

_FULL = 80
_BEND = 24
_BLEND = 4
"""The overlap is this part of a period."""

_Sound: TypeAlias = NDArray[np.float32]
_Counts: TypeAlias = NDArray[np.int64]

_LENGTH = FRAME + CROSS_FADE
_PLACES = np.arange(_LENGTH)
_SINCE = np.arange(LONGEST)[:, None] * FRAME + _PLACES
_GAIN: _Sound = np.clip((LONGEST * FRAME - _SINCE) / (LONGEST * FRAME - _FULL), 0, 1).astype(np.float32)
_RISE: _Sound = ((np.arange(CROSS_FADE) + 0.5) / CROSS_FADE).astype(np.float32)
_STRAIGHTEN: _Sound = (1 - np.arange(1, _BEND + 1) / (_BEND + 1)).astype(np.float32)


def periods(history: Samples) -> _Counts:
    """The pitch period, in samples, of each row of ``history`` (streams, HISTORY); NO_PITCH where there is none. Rows
    after the first MAX_SEARCHES count as without pitch, unseen.
    """
    found = np.full(len(history), NO_PITCH, np.int64)
    sound = history[:MAX_SEARCHES].astype(np.float32)
    energy = np.zeros((len(sound), HISTORY + 1))
    np.cumsum(sound * sound, axis=1, dtype=np.float64, out=energy[:, 1:])
    first, last = FRAME - LONGEST_PERIOD, FRAME - SHORTEST_PERIOD  # where the frame before may begin
    earlier = energy[:, first + FRAME : last + FRAME + 1] - energy[:, first : last + 1]
    earlier *= energy[:, -1:] - energy[:, FRAME : FRAME + 1]
    scale = np.sqrt(np.maximum(earlier, 1.0, out=earlier), out=earlier)
    for row, each in enumerate(sound):
        likeness = np.correlate(each[first : last + FRAME], each[FRAME:], "valid") / scale[row]
        best = int(likeness.argmax())
        if likeness[best] >= _PITCHED:
            found[row] = LONGEST_PERIOD - best
    return found


def continuation(history: Samples, period: _Counts, gap: _Counts) -> Samples:
    """Frame ``gap`` (from 0) of a gap that begins after ``history`` (streams, HISTORY), and CROSS_FADE samples more."""
    made: _Sound
    pitched = period != NO_PITCH
    if pitched.all():
        made = _repeat_period(history, period, gap)
    else:
        made = np.empty((len(history), _LENGTH), np.float32)
        made[:, :FRAME] = history[:, FRAME:]
        made[:, FRAME:] = history[:, FRAME : FRAME + CROSS_FADE]
        if pitched.any():
            made[pitched] = _repeat_period(history[pitched], period[pitched], gap[pitched])
    first = gap == 0
    if not first.all():
        first |= ~pitched
    step = (history[:, -1].astype(np.float32) - history[np.arange(len(history)), HISTORY - 1 - period]) * first
    made[:, :_BEND] += step[:, None] * _STRAIGHTEN
    made *= _GAIN.take(gap, axis=0)
    return _to_samples(made)


def _repeat_period(history: Samples, period: _Counts, gap: _Counts) -> _Sound:
    length = period[:, None]
    phase = (gap[:, None] * FRAME + _PLACES) % length
    place = phase + (np.arange(1, len(history) + 1) * HISTORY - period)[:, None]
    flat = history.reshape(-1)
    last = flat.take(place).astype(np.float32)
    blend = length // _BLEND
    share = ((phase - (length - blend)) / blend).astype(np.float32)
    np.maximum(share, 0, out=share)
    share *= flat.take(place - length) - last
    last += share
    return last


def _to_samples(sound: _Sound) -> Samples:
    """Rounded, saturated at full scale; ``sound`` is used up."""
    np.rint(sound, out=sound)
    np.maximum(sound, -32768, out=sound)
    np.minimum(sound, 32767, out=sound)
    return sound.astype(np.int16)


def take_over(good: Samples, made: Samples) -> Samples:
    """The first CROSS_FADE samples of frames that are ``good`` again, after what was ``made`` up for them."""
    return _to_samples(made + (good - made.astype(np.float32)) * _RISE)

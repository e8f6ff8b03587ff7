"""Levels of recorded sound: measuring, trimming, bringing to one loudness, limiting.

Samples are one-dimensional ``float32`` arrays with full scale at ±1. Levels are RMS in dBFS,
0 being a signal that sits at full scale (so a full-scale sine is at −3), which is what
telephony calls dBov. Pure numpy; used when prompts are made, never while a call runs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

TARGET_DBFS = -20.0
"""Active speech level of every prompt."""

CEILING_DBFS = -1.0
"""No sample of a levelled prompt is louder than this."""

MARGIN_DB = 15.9
"""What lies this far below the active level is a pause (ITU-T P.56, margin M)."""

_FRAME = 0.020
_LOOK_AHEAD = 0.005


def active_level(samples: Samples, rate: int) -> float:
    """Level of the sound without its pauses, in dBFS; ``-inf`` when there is no sound.

    ITU-T P.56 in spirit: the mean power of the frames that lie no more than 15.9 dB below
    that mean, found by iteration, but over 20 ms frames instead of a running envelope.
    """
    power = _frame_power(samples, max(1, int(rate * _FRAME)))
    mean = float(power.mean()) if power.size else 0.0
    while mean > 0.0:
        higher = float(power[power >= mean * 10 ** (-MARGIN_DB / 10)].mean())
        if higher <= mean * 1.0001:
            break
        mean = higher
    return 10 * math.log10(mean) if mean > 1e-12 else -math.inf


def trim(samples: Samples, rate: int, *, lead: float = 0.010, tail: float = 0.100) -> Samples:
    """Cut silence at both ends, but for ``lead`` and ``tail`` seconds; empty if all is silence.

    Silence is what stays 40 dB below the active level. The ends are faded over 5 ms, within the lead, which
    is made up of silence where the sound has none.
    """
    level = active_level(samples, rate)
    if level == -math.inf:
        return np.zeros(0, np.float32)
    hop = max(1, int(rate * 0.005))
    peaks = _frame_power(samples, hop)
    loud = np.flatnonzero(peaks > 10 ** ((level - 40) / 10))
    if not loud.size:
        return np.zeros(0, np.float32)
    start = int(loud[0]) * hop - int(lead * rate)
    stop = min(samples.size, (int(loud[-1]) + 1) * hop + int(tail * rate))
    return fade(np.concatenate([np.zeros(max(0, -start), np.float32), samples[max(0, start) : stop]]), rate)


def fade(samples: Samples, rate: int, *, seconds: float = 0.005) -> Samples:
    """A copy that rises from silence in its first ``seconds`` and sinks into it in its last: it begins and ends
    without a click.
    """
    faded = samples.copy()
    ramp = np.linspace(0.0, 1.0, min(int(seconds * rate), samples.size // 2), endpoint=False, dtype=np.float32)
    if ramp.size:
        faded[: ramp.size] *= ramp
        faded[-ramp.size :] *= ramp[::-1]
    return faded


def limit(samples: Samples, rate: int, *, ceiling: float = CEILING_DBFS) -> Samples:
    """Turn down what exceeds ``ceiling`` (dBFS), with a look-ahead of 5 ms and no distortion of the rest.

    The gain is the smallest that a neighbourhood of each sample needs, smoothed over that same
    neighbourhood: it has come down when the peak arrives, and never clips.
    """
    top = 10 ** (ceiling / 20)
    if not samples.size or float(np.abs(samples).max()) <= top:
        return samples
    reach = max(1, int(rate * _LOOK_AHEAD))
    needed = np.minimum(1.0, top / np.maximum(np.abs(samples), 1e-9))
    lowest = _running_minimum(needed, reach)
    window = np.hanning(2 * reach + 3)[1:-1]
    gain = np.convolve(np.pad(lowest, reach, mode="edge"), window / window.sum(), mode="valid")
    return np.clip(samples * gain, -top, top).astype(np.float32)


def normalise(
    samples: Samples, rate: int, *, target: float = TARGET_DBFS, tolerance: float = 0.0, boost: float = 60.0
) -> Samples:
    """Bring the active level to ``target`` dBFS and keep peaks under the ceiling.

    What lies within ``tolerance`` dB already keeps its level; nothing is turned up by more than
    ``boost`` dB. Limiting costs level, which is given back in up to three rounds.
    """
    level = active_level(samples, rate)
    if level == -math.inf:
        return samples
    if abs(level - target) <= tolerance:
        return limit(samples, rate)
    goal = min(target, level + boost)
    for _ in range(3):
        gain = 10 ** ((goal - level) / 20)
        samples = limit((samples * gain).astype(np.float32), rate)
        level = active_level(samples, rate)
        if abs(level - goal) < 0.5:
            break
    return samples


def to_int16(samples: Samples) -> NDArray[np.int16]:
    """16-bit samples, rounded, saturated at full scale."""
    scaled: NDArray[np.float64] = np.rint(np.nan_to_num(samples) * 32767.0)
    return scaled.clip(-32768, 32767).astype(np.int16)


def _frame_power(samples: Samples, size: int) -> NDArray[np.float64]:
    """Mean power of each whole frame; of all samples when they do not fill one frame."""
    count = samples.size // size
    if not count:
        return np.array([np.mean(np.square(samples, dtype=np.float64))]) if samples.size else np.zeros(0)
    frames = samples[: count * size].reshape(count, size)
    return np.asarray(np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / size)


def _running_minimum(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Minimum over ``reach`` values to both sides, in O(n log reach): windows of doubled width."""
    width = 2 * reach + 1
    lowest = np.pad(values, reach, mode="edge")
    covered = 1
    while covered < width:
        step = min(covered, width - covered)
        lowest = np.minimum(lowest[:-step], lowest[step:])
        covered += step
    return lowest

"""What all kernels agree on: batches of frames, slots, levels.

*Slots* are row numbers: every open stream of a worker owns one row in each kernel's arrays, and a
kernel works on the rows of many streams at a time. A batch never names a slot twice.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from media.rates import FRAME

Samples: TypeAlias = NDArray[np.int16]
"""Linear sound, one sample per element; a batch of frames has the shape (streams, FRAME)."""

Octets: TypeAlias = NDArray[np.uint8]
Slots: TypeAlias = NDArray[np.intp]
Flags: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]
Powers: TypeAlias = NDArray[np.float32]
"""Mean square of samples (full-scale square wave: 32768 ** 2)."""

FULL_SCALE = 32768.0**2 / 2
"""Power of a sine whose peak is at full scale: 0 dBFS."""

NO_SLOTS: Slots = np.zeros(0, np.intp)
NO_SOUND: Samples = np.zeros((0, FRAME), np.int16)


def some(flags: NDArray[Any]) -> bool:
    """Whether any is set: ``flags.any()`` takes four times as long over the few that a batch has."""
    return bool(np.count_nonzero(flags))


def every(flags: NDArray[Any]) -> bool:
    """Whether none is unset, also when there are none."""
    return bool(np.count_nonzero(flags) == flags.size)


def power(dbfs: float) -> float:
    """The power of a level in dBFS."""
    return float(FULL_SCALE * 10 ** (dbfs / 10))


def level(mean_square: float) -> float:
    """The level in dBFS of a power; digital silence counts as -100."""
    return max(-100.0, 10 * math.log10(max(mean_square, 1e-9) / FULL_SCALE))


def powers(frames: Samples) -> Powers:
    """Mean square of each frame of a batch (streams, samples)."""
    loud = frames.astype(np.float32)
    sums: Powers = np.einsum("ij,ij->i", loud, loud)
    return sums / np.float32(frames.shape[1])


def added(slots: Slots, frames: Samples, others: Slots, sounds: Samples) -> tuple[Slots, Samples]:
    """``frames`` of ``slots`` and ``sounds`` of ``others``, added up where both have one, saturated."""
    if not slots.size:
        return others, sounds
    both = np.union1d(slots, others)
    total = np.zeros((both.size, frames.shape[1]), np.int32)
    total[np.searchsorted(both, slots)] = frames
    total[np.searchsorted(both, others)] += sounds
    return both, total.clip(-32768, 32767).astype(np.int16)

"""Between 8 and 16 kHz, frame by frame for many streams at a time: one halfband filter that goes both ways.

Every second tap of a halfband filter is zero and the middle one is a half, so that a polyphase step up or down is one
short filter over one of two phases, and a delay for the other. Each step delays the sound by 1.4 or 1.5 ms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples, Slots
from media.rates import FRAME

_SIDE = 12
"""Taps on each side of the middle that are not zero."""

_REST = 2 * _SIDE - 1
"""Samples of a phase that the next frame needs again."""


def _taps() -> NDArray[np.float32]:
    """One side of the filter, from the middle outwards: a windowed sinc, whose gain at 0 Hz is exact."""
    places = 2 * np.arange(_SIDE) + 1
    window = np.i0(6.0 * np.sqrt(1 - (places / (2 * _SIDE)) ** 2)) / np.i0(6.0)
    taps = np.sin(np.pi * places / 2) / (np.pi * places) * window
    return np.asarray(taps * 0.25 / taps.sum(), np.float32)


_TAPS = _taps()


def _filter(phase: NDArray[np.float32]) -> NDArray[np.float32]:
    """The filter without its middle tap over rows of samples; each is shorter by _REST then."""
    size = phase.shape[1] - _REST
    total = np.zeros((phase.shape[0], size), np.float32)
    for number, tap in enumerate(_TAPS):
        before, after = _SIDE - 1 - number, _SIDE + number
        total += tap * (phase[:, before : before + size] + phase[:, after : after + size])
    return total


def _samples(values: NDArray[np.float32]) -> Samples:
    return np.rint(values).clip(-32768, 32767).astype(np.int16)


class Upsampler:
    """From (streams, FRAME) at 8 kHz to (streams, 2 * FRAME) at 16 kHz; remembers each slot's last frame."""

    def __init__(self, capacity: int) -> None:
        self._rest: NDArray[np.float32] = np.zeros((capacity, _REST), np.float32)

    def reset(self, slots: Slots) -> None:
        """What comes next in ``slots`` follows silence."""
        self._rest[slots] = 0

    def feed(self, slots: Slots, frames: Samples) -> Samples:
        """The next frame of each of ``slots``."""
        phase = np.concatenate([self._rest[slots], frames], axis=1, dtype=np.float32)
        self._rest[slots] = phase[:, -_REST:]
        wide = np.empty((slots.size, 2 * FRAME), np.float32)
        wide[:, 0::2] = phase[:, _SIDE - 1 : _SIDE - 1 + FRAME]
        wide[:, 1::2] = 2 * _filter(phase)
        return _samples(wide)


class Downsampler:
    """From (streams, 2 * FRAME) at 16 kHz to (streams, FRAME) at 8 kHz; remembers each slot's last frame."""

    def __init__(self, capacity: int) -> None:
        self._rest: NDArray[np.float32] = np.zeros((capacity, 2, _REST), np.float32)

    def reset(self, slots: Slots) -> None:
        """What comes next in ``slots`` follows silence."""
        self._rest[slots] = 0

    def feed(self, slots: Slots, frames: Samples) -> Samples:
        """The next frame of each of ``slots``."""
        even = np.concatenate([self._rest[slots, 0], frames[:, 0::2]], axis=1, dtype=np.float32)
        odd = np.concatenate([self._rest[slots, 1], frames[:, 1::2]], axis=1, dtype=np.float32)
        self._rest[slots, 0], self._rest[slots, 1] = even[:, -_REST:], odd[:, -_REST:]
        return _samples(0.5 * even[:, _SIDE : _SIDE + FRAME] + _filter(odd))

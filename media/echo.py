"""The echo gate: what we play must not come back as speech of the caller.

A line echoes 6 dB or more below what was sent, some tens to hundreds of milliseconds later. A frame louder than that is
the caller. A weaker one, while or shortly after something is played, is compared with what was sent: when one
shift of it explains half of the power received, it is echo.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from media.frames import Flags, Powers, Samples, Slots, power
from media.rates import FRAME

LONGEST_FRAMES = 20
"""Frames (400 ms) after which no echo is expected any more."""

BLOCK_FRAMES = 6
"""Frames of received sound that are compared."""

LOUDEST = 10 ** (-6.0 / 10)
"""Echo is never louder than this part of what was played."""

FAINTEST = 10 ** (-28.0 / 10)
"""What is fainter than this part of what is being played is not listened to."""

EXPLAINED = 0.4
"""Part of the received power that some shift of the sent sound must explain to be echo: of unrelated speech, the
best of all shifts explains less than 0.36 in 95 of 100 blocks."""

EXPLAINED_AGAIN = 0.25
"""The part that is enough at the shift found before. A caller 6 dB louder than the echo still gets through."""

HEARABLE = power(-50.0)
"""Below this played level nothing can echo."""

SEARCH_EVERY = 3
"""Frames between two searches over all shifts; in between, the shift found last is tried."""

MAX_TESTS = 20
"""Frames that are compared in one tick at most, those first whose last verdict is the oldest: an attack on the
processor, by many callers who sing along, costs a part of a tick and no more."""

_NEIGHBOURS = 16
_HISTORY = 32
_BLOCK = BLOCK_FRAMES * FRAME
_SHIFTS = LONGEST_FRAMES * FRAME
_TRANSFORM = 5120  # >= _BLOCK + _SHIFTS + 1, and quick to transform


def correlate(received: NDArray[np.float32], sent: NDArray[np.float32]) -> NDArray[np.float32]:
    """Part of the power of ``received`` (_BLOCK samples) that each shift of ``sent`` explains.

    ``sent`` holds _BLOCK + _SHIFTS samples and ends at the same time as ``received``; element ``i`` of the result
    stands for ``sent[i : i + _BLOCK]``, which is a delay of _SHIFTS - i samples.
    """
    spectrum = np.fft.rfft(sent, _TRANSFORM) * np.fft.rfft(received, _TRANSFORM).conj()
    products = np.fft.irfft(spectrum, _TRANSFORM)[: _SHIFTS + 1]
    return _explained(products.astype(np.float32), received, sent)


def _explained(
    products: NDArray[np.float32], received: NDArray[np.float32], sent: NDArray[np.float32]
) -> NDArray[np.float32]:
    squares = sent * sent
    energies = np.empty(products.size, np.float64)
    energies[0] = squares[:_BLOCK].sum(dtype=np.float64)
    np.cumsum(squares[_BLOCK:] - squares[: products.size - 1], dtype=np.float64, out=energies[1:])
    energies[1:] += energies[0]
    scale = np.maximum(energies * float(received @ received), 1.0)
    explained: NDArray[np.float32] = (products.astype(np.float64) ** 2 / scale).astype(np.float32)
    explained[energies < 0.01 * _BLOCK * HEARABLE] = 0
    return explained


class EchoGate:
    """The gates of all streams of a worker."""

    def __init__(self, capacity: int) -> None:
        self._sent: Samples = np.zeros((capacity, _HISTORY, FRAME), np.int16)
        self._levels: Powers = np.zeros((capacity, LONGEST_FRAMES), np.float32)
        self._clock: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._opened: NDArray[np.int64] = np.zeros(capacity, np.int64)  # on that clock
        self._shift: dict[int, int] = {}
        self._searched: dict[int, int] = {}
        # Of the last test of each slot: its time on the clock, the verdict, and whether the one before said the same.
        self._tested: NDArray[np.int64] = np.full(capacity, -_HISTORY)
        self._verdict: Flags = np.zeros(capacity, np.bool_)
        self._steady: Flags = np.zeros(capacity, np.bool_)

    def open(self, slot: int) -> None:
        """Forget what an earlier stream left in ``slot``."""
        if self._clock[slot] != self._opened[slot]:  # else its 10 KB may never have been touched, and take no memory
            self._sent[slot] = 0
            self._levels[slot] = 0
            self._opened[slot] = self._clock[slot]
        self._shift.pop(slot, None)
        self._searched.pop(slot, None)
        self._tested[slot] = self._clock[slot] - _HISTORY
        self._verdict[slot] = self._steady[slot] = False

    def play(self, slots: Slots, frames: Samples, levels: Powers) -> None:
        """What is sent with this tick, for each of ``slots``, silence included."""
        clock = self._clock[slots] + 1
        self._clock[slots] = clock
        self._sent[slots, clock % _HISTORY] = frames
        self._levels[slots, clock % LONGEST_FRAMES] = levels

    def suspects(self, slots: Slots, voiced: Flags, levels: Powers) -> tuple[Flags, Flags]:
        """(frames too faint to be the caller's while we play, frames that may be either)."""
        loudest = self._levels[slots].max(axis=1)
        playing = voiced & (loudest > np.float32(HEARABLE))
        faint = playing & (levels < loudest * np.float32(FAINTEST))
        return faint, playing & ~faint & (levels < loudest * np.float32(LOUDEST))

    def judge(self, slots: Slots, received: Callable[[int, int], Samples]) -> Flags:
        """Which of ``slots``, in whose last frame may be echo or caller, are echo. ``received(slot, frames)`` are the
        last frames received. Blocks overlap so much that where two verdicts agree, every second frame has that of
        the frame before; so have those beyond :data:`MAX_TESTS`.
        """
        age = self._clock[slots] - self._tested[slots]
        due = np.flatnonzero((age > 1) | ~self._steady[slots])
        if due.size > MAX_TESTS:
            due = due[np.argsort(-age[due], kind="stable")[:MAX_TESTS]]
        for slot, frames in zip(slots[due].tolist(), age[due].tolist(), strict=True):
            verdict = self.is_echo(slot, received(slot, BLOCK_FRAMES))
            self._steady[slot] = frames <= BLOCK_FRAMES and verdict == self._verdict[slot]
            self._verdict[slot] = verdict
            self._tested[slot] = self._clock[slot]
        return self._verdict[slots]

    def is_echo(self, slot: int, received: Samples) -> bool:
        """Whether the last BLOCK_FRAMES frames received are mostly what was sent before."""
        clock = int(self._clock[slot])
        rows = np.arange(clock - LONGEST_FRAMES - BLOCK_FRAMES + 1, clock + 1) % _HISTORY
        sent = self._sent[slot, rows].reshape(-1).astype(np.float32)
        block = received.astype(np.float32)
        shift = self._shift.get(slot)
        if shift is not None:
            low = max(0, shift - _NEIGHBOURS)
            near = sent[low : shift + _NEIGHBOURS + _BLOCK]
            if _explained(np.correlate(near, block, "valid"), block, near).max() >= EXPLAINED_AGAIN:
                return True
        if clock - self._searched.get(slot, -SEARCH_EVERY) < SEARCH_EVERY:
            return False
        self._searched[slot] = clock
        explained = correlate(block, sent)
        best = int(explained.argmax())
        if explained[best] < EXPLAINED:
            return False
        self._shift[slot] = best
        return True

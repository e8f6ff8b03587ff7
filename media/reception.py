"""What came in, per stream: sequence numbers, loss, order, jitter (RFC 3550 A.1, A.3, A.8), many streams at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.frames import Flags, Floats, Slots
from media.rates import RATE

MAX_DROPOUT = 3000
"""RFC 3550 A.1: a larger step forward is a restart of the sender."""

_HISTORY = 64
"""Packets before the newest whose repetition is recognised."""


@dataclass(frozen=True, slots=True)
class Block:
    """What a receiver report says of a source (RFC 3550 6.4.1); ``jitter`` in timestamp units."""

    fraction_lost: int
    cumulative_lost: int
    highest: int
    jitter: int


class Reception:
    """Counts of all streams of a worker, by slot."""

    def __init__(self, capacity: int) -> None:
        self.received: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.duplicated: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.reordered: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.jitter: Floats = np.zeros(capacity)  # timestamp units
        self._highest: NDArray[np.int64] = np.zeros(capacity, np.int64)  # extended
        self._expected_before: NDArray[np.int64] = np.zeros(capacity, np.int64)  # of earlier sources and runs
        self._base: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._seen: NDArray[np.uint64] = np.zeros(capacity, np.uint64)
        self._transit: Floats = np.full(capacity, np.nan)
        self._reported: NDArray[np.int64] = np.zeros((capacity, 2), np.int64)

    def open(self, slot: int) -> None:
        """Forget what an earlier stream left in ``slot``."""
        for counts in (
            self.received,
            self.duplicated,
            self.reordered,
            self.jitter,
            self._expected_before,
            self._reported,
        ):
            counts[slot] = 0
        self._highest[slot] = self._base[slot] = 0
        self._seen[slot] = 0
        self._transit[slot] = np.nan

    def begin(self, slot: int, sequence: int) -> None:
        """A source (or its numbering) begins with ``sequence``; :meth:`note` is still to be told of that packet."""
        self._expected_before[slot] = self.expected(slot)
        self._base[slot] = sequence
        self._highest[slot] = sequence - 1
        self._seen[slot] = 0
        self._transit[slot] = np.nan

    def note(self, slots: Slots, sequences: NDArray[np.uint16], timestamps: NDArray[np.uint32], now: float) -> Flags:
        """One packet for each of ``slots`` arrived at ``now``. Returns which of them are not repetitions."""
        highest = self._highest[slots]
        step = (sequences - highest.astype(np.uint16)).view(np.int16)
        wild = (step > MAX_DROPOUT) | (step <= -_HISTORY)
        if wild.any():
            for index in np.flatnonzero(wild).tolist():
                self.begin(int(slots[index]), int(sequences[index]))
            highest = self._highest[slots]
            step = np.where(wild, 1, step)
        step = step.astype(np.int64)
        seen = self._seen[slots]
        forward = step > 0
        # Bit n: the packet n before the highest was seen.
        shifted = np.where(step < _HISTORY, seen << np.clip(step, 0, _HISTORY - 1).astype(np.uint64), 0) | np.uint64(1)
        bit = np.uint64(1) << np.clip(-step, 0, _HISTORY - 1).astype(np.uint64)
        old = ~forward
        self._seen[slots] = np.where(forward, shifted, seen | bit)
        self._highest[slots] = np.where(forward, highest + step, highest)
        self.received[slots] += 1
        if old.any():
            again: Flags = old & (seen & bit != 0)
            self.duplicated[slots[again]] += 1
            self.received[slots[again]] -= 1
            self.reordered[slots[old & ~again]] += 1
            return ~again
        self._note_jitter(slots, timestamps, now)
        return np.ones(slots.size, np.bool_)

    def _note_jitter(self, slots: Slots, timestamps: NDArray[np.uint32], now: float) -> None:
        """RFC 3550 A.8, in floating point."""
        transit = now * RATE - timestamps
        change = np.abs(transit - self._transit[slots])
        self._transit[slots] = transit
        change[~(change < RATE)] = 0  # the first packet, or the timestamp wrapped or jumped
        jitter = self.jitter[slots]
        self.jitter[slots] = jitter + (change - jitter) / 16

    def expected(self, slot: int) -> int:
        """Packets that the sequence numbers say were sent."""
        return int(self._expected_before[slot] + self._highest[slot] - self._base[slot] + bool(self.received[slot]))

    def lost(self, slot: int) -> int:
        return max(0, self.expected(slot) - int(self.received[slot]))

    def report(self, slot: int) -> Block:
        """The report block since the last call of this (RFC 3550 A.3)."""
        expected, received = self.expected(slot), int(self.received[slot])
        expected_then, received_then = self._reported[slot].tolist()
        self._reported[slot] = expected, received
        interval = expected - expected_then
        lost = interval - (received - received_then)
        fraction = min(255, (lost << 8) // interval) if interval > 0 and lost > 0 else 0
        cumulative = max(-(1 << 23), min((1 << 23) - 1, expected - received))
        return Block(fraction, cumulative, int(self._highest[slot]) & 0xFFFFFFFF, int(self.jitter[slot]))

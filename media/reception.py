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
        self.jitter: Floats = np.zeros(capacity)  # of the source there is now, in timestamp units
        self._highest: NDArray[np.int64] = np.full(capacity, -1, np.int64)  # extended
        # Of earlier sources and runs of their numbering:
        self._expected_before: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._received_before: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._base: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._seen: NDArray[np.uint64] = np.zeros(capacity, np.uint64)
        self._bad: NDArray[np.int64] = np.full(capacity, -1, np.int64)  # the number that would confirm a restart
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
            self._received_before,
            self._reported,
            self._base,
            self._seen,
        ):
            counts[slot] = 0
        self._highest[slot] = self._bad[slot] = -1
        self._transit[slot] = np.nan

    def begin(self, slot: int, sequence: int) -> None:
        """A source (or its numbering) begins with ``sequence``; :meth:`note` is still to be told of that packet."""
        self._expected_before[slot] = self.expected(slot)
        self._received_before[slot] = self.received[slot]
        self._reported[slot] = 0
        self._base[slot] = sequence
        self._highest[slot] = sequence - 1
        self._seen[slot] = 0
        self._bad[slot] = -1
        self.jitter[slot] = 0
        self._transit[slot] = np.nan

    def note(
        self,
        slots: Slots,
        sequences: NDArray[np.uint16],
        timestamps: NDArray[np.uint32],
        now: float,
        *,
        timed: bool = True,
    ) -> Flags:
        """One packet for each of ``slots`` arrived at ``now``. Returns which of them are to be heard: no repetition,
        and no stray from far outside the numbering. ``timed``: their timestamps tell when they were sent, which
        those of key events do not.
        """
        step = (sequences - self._highest[slots].astype(np.uint16)).view(np.int16)
        wild = (step > MAX_DROPOUT) | (step <= -_HISTORY)
        if not wild.any():
            return self._count(slots, step.astype(np.int64), timestamps, now, timed=timed)
        fresh = ~wild
        for index in np.flatnonzero(wild).tolist():
            fresh[index] = self._is_restart(int(slots[index]), int(sequences[index]))
        known = slots[fresh]
        step = (sequences[fresh] - self._highest[known].astype(np.uint16)).view(np.int16)
        fresh[fresh] = self._count(known, step.astype(np.int64), timestamps[fresh], now, timed=timed)
        return fresh

    def _is_restart(self, slot: int, sequence: int) -> bool:
        """RFC 3550 A.1: two packets in sequence, far from the numbering until then, mean that it begins anew."""
        if sequence != self._bad[slot]:
            self._bad[slot] = (sequence + 1) & 0xFFFF
            return False
        self.begin(slot, sequence)
        return True

    def _count(
        self, slots: Slots, step: NDArray[np.int64], timestamps: NDArray[np.uint32], now: float, *, timed: bool
    ) -> Flags:
        """Packets that are ``step`` after the highest number so far. Returns which of them are not repetitions."""
        highest = self._highest[slots]
        seen = self._seen[slots]
        forward = step > 0
        # Bit n: the packet n before the highest was seen.
        shifted = np.where(step < _HISTORY, seen << np.clip(step, 0, _HISTORY - 1).astype(np.uint64), 0) | np.uint64(1)
        bit = np.uint64(1) << np.clip(-step, 0, _HISTORY - 1).astype(np.uint64)
        old = ~forward
        self._seen[slots] = np.where(forward, shifted, seen | bit)
        self._highest[slots] = np.where(forward, highest + step, highest)
        self.received[slots] += 1
        fresh = np.ones(slots.size, np.bool_)
        if old.any():
            fresh = ~(old & (seen & bit != 0))
            self.duplicated[slots[~fresh]] += 1
            self.received[slots[~fresh]] -= 1
            self.reordered[slots[old & fresh]] += 1
            slots, timestamps = slots[forward], timestamps[forward]
        if timed:
            self._note_jitter(slots, timestamps, now)
        else:
            self._transit[slots] = np.nan
        return fresh

    def _note_jitter(self, slots: Slots, timestamps: NDArray[np.uint32], now: float) -> None:
        """RFC 3550 A.8, in floating point."""
        transit = now * RATE - timestamps
        change = np.abs(transit - self._transit[slots])
        self._transit[slots] = transit
        jitter = self.jitter[slots]
        # Nothing is learnt from the first packet, nor when the timestamp wrapped or jumped.
        self.jitter[slots] = np.where(change < RATE, jitter + (change - jitter) / 16, jitter)

    def expected(self, slot: int) -> int:
        """Packets that the sequence numbers say were sent, by all sources."""
        return int(self._expected_before[slot] + self._highest[slot] - self._base[slot] + 1)

    def lost(self, slot: int) -> int:
        """Packets of all sources that did not come."""
        return max(0, self.expected(slot) - int(self.received[slot]))

    def report(self, slot: int) -> Block:
        """The report block about the source there is now, since the last call of this (RFC 3550 A.3)."""
        expected = int(self._highest[slot] - self._base[slot] + 1)
        received = int(self.received[slot] - self._received_before[slot])
        expected_then, received_then = self._reported[slot].tolist()
        self._reported[slot] = expected, received
        interval = expected - expected_then
        lost = interval - (received - received_then)
        fraction = min(255, (lost << 8) // interval) if interval > 0 and lost > 0 else 0
        cumulative = max(-(1 << 23), min((1 << 23) - 1, expected - received))
        return Block(fraction, cumulative, int(self._highest[slot]) & 0xFFFFFFFF, int(self.jitter[slot]))

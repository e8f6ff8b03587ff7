"""What came in, per stream: sequence numbers, loss and its bursts, order, jitter (RFC 3550 A.1, A.3, A.8) and the
skew of clocks, many streams at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.frames import NO_SLOTS, Flags, Floats, Slots, every, some
from media.rates import RATE

MAX_DROPOUT = 3000
"""RFC 3550 A.1: a larger step forward is a restart of the sender."""

LEARNING = 30.0
"""Seconds of reports before the skew of a clock is told."""

_HISTORY = 64
"""Packets before the newest whose repetition is recognised."""

_ONE = np.uint64(1)
_ALL = ~np.uint64(0)


@dataclass(frozen=True, slots=True)
class Block:
    """What a receiver report says of a source (RFC 3550 6.4.1); ``jitter`` in timestamp units."""

    fraction_lost: int
    cumulative_lost: int
    highest: int
    jitter: int


@dataclass(slots=True)
class _Drift:
    """A line through (time, transit): least squares, relative to the first point."""

    points: int = 0
    first: float = 0.0
    transit: float = 0.0
    last: float = 0.0
    last_transit: float = 0.0
    t: float = 0.0
    x: float = 0.0
    tt: float = 0.0
    tx: float = 0.0

    def note(self, now: float, transit: float) -> None:
        """``transit`` in timestamp units; a jump of a second and more is another clock, which begins a new line."""
        if not self.points or abs(transit - self.last_transit) > RATE:
            self.points, self.first, self.transit = 0, now, transit
            self.t = self.x = self.tt = self.tx = 0.0
        t, x = now - self.first, transit - self.transit
        self.points += 1
        self.last, self.last_transit = now, transit
        self.t += t
        self.x += x
        self.tt += t * t
        self.tx += t * x

    def skew_ppm(self) -> float:
        spread = self.points * self.tt - self.t * self.t
        if self.last - self.first < LEARNING or spread <= 0:
            return 0.0
        return -(self.points * self.tx - self.t * self.x) / spread / RATE * 1e6


class Reception:
    """Counts of all streams of a worker, by slot. ``strays`` are those whose packet, of those noted last, had another
    number than the next one; ``restarts`` collects those whose numbering began anew.
    """

    def __init__(self, capacity: int) -> None:
        self._received: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.duplicated: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.reordered: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.strays: Slots = NO_SLOTS
        self.restarts: list[int] = []
        self.jitter: Floats = np.zeros(capacity)  # of the source there is now, in timestamp units
        self._highest: NDArray[np.int64] = np.full(capacity, -1, np.int64)  # extended
        # Nearly all packets have the next number: those are only counted here, until something else happens.
        self._next: NDArray[np.uint16] = np.zeros(capacity, np.uint16)
        self._in_order: NDArray[np.int64] = np.zeros(capacity, np.int64)
        # Of earlier sources and runs of their numbering:
        self._expected_before: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._received_before: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._base: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._seen: NDArray[np.uint64] = np.zeros(capacity, np.uint64)
        self._bad: NDArray[np.int64] = np.full(capacity, -1, np.int64)  # the number that would confirm a restart
        self._transit: Floats = np.full(capacity, np.nan)
        # The clock of the source against ours: the quickest transit since the last report, and a regression over those:
        self._quickest: Floats = np.full(capacity, np.inf)
        self._drift: list[_Drift] = [_Drift() for _ in range(capacity)]
        self._now = 0.0
        self._reported: NDArray[np.int64] = np.zeros((capacity, 2), np.int64)
        # Packets left out of the numbering, and the runs that they make:
        self._missed: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._runs: NDArray[np.int64] = np.zeros(capacity, np.int64)

    def open(self, slot: int) -> None:
        """Forget what an earlier stream left in ``slot``."""
        for counts in (
            self._received,
            self._next,
            self._in_order,
            self.duplicated,
            self.reordered,
            self.jitter,
            self._expected_before,
            self._received_before,
            self._reported,
            self._base,
            self._seen,
            self._missed,
            self._runs,
        ):
            counts[slot] = 0
        self._highest[slot] = self._bad[slot] = -1
        self._forget_times(slot)

    def begin(self, slot: int, sequence: int) -> None:
        """A source (or its numbering) begins with ``sequence``; :meth:`note` is still to be told of that packet."""
        self._expected_before[slot] = self.expected(slot)
        self._received_before[slot] = self._received[slot] = self.received(slot)
        self._in_order[slot] = 0
        self._reported[slot] = 0
        self._base[slot] = sequence
        self._highest[slot] = sequence - 1
        self._next[slot] = sequence & 0xFFFF
        self._seen[slot] = 0
        self._bad[slot] = -1
        self.jitter[slot] = 0
        self._forget_times(slot)

    def _forget_times(self, slot: int) -> None:
        self._transit[slot] = np.nan
        self._quickest[slot] = np.inf
        self._drift[slot] = _Drift()

    def note(
        self,
        slots: Slots,
        sequences: NDArray[np.uint16],
        timestamps: NDArray[np.uint32],
        arrived: float | Floats,
        *,
        timed: bool = True,
    ) -> Flags:
        """One packet for each of ``slots`` arrived, all at one time or each at its own, in seconds; NaN: nobody knows
        when. Returns which of them are to be heard: no repetition, and no stray from far outside the numbering.
        ``timed``: their timestamps tell when they were sent, which those of key events do not.
        """
        due = sequences == self._next[slots]
        if every(due):
            self.strays = NO_SLOTS
            self._go_on(slots, sequences)
            self._note_times(slots, timestamps, arrived, timed=timed)
            return np.ones(slots.size, np.bool_)
        self._go_on(slots[due], sequences[due])
        when = arrived[due] if isinstance(arrived, np.ndarray) else arrived
        self._note_times(slots[due], timestamps[due], when, timed=timed)
        fresh: Flags = due.copy()
        other = np.flatnonzero(~due)
        self.strays = slots[other]
        when = arrived[other] if isinstance(arrived, np.ndarray) else arrived
        fresh[other] = self._note_others(slots[other], sequences[other], timestamps[other], when, timed=timed)
        return fresh

    def note_one(self, slot: int, sequence: int, timestamp: int, arrived: float, *, timed: bool = True) -> bool:
        """One packet of one slot, as :meth:`note` has it."""
        if sequence == self._next[slot] and (not timed or math.isnan(arrived)):
            self.strays = NO_SLOTS
            self._next[slot] = (sequence + 1) & 0xFFFF
            self._in_order[slot] += 1
            if not timed:
                self._transit[slot] = np.nan
            return True
        sequences, timestamps = np.array([sequence], np.uint16), np.array([timestamp], np.uint32)
        return bool(self.note(np.array([slot]), sequences, timestamps, arrived, timed=timed)[0])

    def _go_on(self, slots: Slots, sequences: NDArray[np.uint16]) -> None:
        """Packets with the next number."""
        self._next[slots] = sequences + np.uint16(1)
        self._in_order[slots] += 1

    def _catch_up(self, slots: Slots) -> None:
        """Put down what was only counted so far."""
        count = self._in_order[slots]
        self._in_order[slots] = 0
        self._highest[slots] += count
        self._received[slots] += count
        shift = np.minimum(count, _HISTORY - 1).astype(np.uint64)
        seen = self._seen[slots] << shift | (_ONE << shift) - _ONE
        self._seen[slots] = np.where(count < _HISTORY, seen, _ALL)

    def _note_others(
        self,
        slots: Slots,
        sequences: NDArray[np.uint16],
        timestamps: NDArray[np.uint32],
        arrived: float | Floats,
        *,
        timed: bool,
    ) -> Flags:
        """Packets with any other number than the next one."""
        self._catch_up(slots)
        step = (sequences - self._highest[slots].astype(np.uint16)).view(np.int16)
        wild = (step > MAX_DROPOUT) | (step <= -_HISTORY)
        fresh = ~wild
        for index in np.flatnonzero(wild).tolist():
            fresh[index] = self._is_restart(int(slots[index]), int(sequences[index]))
        known = slots[fresh]
        step = (sequences[fresh] - self._highest[known].astype(np.uint16)).view(np.int16)
        if isinstance(arrived, np.ndarray):
            arrived = arrived[fresh]
        fresh[fresh] = self._count(known, step.astype(np.int64), timestamps[fresh], arrived, timed=timed)
        self._next[known] = (self._highest[known] + 1).astype(np.uint16)
        return fresh

    def _note_gaps(self, slots: Slots, step: NDArray[np.integer[Any]]) -> None:
        gap = step > 1
        self._missed[slots[gap]] += step[gap] - 1
        self._runs[slots[gap]] += 1

    def _is_restart(self, slot: int, sequence: int) -> bool:
        """RFC 3550 A.1: two packets in sequence, far from the numbering until then, mean that it begins anew."""
        if sequence != self._bad[slot]:
            self._bad[slot] = (sequence + 1) & 0xFFFF
            return False
        self.begin(slot, sequence)
        self.restarts.append(slot)
        return True

    def _count(
        self,
        slots: Slots,
        step: NDArray[np.int64],
        timestamps: NDArray[np.uint32],
        arrived: float | Floats,
        *,
        timed: bool,
    ) -> Flags:
        """Packets that are ``step`` after the highest number so far. Returns which of them are not repetitions."""
        highest = self._highest[slots]
        seen = self._seen[slots]
        forward = step > 0
        # Bit n: the packet n before the highest was seen.
        shifted = np.where(step < _HISTORY, seen << np.clip(step, 0, _HISTORY - 1).astype(np.uint64), 0) | _ONE
        bit = _ONE << np.clip(-step, 0, _HISTORY - 1).astype(np.uint64)
        old = ~forward
        self._seen[slots] = np.where(forward, shifted, seen | bit)
        self._highest[slots] = np.where(forward, highest + step, highest)
        self._received[slots] += 1
        self._note_gaps(slots, step)
        fresh = np.ones(slots.size, np.bool_)
        if some(old):
            fresh = ~(old & (seen & bit != 0))
            self.duplicated[slots[~fresh]] += 1
            self._received[slots[~fresh]] -= 1
            late = old & fresh
            self.reordered[slots[late]] += 1
            self._fill_in(slots[late], -step[late], highest[late], seen[late])
            slots, timestamps = slots[forward], timestamps[forward]
            if isinstance(arrived, np.ndarray):
                arrived = arrived[forward]
        self._note_times(slots, timestamps, arrived, timed=timed)
        return fresh

    def _fill_in(
        self, slots: Slots, back: NDArray[np.int64], highest: NDArray[np.int64], seen: NDArray[np.uint64]
    ) -> None:
        """Packets that come after all, ``back`` before the highest: a run of missing ones shrinks, goes or is split."""
        from_start = highest - back - self._base[slots]
        counted = from_start >= 0
        slots, back, seen, from_start = slots[counted], back[counted], seen[counted], from_start[counted]
        shift = back.astype(np.uint64)
        newer = seen >> (shift - _ONE) & _ONE == 0
        older = (seen >> np.minimum(shift + _ONE, np.uint64(_HISTORY - 1)) & _ONE == 0) & (back < _HISTORY - 1)
        older &= from_start > 0
        self._missed[slots] -= 1
        self._runs[slots] += newer.astype(np.int64) + older - 1

    def _note_times(
        self, slots: Slots, timestamps: NDArray[np.uint32], arrived: float | Floats, *, timed: bool
    ) -> None:
        """The jitter of RFC 3550 A.8, in floating point, over the packets whose arrival is known."""
        if not timed:
            self._transit[slots] = np.nan
            return
        if isinstance(arrived, np.ndarray):
            known = np.flatnonzero(~np.isnan(arrived))
            if not known.size:
                return
            slots, timestamps, arrived = slots[known], timestamps[known], arrived[known]
        elif math.isnan(arrived):
            return
        transit = arrived * RATE - timestamps
        change = transit - self._transit[slots]
        self._transit[slots] = transit
        self._now = float(arrived[-1]) if isinstance(arrived, np.ndarray) else arrived
        quickest = self._quickest[slots]
        self._quickest[slots] = np.minimum(quickest, transit, out=quickest)
        np.abs(change, out=change)
        jitter = self.jitter[slots]
        usual = change < RATE  # nothing is learnt from the first packet, nor when the timestamp wrapped or jumped
        change -= jitter
        change *= 1 / 16
        if not every(usual):
            change[~usual] = 0
        change += jitter
        self.jitter[slots] = change

    def burst_ratio(self, slot: int) -> float:
        """BurstR of ITU-T G.107: the mean run of missing packets over that of as many, independently lost ones.
        1 when none is missing.
        """
        missed, runs = int(self._missed[slot]), int(self._runs[slot])
        if missed <= 0 or runs <= 0:
            return 1.0
        return missed / runs * (1 - missed / max(missed + 1, self.expected(slot)))

    def received(self, slot: int) -> int:
        """Packets of all sources that came, repetitions left out."""
        return int(self._received[slot] + self._in_order[slot])

    def expected(self, slot: int) -> int:
        """Packets that the sequence numbers say were sent, by all sources."""
        return int(self._expected_before[slot]) + self._numbered(slot)

    def _numbered(self, slot: int) -> int:
        """Packets that the sequence numbers say the source there is now has sent."""
        return self._newest(slot) - int(self._base[slot]) + 1

    def _newest(self, slot: int) -> int:
        """The highest extended sequence number."""
        return int(self._highest[slot] + self._in_order[slot])

    def lost(self, slot: int) -> int:
        """Packets of all sources that did not come."""
        return max(0, self.expected(slot) - self.received(slot))

    def skew_ppm(self, slot: int) -> float:
        """By how many millionths the clock of the source there is now is faster than ours. 0 while that cannot be told:
        it takes reports (:meth:`report`) over at least LEARNING seconds.
        """
        return self._drift[slot].skew_ppm()

    def report(self, slot: int) -> Block:
        """The report block about the source there is now, since the last call of this (RFC 3550 A.3)."""
        if self._quickest[slot] < np.inf:
            self._drift[slot].note(self._now, float(self._quickest[slot]))
            self._quickest[slot] = np.inf
        expected = self._numbered(slot)
        received = self.received(slot) - int(self._received_before[slot])
        expected_then, received_then = self._reported[slot].tolist()
        self._reported[slot] = expected, received
        interval = expected - expected_then
        lost = interval - (received - received_then)
        fraction = min(255, (lost << 8) // interval) if interval > 0 and lost > 0 else 0
        cumulative = max(-(1 << 23), min((1 << 23) - 1, expected - received))
        return Block(fraction, cumulative, self._newest(slot) & 0xFFFFFFFF, int(self.jitter[slot]))

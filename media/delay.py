"""How long packets should wait: what the network does to their times, and what to change about the delay.

The delay is right when the quickest packets need not wait much and nearly none come too late. Each packet has a *lead*:
the whole frames until its turn. When the leads of a window, all but one, are larger than needed, part of the delay is
given back. When several packets of a window come too late, the delay grows at once by what the worst of them lacked.
A sender whose clock is slower than ours uses the reserve up before anything is late; then one frame is added.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from media.frames import Flags, Slots
from media.rates import FRAME_SECONDS

AHEAD = 24
"""A frame further ahead than this means that the sender's clock jumped."""

FIRST_DELAY = 1
"""Frames that the first packet waits: little, as keys in the sound are looked for behind the buffer."""

MAX_DELAY = 12
"""Frames that packets may come to wait on a bad network; what is more is given back at the end of a window."""

WINDOW = 250
SHORT_WINDOW = 50
MUCH = 3
"""Frames: while every packet waits longer than this, windows are short."""

LATE_IN_WINDOW = 3
"""Late packets of a window that make the delay grow. With one late packet it may still shrink."""

PATIENCE = 20
LONG_PATIENCE = 150
"""Frames that a change of the delay waits for a quiet moment; the longer one where a single frame is at stake."""

_USED_UP = 0.9
"""When this part of a window's packets came in the last moment, the reserve is gone."""


class Review(NamedTuple):
    """Frames by which the delay should ``change``, frames to wait for a quiet moment, packets until the next review."""

    change: int
    patience: int
    again: int


class Delays:
    """The leads of all streams of a worker, by slot."""

    def __init__(self, capacity: int) -> None:
        self._counts: NDArray[np.uint16] = np.zeros((capacity, AHEAD), np.uint16)  # of the leads of the window
        self._flat = self._counts.reshape(-1)
        self._late: NDArray[np.int64] = np.zeros(capacity, np.int64)  # of the window; negative: through our own fault
        self._worst: NDArray[np.int64] = np.zeros(capacity, np.int64)
        # Of earlier windows:
        self._packets: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._leads: NDArray[np.int64] = np.zeros(capacity, np.int64)

    def open(self, slot: int) -> None:
        """Forget what an earlier stream left in ``slot``."""
        self._packets[slot] = self._leads[slot] = 0
        self.begin(slot)

    def begin(self, slot: int) -> None:
        """A new window, of a sender of which nothing is known."""
        self._counts[slot] = 0
        self._late[slot] = self._worst[slot] = 0

    def note(self, slots: Slots, leads: NDArray[np.int32]) -> None:
        """A packet for each of ``slots``, from 0 to AHEAD - 1 frames before its turn."""
        self._flat[slots * AHEAD + leads] += np.uint16(1)

    def stall(self, slots: Slots, frames: int) -> None:
        """As many packets of each will be late because we did not run: that says nothing of the network."""
        self._counts[slots] = 0
        self._late[slots] = np.minimum(self._late[slots], 0) - frames

    def are_excused(self, slots: Slots, leads: NDArray[np.int32]) -> Flags:
        """Which of these packets, all of them late, are so through our own fault."""
        owed = self.excused(slots)
        excused: Flags = (owed > 0) & (leads >= -owed - AHEAD)
        return excused

    def excuse(self, slots: Slots) -> None:
        """A packet of each came that was late through our own fault."""
        self._late[slots] += 1
        self._counts[slots] = 0

    def excused(self, slots: Slots) -> NDArray[np.int64]:
        """How many packets of each may yet be late through our own fault."""
        owed: NDArray[np.int64] = np.maximum(0, -self._late[slots])
        return owed

    def too_late(self, slot: int, frames: int) -> int:
        """A packet came ``frames`` after its turn. Returns by how many frames the delay must grow."""
        self._late[slot] += 1
        if self._late[slot] <= 0:
            self._counts[slot] = 0
            return 0
        worst = max(frames, int(self._worst[slot]))
        if self._late[slot] < LATE_IN_WINDOW:
            self._worst[slot] = worst
            return 0
        self.begin(slot)
        return min(worst, MAX_DELAY)

    def review(self, slot: int) -> Review:
        """What to change, if a window is over. What is spare is given back by half, or all if it is excessive."""
        counts = self._counts[slot].tolist()
        total = sum(counts)
        present = [lead for lead, count in enumerate(counts) if count]
        if total < SHORT_WINDOW:
            return Review(0, 0, SHORT_WINDOW - total)
        if total < WINDOW and present[0] <= MUCH:
            return Review(0, 0, WINDOW - total)
        late = max(0, int(self._late[slot]))
        self._packets[slot] += total
        self._leads[slot] += sum(lead * counts[lead] for lead in present)
        self.begin(slot)
        outlier = late == 0 and total >= WINDOW and counts[present[0]] == 1 and len(present) > 1
        spare = present[outlier] - FIRST_DELAY
        if late <= 1 and spare > outlier:
            if spare > MAX_DELAY - FIRST_DELAY:
                return Review(-spare, 0, SHORT_WINDOW)
            return Review(-max(1, spare // 2), PATIENCE if spare > 1 else LONG_PATIENCE, SHORT_WINDOW)
        return Review(int(counts[0] >= _USED_UP * total), LONG_PATIENCE, SHORT_WINDOW)

    def mean(self, slot: int) -> float:
        """Mean time in seconds that packets waited. What came within a frame counts as come in its middle."""
        counts = self._counts[slot].astype(np.int64)
        packets = int(self._packets[slot] + counts.sum())
        if not packets:
            return 0.0
        leads = int(self._leads[slot] + counts @ np.arange(AHEAD))
        return (leads / packets + 0.5) * FRAME_SECONDS

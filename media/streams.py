"""The streams of a worker, and the place of each: its slot, its phase, and whether it takes part in ticks.

A *slot* is the row of a stream in the arrays of all kernels; a *phase* is the quarter of the 20 ms in which it ticks.
Of each phase, the *members* are the streams that play what they receive, and those that *send* are some of them.
"""

from __future__ import annotations

import numpy as np

from media.frames import NO_SLOTS, Slots
from media.rates import PHASES
from media.stream import Stream


class Streams:
    """Who is where. ``by_slot`` has the stream of each slot; ``members`` and ``sending``, by phase, sorted slots. These
    three lists stay the same objects.
    """

    def __init__(self, capacity: int) -> None:
        self.by_slot: list[Stream | None] = [None] * capacity
        self.members: list[Slots] = [NO_SLOTS] * PHASES
        self.sending: list[Slots] = [NO_SLOTS] * PHASES
        self._by_number: dict[int, Stream] = {}
        # Slots of a phase lie side by side, so that batches do too in the arrays of the kernels.
        share = -(-capacity // PHASES)
        self._free = [
            list(range(min(capacity, (phase + 1) * share) - 1, phase * share - 1, -1)) for phase in range(PHASES)
        ]

    def __len__(self) -> int:
        return len(self._by_number)

    def get(self, number: int) -> Stream | None:
        """The stream with this number, if there is one."""
        return self._by_number.get(number)

    @property
    def everyone(self) -> Slots:
        """The members of all phases."""
        return np.concatenate(self.members)

    def place(self) -> tuple[int, int] | None:
        """(slot, phase) for one more stream, in the phase that has the fewest; ``None`` when there is no room."""
        phase = max(range(PHASES), key=lambda phase: len(self._free[phase]))
        return (self._free[phase][-1], phase) if self._free[phase] else None

    def add(self, stream: Stream) -> None:
        """Put ``stream`` where :meth:`place` has just said."""
        self._free[stream.phase].pop()
        self._by_number[stream.number] = self.by_slot[stream.slot] = stream

    def deal(self, stream: Stream) -> None:
        """Put ``stream`` on the lists of its phase, or take it off."""
        phase, slot = stream.phase, stream.slot
        sends = stream.live and stream.may_send and stream.peer is not None
        self.members[phase] = _listed(self.members[phase], slot, present=stream.live)
        self.sending[phase] = _listed(self.sending[phase], slot, present=sends)

    def remove(self, stream: Stream) -> None:
        """The stream is gone, and its slot free."""
        del self._by_number[stream.number]
        self.by_slot[stream.slot] = None
        self._free[stream.phase].append(stream.slot)
        stream.live = False
        self.deal(stream)


def _listed(slots: Slots, slot: int, *, present: bool) -> Slots:
    """A copy of sorted ``slots`` with ``slot`` in it or not."""
    place = int(np.searchsorted(slots, slot))
    is_there = place < slots.size and slots[place] == slot
    if is_there == present:
        return slots
    return np.insert(slots, place, slot) if present else np.delete(slots, place)

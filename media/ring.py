"""The bounded ring in shared memory through which sound goes from a media worker to its writer.

One process produces, one consumes. A *cell* is one frame of one recording: the recording's number, the frame's
index in it, and 160 samples of either side. Positions count cells since the beginning and never wrap. The memory
outlives either process as long as the other one has it mapped. Sound takes memory from when it comes until it is
consumed, so that a ring may be large for the sake of what seldom happens.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from media.rates import FRAME

PREAMBLE = 64
"""Octets before the first cell: 64-bit counters, head (written by the producer), tail, beats and freed (by the
consumer).
"""

_SOUND_OCTETS = 2 * 2 * FRAME
CELL_OCTETS = 4 + 4 + _SOUND_OCTETS

TAKEN = 0
"""The number in a cell that the consumer has taken out of turn; recordings count from 1."""


def create(cells: int) -> int:
    """A descriptor of anonymous memory for a ring of ``cells``."""
    fd = os.memfd_create("ivrea-recorder", os.MFD_CLOEXEC)
    os.ftruncate(fd, PREAMBLE + cells * CELL_OCTETS)
    return fd


class Ring:
    """A mapping of the ring behind ``fd``.

    ``numbers`` and ``indexes`` have the shape (cells,), ``sound`` (cells, 2, FRAME): received first, then sent.
    """

    def __init__(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        self.cells = (size - PREAMBLE) // CELL_OCTETS
        memory = mmap.mmap(fd, size)
        self.numbers: NDArray[np.uint32] = np.frombuffer(memory, np.uint32, self.cells, PREAMBLE)
        self.indexes: NDArray[np.uint32] = np.frombuffer(memory, np.uint32, self.cells, PREAMBLE + 4 * self.cells)
        sound = np.frombuffer(memory, np.int16, self.cells * 2 * FRAME, PREAMBLE + 8 * self.cells)
        self.sound: Samples = sound.reshape(self.cells, 2, FRAME)
        self._counters = memoryview(memory)[:32].cast("Q")
        self._memory = memory
        self._sound_at = PREAMBLE + 8 * self.cells

    def spans(self, start: int, stop: int, at_most: int | None = None) -> Iterator[slice]:
        """Where the cells from position ``start`` to ``stop`` lie: one slice, or two around the end of the ring; more
        if none shall be longer than ``at_most`` cells.
        """
        while start < stop:
            place = start % self.cells
            count = min(stop - start, self.cells - place, at_most or self.cells)
            yield slice(place, place + count)
            start += count

    @property
    def head(self) -> int:
        """Cells ever produced."""
        return self._counters[0]

    @head.setter
    def head(self, position: int) -> None:
        self._counters[0] = position

    @property
    def tail(self) -> int:
        """Cells ever consumed: where another consumer goes on."""
        return self._counters[1]

    @tail.setter
    def tail(self, position: int) -> None:
        self._counters[1] = position

    @property
    def room(self) -> int:
        """Cells that may be produced now."""
        return self.cells - (self._counters[0] - self._counters[3])

    def free(self) -> None:
        """Give the memory of all that was consumed back, and make room for as many cells."""
        for span in self.spans(self._counters[3], self.tail):
            begin = self._sound_at + span.start * _SOUND_OCTETS
            begin += -begin % mmap.PAGESIZE
            size = self._sound_at + span.stop * _SOUND_OCTETS - begin
            size -= size % mmap.PAGESIZE
            if size > 0:
                with contextlib.suppress(OSError):
                    self._memory.madvise(mmap.MADV_REMOVE, begin, size)
        self._counters[3] = self.tail

    @property
    def beats(self) -> int:
        """Counts on, at least once a second, as long as the consumer is at work."""
        return self._counters[2]

    def beat(self) -> None:
        """The consumer is at work."""
        self._counters[2] += 1

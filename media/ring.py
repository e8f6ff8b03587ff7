"""The bounded ring in shared memory through which sound goes from a media worker to its writer.

One process produces, one consumes. A *cell* is one stereo frame of one recording: the recording's number,
the frame's index in it, and 160 interleaved sample pairs. Positions count cells since the beginning and never
wrap. The memory outlives either process as long as the other one has it mapped.
"""

from __future__ import annotations

import mmap
import os
import struct

from media.rates import FRAME

SOUND_OCTETS = 2 * 2 * FRAME
"""Octets of a stereo frame."""

CELL = struct.Struct(f"=II{SOUND_OCTETS}x")
CELL_HEADER = struct.Struct("=II")
PREAMBLE = 64
"""Octets before the first cell: two 64-bit positions, head (written by the producer) and tail (by the consumer)."""


def create(cells: int) -> int:
    """A descriptor of anonymous memory for a ring of ``cells``."""
    fd = os.memfd_create("ivrea-recorder", os.MFD_CLOEXEC)
    os.ftruncate(fd, PREAMBLE + cells * CELL.size)
    return fd


class Ring:
    """A mapping of the ring behind ``fd``."""

    def __init__(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        self.cells = (size - PREAMBLE) // CELL.size
        self.memory = mmap.mmap(fd, size)
        self._positions = memoryview(self.memory)[:16].cast("Q")

    @property
    def head(self) -> int:
        """Cells ever produced."""
        return self._positions[0]

    @head.setter
    def head(self, position: int) -> None:
        self._positions[0] = position

    @property
    def tail(self) -> int:
        """Cells ever consumed."""
        return self._positions[1]

    @tail.setter
    def tail(self, position: int) -> None:
        self._positions[1] = position

"""WAV files that grow: 16-bit PCM at 8 kHz, each frame at the place that its index gives.

The sizes in the header are brought up to date after the sound, so the file is a valid WAV at any time.
"""

from __future__ import annotations

import os
import struct

import numpy as np

from media.frames import Samples
from media.rates import FRAME, RATE
from media.soundfile import SoundFile, put

HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
MAX_FRAMES = (0xFFFFFFFF - HEADER.size) // (2 * 2 * FRAME)
"""What the 32-bit sizes of a stereo WAV file hold: 37 hours."""


def header(frames: int, channels: int) -> bytes:
    """A WAV header for ``frames`` frames of FRAME samples."""
    size = frames * FRAME * 2 * channels
    return HEADER.pack(
        b"RIFF", size + HEADER.size - 8, b"WAVE", b"fmt ", 16, 1, channels, RATE, RATE * 2 * channels, 2 * channels, 16,
        b"data", size,
    )  # fmt: skip


class WavFile(SoundFile):
    """A WAV file being recorded into; ``resume`` goes on with what is there."""

    def __init__(self, fd: int, channels: int, *, resume: bool) -> None:
        super().__init__(fd, channels)
        self._octets = FRAME * 2 * channels
        if resume:
            self.frames = min(MAX_FRAMES, max(0, os.fstat(fd).st_size - HEADER.size) // self._octets)
        self._stated = -1
        self.state()

    def write(self, index: int, sound: Samples) -> None:
        if self.channels == 1:
            samples = np.ascontiguousarray(sound)
        else:
            samples = np.empty((len(sound), FRAME, self.channels), np.int16)
            for channel in range(self.channels):
                samples[:, :, channel] = sound[:, channel]
        put(self.fd, samples.data.cast("B"), HEADER.size + index * self._octets)
        self.frames = max(self.frames, index + len(sound))

    def state(self) -> None:
        if self._stated != self.frames:
            put(self.fd, header(self.frames, self.channels), 0)
            self._stated = self.frames

    def complete(self, frames: int) -> None:
        if frames != self.frames:
            os.ftruncate(self.fd, HEADER.size + frames * self._octets)
            self.frames = frames
        self.state()

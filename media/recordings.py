"""Recordings read for the ears: any sound file that the decoder takes, as samples of one channel.

The decoder's process (:mod:`media.decoder`) stands between us and the file.
"""

from __future__ import annotations

import contextlib
import tempfile
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from media.files import AsRecorded, MediaImporter
from media.frames import Samples
from media.tts.store import PromptStore


class Recording(NamedTuple):
    """One channel of sound, ``rate`` samples a second."""

    samples: Samples
    rate: int


@contextlib.asynccontextmanager
async def as_wave(path: Path, wanted: AsRecorded) -> AsyncIterator[Path]:
    """The sound of ``path`` as a 16-bit mono WAV file, which goes with the context.

    Raises :class:`~media.files.MediaError`.
    """
    with tempfile.TemporaryDirectory(prefix="ivrea-sound-") as folder:
        yield await MediaImporter(PromptStore(Path(folder))).add(path, as_recorded=wanted)


async def read_recording(path: Path, wanted: AsRecorded) -> Recording:
    """The sound of ``path``. Raises :class:`~media.files.MediaError`, with the name of the file in it."""
    async with as_wave(path, wanted) as decoded:
        return read_wave(decoded)


def read_wave(path: Path) -> Recording:
    """The sound of a WAV file of our own: 16 bit, mono. Raises :class:`OSError`."""
    with path.open("rb") as opened, wave.open(opened, "rb") as file:
        return Recording(np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate())

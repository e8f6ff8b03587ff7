from __future__ import annotations

import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from media.arena import read_clip
from media.tts.store import PromptStore
from media.tts.synth import Synth, missing_extra

Wave = NDArray[np.float32]


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    return PromptStore(tmp_path / "prompts")


@pytest_asyncio.fixture
async def synth(store: PromptStore) -> AsyncIterator[Synth]:
    """The real engine, in its process."""
    if reason := missing_extra():
        pytest.skip(reason)
    synth = Synth(store)
    await synth.start()
    yield synth
    await synth.close()


@pytest.fixture
def sound_of() -> Callable[[Path], Wave]:
    """Samples of a stored prompt as narrow-band callers hear it: 8 kHz, full scale at ±1, whole frames."""
    return lambda path: (read_clip(str(path), 8000) / 32768).astype(np.float32)


@pytest.fixture
def wide_sound_of() -> Callable[[Path], Wave]:
    """Samples of a stored prompt, full scale at ±1; fails unless it is 16 kHz 16-bit mono."""

    def read(path: Path) -> Wave:
        with wave.open(str(path), "rb") as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
            return (np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768).astype(np.float32)

    return read

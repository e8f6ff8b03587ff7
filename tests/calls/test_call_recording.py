"""The length of recordings whose writer is not there to tell it."""

import wave
from pathlib import Path

import numpy as np
import pytest

from engine.calls.recording import finished_by_file
from media.mp3 import Mp3File
from media.soundfile import open_regular


def test_a_wav_says_it_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(4 * 12000))
    record = finished_by_file("c1", str(path))
    assert (record.call, record.path, record.seconds) == ("c1", str(path), 1.5)


@pytest.mark.parametrize("channels", [1, 2])
def test_an_mp3_that_was_never_completed_says_it_by_its_size(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "a.mp3"
    file = Mp3File(open_regular(path), channels, resume=False)
    file.write(0, np.zeros((100, channels, 160), np.int16))
    assert 1.7 < finished_by_file("c1", str(path)).seconds < 2.0  # the encoder holds the rest
    file.close()
    assert finished_by_file("c1", str(path)).seconds == pytest.approx(2.0)


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
@pytest.mark.parametrize("content", [None, b"", b"RIFF", b"\xff\xe3\x48\x04" * 200])
def test_a_file_that_is_none_counts_as_empty(tmp_path: Path, suffix: str, content: bytes | None) -> None:
    path = tmp_path / f"a.{suffix}"
    if content is not None:
        path.write_bytes(content)
    assert finished_by_file("c1", str(path)).seconds == 0.0

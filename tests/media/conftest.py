from collections.abc import Iterator
from pathlib import Path

import pytest
from media_studio import Phone, Studio, Tone, sine, write_wav


@pytest.fixture
def studio() -> Iterator[Studio]:
    made = Studio()
    yield made
    made.close()


@pytest.fixture
def phone() -> Iterator[Phone]:
    made = Phone()
    yield made
    made.close()


@pytest.fixture
def tone(tmp_path: Path) -> Tone:
    """Makes prompt files: ``tone(hertz, seconds)``."""

    def make(hertz: float, seconds: float = 1.0) -> str:
        return write_wav(tmp_path / f"{hertz}-{seconds}.wav", sine(hertz, seconds))

    return make

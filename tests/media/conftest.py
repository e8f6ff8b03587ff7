from collections.abc import Iterator
from pathlib import Path

import pytest
from media_studio import Phone, Studio, Tone, sine, write_wav


@pytest.fixture(params=["portable", "io_uring"])
def studio(request: pytest.FixtureRequest) -> Iterator[Studio]:
    """A plane on each way in and out."""
    try:
        made = Studio(request.param)
    except OSError as error:
        pytest.skip(f"no io_uring here: {error}")
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

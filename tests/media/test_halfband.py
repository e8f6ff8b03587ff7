"""Between 8 and 16 kHz: what passes, what does not, and no seams between frames."""

from __future__ import annotations

import numpy as np
import pytest

from media.halfband import Downsampler, Upsampler
from media.rates import FRAME, RATE, WIDE_RATE

SLOTS = np.array([2, 5])


def tone(hertz: float, rate: int, amplitude: float = 8000) -> np.ndarray:
    return np.rint(amplitude * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)).astype(np.int16)


def amplitude(sound: np.ndarray, hertz: float, rate: int) -> float:
    return float(2 * abs(np.mean(sound * np.exp(-2j * np.pi * hertz * np.arange(sound.size) / rate))))


def run(step: Upsampler | Downsampler, sound: np.ndarray, frame: int) -> np.ndarray:
    """Through one of two slots; the other hears the negative."""
    out = [step.feed(SLOTS, np.stack([each, -each])) for each in sound.reshape(-1, frame)]
    first, second = (np.concatenate([frames[row] for frames in out]) for row in (0, 1))
    assert np.array_equal(first, -second)
    return first


@pytest.mark.parametrize(("hertz", "gain"), [(100, 1.0), (1000, 1.0), (3000, 1.0), (3400, 0.995), (3600, 0.94)])
def test_the_telephone_band_passes_both_ways(hertz: float, gain: float) -> None:
    up = run(Upsampler(8), tone(hertz, RATE), FRAME)[800:-800]
    down = run(Downsampler(8), tone(hertz, WIDE_RATE), 2 * FRAME)[400:-400]
    assert amplitude(up, hertz, WIDE_RATE) == pytest.approx(8000 * gain, rel=0.005)
    assert amplitude(down, hertz, RATE) == pytest.approx(8000 * gain, rel=0.005)


@pytest.mark.parametrize(("hertz", "damping"), [(4600, 50), (5000, 70), (7000, 65)])
def test_what_is_above_does_not_fold_down(hertz: float, damping: float) -> None:
    left = run(Downsampler(8), tone(hertz, WIDE_RATE), 2 * FRAME)[400:-400]
    assert left.std() < 8000 / np.sqrt(2) * 10 ** (-damping / 20)


@pytest.mark.parametrize("hertz", [300, 1000, 3000, 3400])
def test_no_image_appears_above(hertz: float) -> None:
    up = run(Upsampler(8), tone(hertz, RATE), FRAME)[800:-800]
    assert amplitude(up, RATE - hertz, WIDE_RATE) < 8000 * 10 ** (-48 / 20)


def test_there_and_back_it_is_the_same_sound_3_ms_later() -> None:
    sound = np.random.default_rng(1).normal(0, 3000, RATE)
    sound = np.convolve(sound, np.hanning(9) / np.hanning(9).sum(), "same").astype(np.int16)
    back = run(Downsampler(8), run(Upsampler(8), sound, FRAME), 2 * FRAME)
    error = back[23:].astype(float) - sound[:-23]
    assert np.sqrt(np.mean(error**2)) < 0.02 * sound.std()


def test_full_scale_is_not_wrapped() -> None:
    square = np.where(np.arange(RATE) % 40 < 20, 32767, -32768).astype(np.int16)
    up = run_single(Upsampler(4), square, FRAME).astype(int)
    assert up.max() == 32767
    assert up.min() == -32768
    assert np.abs(np.diff(up[800:])).max() < 45000


def run_single(step: Upsampler, sound: np.ndarray, frame: int) -> np.ndarray:
    return np.concatenate([step.feed(np.array([1]), each[None])[0] for each in sound.reshape(-1, frame)])


def test_a_reset_forgets() -> None:
    step = Upsampler(8)
    run(step, tone(1000, RATE), FRAME)
    step.reset(SLOTS)
    assert not step.feed(SLOTS, np.zeros((2, FRAME), np.int16)).any()

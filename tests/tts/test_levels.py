from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.levels import active_level, fade, limit, normalise, to_int16, trim

RATE = 8000


def tone(seconds: float, amplitude: float, frequency: float = 440.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


def test_level_of_a_full_scale_sine_is_minus_three() -> None:
    assert active_level(tone(1, 1.0), RATE) == pytest.approx(-3.01, abs=0.02)


def test_pauses_do_not_count() -> None:
    speech = tone(1, 0.1)
    with_pauses = np.concatenate([silence(2), speech, silence(3), speech, silence(1)])
    assert active_level(with_pauses, RATE) == pytest.approx(active_level(speech, RATE), abs=0.3)


def test_noise_in_the_pauses_does_not_count() -> None:
    noise = np.random.default_rng(7).normal(0, 0.001, 4 * RATE).astype(np.float32)
    noise[:RATE] += tone(1, 0.1)
    assert active_level(noise, RATE) == pytest.approx(-23.0, abs=0.3)


def test_silence_has_no_level() -> None:
    assert active_level(silence(1), RATE) == -math.inf
    assert active_level(silence(0), RATE) == -math.inf


@pytest.mark.parametrize("amplitude", [0.0003, 0.01, 0.1, 0.9])
def test_normalise_reaches_the_target_without_clipping(amplitude: float) -> None:
    levelled = normalise(np.concatenate([tone(1, amplitude), silence(1)]), RATE)
    assert active_level(levelled, RATE) == pytest.approx(-20, abs=0.6)


def test_normalise_keeps_peaks_under_the_ceiling() -> None:
    clicks = tone(2, 0.02)
    clicks[::2000] = 0.9  # crest factor of a bad recording
    levelled = normalise(clicks, RATE)
    assert np.abs(levelled).max() <= 10 ** (-1 / 20) + 1e-6
    assert active_level(levelled, RATE) == pytest.approx(-20, abs=3)


def test_normalise_leaves_what_is_within_the_tolerance() -> None:
    quiet = tone(1, 0.09)  # -24 dBFS
    assert np.array_equal(normalise(quiet, RATE, tolerance=6), quiet)


def test_boost_is_bounded() -> None:
    faint = tone(1, 0.0001)
    assert active_level(normalise(faint, RATE, boost=20), RATE) == pytest.approx(
        active_level(faint, RATE) + 20, abs=0.1
    )


def test_limit_turns_down_only_near_the_peak() -> None:
    sound = tone(2, 0.3)
    sound[RATE] = 3.0
    limited = limit(sound, RATE)
    assert np.abs(limited).max() <= 10 ** (-1 / 20) + 1e-6
    far = np.r_[0 : RATE - 100, RATE + 100 : sound.size]
    assert np.allclose(limited[far], sound[far], atol=1e-6)


def test_limit_does_not_distort_a_steady_tone() -> None:
    limited = limit(tone(1, 1.5), RATE)[800:-800]
    spectrum = np.abs(np.fft.rfft(limited * np.hanning(limited.size))) ** 2
    fundamental = round(440 * limited.size / RATE)
    harmonics = spectrum.sum() - spectrum[fundamental - 5 : fundamental + 6].sum()
    assert 10 * math.log10(harmonics / spectrum.sum()) < -40


def test_trim_cuts_both_ends_and_keeps_the_pause_within() -> None:
    sound = np.concatenate([silence(0.5), tone(0.3, 0.1), silence(0.4), tone(0.3, 0.1), silence(0.7)])
    kept = trim(sound, RATE, lead=0.01, tail=0.1)
    assert kept.size / RATE == pytest.approx(1.0 + 0.11, abs=0.012)


def test_trim_makes_up_a_lead_that_the_sound_lacks() -> None:
    sound = tone(0.3, 0.1)
    kept = trim(sound, RATE, lead=0.01, tail=0.1)
    assert np.array_equal(kept[80:-40], sound[:-40])
    assert not kept[:80].any()


def test_faded_ends_touch_silence_and_nothing_else_changes() -> None:
    steady = np.ones(RATE, np.float32)
    faded = fade(steady, RATE)
    assert faded[0] == faded[-1] == 0
    assert np.array_equal(faded[40:-40], steady[40:-40])
    assert np.abs(np.diff(faded)).max() < 0.026
    assert fade(np.ones(3, np.float32), RATE).tolist() == [0.0, 1.0, 0.0]
    assert fade(np.ones(0, np.float32), RATE).size == 0


def test_trim_of_silence_is_nothing() -> None:
    assert trim(silence(1), RATE).size == 0
    assert trim(silence(0), RATE).size == 0


def test_sixteen_bits_saturate() -> None:
    assert to_int16(np.array([2.0, -2.0, 0.0, np.nan], np.float32)).tolist() == [32767, -32768, 0, 0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3000), st.floats(-9, 3), st.integers(0, 2**32 - 1))
def test_any_sound_stays_finite_and_under_the_ceiling(size: int, exponent: float, seed: int) -> None:
    sound = (np.random.default_rng(seed).normal(0, 10**exponent, size)).astype(np.float32)
    levelled = normalise(trim(sound, RATE), RATE)
    assert np.isfinite(levelled).all()
    assert not levelled.size or np.abs(levelled).max() <= 10 ** (-1 / 20) + 1e-6

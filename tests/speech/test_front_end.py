from pathlib import Path

import numpy as np
import pytest
from speech_kit import on_the_phone, spoken_digit

from media.speech import channel, features
from media.speech.model import ModelError


def test_pieces_of_any_size_give_the_frames_of_the_whole() -> None:
    samples = on_the_phone(spoken_digit(7, "lucas", 0))
    whole = features.FrontEnd().feed(samples)
    for size in (1, 79, 160, 205, 1000):
        front_end = features.FrontEnd()
        pieces = [front_end.feed(samples[i : i + size]) for i in range(0, len(samples), size)]
        assert np.allclose(np.concatenate(pieces), whole, atol=1e-3)
    assert len(whole) == (len(samples) - features.WINDOW) // features.SHIFT + 1


def test_a_tone_fills_the_filters_around_it() -> None:
    tone = (8000 * np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000)).astype(np.int16)
    loudest = int(features.log_energies(tone).mean(axis=0).argmax())
    edges = np.nonzero(features.mel_filters()[loudest])[0] * 31.25
    assert edges[0] < 1000 < edges[-1]


def test_cosine_transform_is_that_of_the_liftered_orthonormal_dct() -> None:
    energies = np.random.default_rng(1).standard_normal(25)
    lifter = 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
    expected = [
        sum(energies[n] * np.cos(np.pi * k * (2 * n + 1) / 50) for n in range(25)) * np.sqrt((1 if k else 0.5) * 2 / 25)
        for k in range(13)
    ] * lifter
    assert np.allclose(features.cosine_transform() @ energies, expected, atol=1e-4)


def test_the_length_of_the_silence_around_a_word_does_not_move_it() -> None:
    word = spoken_digit(1, "lucas", 3)
    short = features.FrontEnd().feed(on_the_phone(word, padding=0.5))
    long = features.FrontEnd().feed(on_the_phone(word, padding=4.0))
    short, long = short - features.level_mean(short), long - features.level_mean(long)
    assert np.abs(short[55:75].mean(axis=0) - long[405:425].mean(axis=0)).max() < 0.3


def test_differences_are_the_models() -> None:
    cepstra = np.arange(20, dtype=np.float32)[:, None] ** 2 * np.ones(13, np.float32)
    frames = features.with_differences(cepstra)
    assert frames.shape == (14, 39)
    t = 3.0
    assert frames[0, 0] == t**2
    assert frames[0, 13] == (t + 2) ** 2 - (t - 2) ** 2
    assert frames[0, 26] == ((t + 3) ** 2 - (t - 1) ** 2) - ((t + 1) ** 2 - (t - 3) ** 2)


def test_spread_tells_a_key_tone_from_a_voice() -> None:
    time = np.arange(4000) / 8000
    key = (4000 * (np.sin(2 * np.pi * 697 * time) + np.sin(2 * np.pi * 1209 * time))).astype(np.int16)
    assert np.median(features.spread(features.log_energies(key))) < -27
    voice = spoken_digit(1, "lucas", 0)
    assert np.median(features.spread(features.log_energies(voice))) > -20


def test_pitch_tells_a_voice_from_noise() -> None:
    voice = spoken_digit(1, "lucas", 0)
    assert features.voiced_frames(voice) >= 10
    noise = (np.random.default_rng(3).standard_normal(len(voice)) * 3000).astype(np.int16)
    assert features.voiced_frames(noise) <= 1
    assert features.voiced_frames(voice[:300]) == 0
    assert features.voiced_frames(np.zeros(4000, np.int16)) == 0


def test_frames_of_many_are_those_of_each() -> None:
    sounds = [on_the_phone(spoken_digit(digit, "lucas", 0)) for digit in range(3)] + [np.zeros(50, np.int16)]
    together = features.cut([features.FrontEnd() for _ in sounds], sounds)
    for mine, sound in zip(together, sounds, strict=True):
        assert np.allclose(mine, features.FrontEnd().feed(sound), atol=1e-4)
    assert features.cut([], []) == []


def test_a_channel_file_of_another_front_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "telephone.json"
    for content in (b"", b"{}", b'{"provenance": "", "cepstra": [[1.0]]}'):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"telephone\.json"):
            channel.load(path)


def test_channel_estimate_finds_a_linear_relation_again() -> None:
    rng = np.random.default_rng(2)
    narrow = rng.standard_normal((4000, features.HEARD))
    unheard = narrow @ rng.standard_normal((features.HEARD, features.FILTERS - features.HEARD))
    cepstra = channel.estimate(narrow, np.concatenate([narrow, unheard], axis=1))
    expected = np.concatenate([narrow, unheard], axis=1) @ features.cosine_transform().T
    assert np.abs(narrow @ cepstra.T - expected).std() / expected.std() < 0.05

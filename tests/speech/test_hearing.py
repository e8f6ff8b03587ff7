"""What the ears make of recordings: the same code as on a call, without one."""

from __future__ import annotations

import numpy as np
import pytest
from speech_kit import DIGITS, Samples, read_sentence, spoken_digit

from media.dtmf import tones
from media.hearing import Ears, Hearing, framed, hear
from media.speech.engine import Key, Spotted
from media.speech.matching import KeywordMatcher
from media.speech.messages import HeardWord

GENERATOR = np.random.default_rng(7)


def room(seconds: float) -> Samples:
    """A quiet room."""
    return np.rint(GENERATOR.normal(0, 8, int(seconds * 8000))).astype(np.int16)


def scene() -> tuple[Samples, dict[str, float]]:
    """Keys and words with the times at which they begin."""
    parts = {
        "key 1": tones("1", 100, 100),
        "one": spoken_digit(1, "lucas", 0),
        "key 5": tones("5", 80, 80),
        "key #": tones("#", 80, 80),
        "sentence": read_sentence("austen_0930"),
        "seven": spoken_digit(7, "george", 0),
    }
    sound, times = [room(1.0)], {}
    for name, part in parts.items():
        times[name] = sum(map(len, sound)) / 8000
        sound += [part, room(0.7)]
    return np.concatenate(sound), times


@pytest.fixture(scope="module")
def heard(matcher: KeywordMatcher) -> tuple[Hearing, dict[str, float]]:
    sound, times = scene()
    return hear(sound, DIGITS, matcher), times


def test_keys_at_their_times(heard: tuple[Hearing, dict[str, float]]) -> None:
    hearing, times = heard
    assert [key.digit for key in hearing.keys] == ["1", "5", "#"]
    for key in hearing.keys:
        assert 0.02 < key.at - times[f"key {key.digit}"] < 0.09


def test_words_at_their_times(heard: tuple[Hearing, dict[str, float]]) -> None:
    hearing, times = heard
    assert [word.word for word in hearing.words] == ["one", "seven"]
    for word in hearing.words:
        assert word.start == pytest.approx(times[word.word], abs=0.15)
        assert word.start < word.end < word.start + 1.0
        assert 0.5 <= word.confidence <= 1.0
    answered = [utterance for utterance in hearing.utterances if utterance.words]
    for utterance in answered:
        assert 0.25 < utterance.decided - utterance.end < 0.4


def test_a_sentence_without_any_of_the_words_is_rejected(heard: tuple[Hearing, dict[str, float]]) -> None:
    hearing, times = heard
    long = [each for each in hearing.utterances if each.end - each.start > 1.5]
    assert long
    assert all(each.rejected for each in long)
    assert long[0].start == pytest.approx(times["sentence"], abs=0.3)


def test_speech_is_found_without_words_to_listen_for() -> None:
    hearing = hear(scene()[0])
    assert hearing.utterances == ()
    assert len(hearing.speech) >= 4
    assert [key.digit for key in hearing.keys] == ["1", "5", "#"]


def test_a_recording_that_breaks_off_in_a_word(matcher: KeywordMatcher) -> None:
    sound = np.concatenate([room(1.0), spoken_digit(1, "lucas", 0)])
    hearing = hear(sound, DIGITS, matcher)
    assert [word.word for word in hearing.words] == ["one"]
    assert hearing.seconds == pytest.approx(len(sound) / 8000, abs=0.02)


def test_endless_speech_is_cut_as_on_a_call(matcher: KeywordMatcher) -> None:
    syllable = np.concatenate([100 * room(0.35), room(0.1)])
    sound = np.concatenate([room(1.0), np.tile(syllable, 30)[: 8000 * 10], room(0.5)])
    first, second = hear(sound, ["yes"], matcher).utterances
    assert first.decided - first.start == pytest.approx(8.0, abs=0.2)
    assert second.start == pytest.approx(first.decided, abs=0.05)


@pytest.mark.parametrize("samples", [np.zeros(0, np.int16), np.zeros(1, np.int16), np.full(8000, 32767, np.int16)])
def test_nothing_to_hear(samples: Samples) -> None:
    hearing = hear(samples)
    assert hearing.keys == ()
    assert hearing.words == ()


def test_streams_of_a_batch_do_not_mix() -> None:
    """A recogniser that remembers what it was told: each stream's sound comes whole, and only its own."""
    recogniser = Memory()
    one, two = spoken_digit(1, "lucas", 0), np.roll(spoken_digit(2, "george", 0), 40)
    frames = [framed(np.concatenate([room(1.0), each, room(1.0)])) for each in (one, two)]
    ears = Ears(2, ["one"], recogniser)
    for pair in zip(*frames, strict=False):
        ears.feed(np.stack(pair))
    left, right = ears.close()
    assert [word.confidence for word in left.words] == [0.0]
    assert [word.confidence for word in right.words] == [1.0]
    for stream, sound in enumerate((one, two)):
        got = np.frombuffer(recogniser.sound[stream], "<i2").astype(float)
        assert np.correlate(got, sound[:800].astype(float)).max() > 0.99 * float((sound[:800].astype(float) ** 2).sum())


class Memory:
    about = "memory"

    def __init__(self) -> None:
        self.sound: dict[int, bytes] = {}

    def begin(self, key: Key, words: list[str], language: str, at: float) -> None:
        self.sound[key.stream] = b""

    def audio(self, key: Key, pcm: bytes) -> list[Spotted]:
        self.sound[key.stream] += pcm
        return []

    def end(self, key: Key) -> list[HeardWord]:
        return [HeardWord("one", float(key.stream), 1.0, 1.2)]

    def cancel(self, key: Key) -> None:
        raise AssertionError("nothing is to be cancelled")

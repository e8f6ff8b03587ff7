"""Utterances heard together are heard as each would be alone, whatever is beside them and however their sound comes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from speech_kit import DIGITS, SPEAKERS, Samples, on_the_phone, spoken_digit

from media.speech import language
from media.speech.engine import Key
from media.speech.matching import KeywordMatcher
from media.speech.messages import HeardWord

pytestmark = pytest.mark.sound

NODES = (DIGITS, ["yes", "no"], ["one", "two", "six"], [])
SOUNDS: list[Samples] = [
    on_the_phone(spoken_digit(1, "lucas", 0)),
    on_the_phone(spoken_digit(6, "jackson", 1)),
    on_the_phone(spoken_digit(2, "yweweler", 2), padding=0.1),
    on_the_phone(spoken_digit(7, "george", 3), padding=0.8),
    np.zeros(100, np.int16),
]


@pytest.fixture(scope="module")
def alone(matcher: KeywordMatcher) -> dict[tuple[int, int], list[HeardWord]]:
    """What is heard of each sound at each node when nobody else talks, in one piece."""
    found = {}
    for node, words in enumerate(NODES):
        for number, sound in enumerate(SOUNDS):
            key = Key(900 + node, number, 1)
            matcher.begin(key, words, "en", 0.0)
            matcher.audio(key, sound.tobytes())
            found[node, number] = matcher.end(key)
    return found


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    callers=st.lists(
        st.tuples(st.integers(0, len(NODES) - 1), st.integers(0, len(SOUNDS) - 1), st.integers(1, 4000)),
        min_size=1,
        max_size=7,
    ),
    seed=st.integers(0, 1000),
)
def test_together_as_alone(
    matcher: KeywordMatcher,
    alone: dict[tuple[int, int], list[HeardWord]],
    callers: list[tuple[int, int, int]],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    left = {Key(1000 + seed, stream, stream): SOUNDS[sound].tobytes() for stream, (_, sound, _) in enumerate(callers)}
    keys = list(left)
    for key in keys:
        matcher.begin(key, NODES[callers[key.stream][0]], "en", 0.0)
    found = {}
    while left:
        some = [key for key in left if rng.random() < 0.7]
        pieces = {key: left[key][: 2 * callers[key.stream][2]] for key in some}
        matcher.advance(pieces)
        for key in some:
            left[key] = left[key][len(pieces[key]) :]
        over = [key for key in some if not left[key]]
        found.update(zip(over, matcher.finish(over), strict=True))
        for key in over:
            del left[key]
    matcher._calls.clear()
    for key in keys:
        node, sound, _ = callers[key.stream]
        expected = alone[node, sound]
        assert [(each.word, each.start, each.end) for each in found[key]] == [
            (each.word, each.start, each.end) for each in expected
        ]
        for mine, other in zip(found[key], expected, strict=True):
            assert mine.confidence == pytest.approx(other.confidence, abs=0.011)


def test_something_is_heard_at_all(alone: dict[tuple[int, int], list[HeardWord]]) -> None:
    assert [word.word for word in alone[0, 0]] == ["one"]
    assert [word.word for word in alone[0, 1]] == ["six"]
    assert not any(words for (node, _), words in alone.items() if not NODES[node])


def test_strangers_odd_bytes_and_no_sound(matcher: KeywordMatcher) -> None:
    known, stranger = Key(7, 1, 1), Key(7, 2, 1)
    matcher.begin(known, DIGITS, "en", 0.0)
    sound = SOUNDS[0].tobytes()
    assert matcher.advance({stranger: sound, known: b""}) == []
    matcher.advance({known: sound + b"\1"})
    ended, nothing = matcher.finish([known, stranger])
    assert [word.word for word in ended] == ["one"]
    assert nothing == []
    assert matcher.advance({}) == []
    assert matcher.finish([]) == []


def test_cancelled_and_ended_in_any_order(matcher: KeywordMatcher) -> None:
    keys = [Key(8, stream, 1) for stream in range(4)]
    for key in keys:
        matcher.begin(key, DIGITS, "en", 0.0)
    matcher.advance({key: SOUNDS[key.stream % 2].tobytes() for key in keys})
    matcher.cancel(keys[0])
    matcher.cancel(keys[0])
    found = matcher.finish([keys[3], keys[0], keys[2]])
    assert [[word.word for word in words] for words in found] == [["six"], [], ["one"]]
    matcher.cancel(keys[3])
    matcher.begin(keys[1], ["yes"], "en", 0.0)  # anew
    assert matcher.end(keys[1]) == []
    assert matcher.end(keys[1]) == []


def test_two_hundred_words(matcher: KeywordMatcher) -> None:
    """So many sound alike that no accuracy is asked for; but what is heard was asked for."""
    words = [f"{tens}-{digit}" for tens in ("twenty", "thirty", "forty", "fifty") for digit in DIGITS]
    words += [*language.COMMON.split(), *DIGITS, "yes", "xqzv", ""]
    words += [f"sixty-{word}" for word in words][: 200 - len(words)]
    assert len(words) == 200
    key = Key(9, 1, 1)
    matcher.begin(key, words, "en", 0.0)
    matcher.audio(key, SOUNDS[1].tobytes())
    assert {word.word for word in matcher.end(key)} <= set(words)


def test_the_mean_of_a_call_goes_from_one_utterance_to_the_next(matcher: KeywordMatcher) -> None:
    """A first word that was understood, then one cut so short that its own mean says little."""
    for speaker in SPEAKERS:
        for utterance, digit in enumerate((1, 9)):
            key = Key(10, SPEAKERS.index(speaker), utterance)
            matcher.begin(key, DIGITS, "en", 0.0)
            matcher.audio(key, on_the_phone(spoken_digit(digit, speaker, 5)).tobytes())
            assert [word.word for word in matcher.end(key)] == [DIGITS[digit]], speaker
    assert sum(call[0] == 10 for call in matcher._calls) == len(SPEAKERS)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.tts.text import MAX_CHARACTERS, Unspeakable, clean, must_sound, plausible


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("  hello \n\t world ", "hello world"),
        ("\x0150shello\x00", "50shello"),
        ("s\u0326i", "și"),
        ("a\ud800b", "ab"),
        ("", ""),
        ("\x00\x07", ""),
        ("👨‍👩‍👧", "👨‍👩‍👧"),
    ],
)
def test_clean(text: str, spoken: str) -> None:
    assert clean(text) == spoken


def test_length_counts_what_is_spoken() -> None:
    assert len(clean("x" * MAX_CHARACTERS + "   \n")) == MAX_CHARACTERS
    for long in ("x" * (MAX_CHARACTERS + 1), " x" * 10_000_000):
        with pytest.raises(Unspeakable, match=f"may have {MAX_CHARACTERS}"):
            clean(long)


@given(st.text(st.characters(codec=None), max_size=300))
def test_what_is_clean_can_be_encoded_and_stays_so(text: str) -> None:
    spoken = clean(text)
    spoken.encode()
    assert clean(spoken) == spoken
    assert not any(ord(character) < 32 for character in spoken)


def test_clean_on_nothing() -> None:
    assert clean("") == ""


def test_must_sound() -> None:
    assert must_sound("…1")
    assert must_sound("ș")
    assert not must_sound("?! — …")


def test_a_cut_prompt_is_not_plausible() -> None:
    text = "Welcome to our service. Please say yes or no, or press one to continue with the survey."
    assert plausible(text, 160, 5.6)
    assert not plausible(text, 160, 0.5)
    assert not plausible("hello", 160, 60)
    assert plausible("x " * 2500, 160, 6)

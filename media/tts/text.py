"""What may be spoken: cleaning a text, and how long it can plausibly take."""

from __future__ import annotations

import unicodedata

MAX_CHARACTERS = 5000
"""Longest text of one prompt: about six minutes."""

_NOMINAL_RATE = 175
_LONGEST_WORD = 40


class Unspeakable(ValueError):
    """The text is refused before any engine sees it."""


def clean(text: str) -> str:
    """``text`` in NFC, without control characters and lone surrogates, white space collapsed.

    Control characters would be commands to the engine (0x01) or end its string (0x00). Raises
    :class:`Unspeakable` when more than :data:`MAX_CHARACTERS` are left.
    """
    if len(text) > 4 * MAX_CHARACTERS:
        raise Unspeakable(_too_long(len(text)))
    kept = "".join(_replacement(character) for character in text)
    spoken = " ".join(unicodedata.normalize("NFC", kept).split())
    if len(spoken) > MAX_CHARACTERS:
        raise Unspeakable(_too_long(len(spoken)))
    return spoken


def must_sound(text: str) -> bool:
    """Whether silence would be wrong: there is a letter or a digit in it."""
    return any(character.isalnum() for character in text)


def plausible(text: str, rate: int, seconds: float) -> bool:
    """Whether ``text`` can last ``seconds`` at ``rate`` words a minute.

    Wide on purpose (a symbol may be read as its name, a repeated letter is skipped as decoration);
    it catches prompts that were cut off or belong to another text.
    """
    letters = sum(min(len(word), _LONGEST_WORD) for word in set(text.split()) if must_sound(word))
    pace = _NOMINAL_RATE / rate
    return 0.015 * letters * pace <= seconds <= (3.0 + 3.0 * len(text)) * max(1.0, pace)


def _replacement(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":
        return ""
    return " " if category == "Cc" else character


def _too_long(length: int) -> str:
    return f"the text has {length} characters; a prompt may have {MAX_CHARACTERS}"

"""Pronunciations of English words, from the dictionary that comes with the PocketSphinx wheel.

Light on purpose: ``ivrea check`` asks here which words of a flow can be heard at all, without
loading the acoustic model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from media.speech import letters
from media.speech.letters import Pronunciation
from media.speech.model import ModelError, bundled_folder

ENGLISH = frozenset(("", "en"))
DICTIONARY = "cmudict-en-us.dict"
HISSES = frozenset(("S", "Z"))
LEAST_PHONES = 3
"""What is left of a word without its hiss must have so many, or all kinds of sounds would be taken for it."""
MAX_WORD = 40
"""Letters; longer words are no words."""

_READABLE = re.compile(r"(?=.*[aeiouy])[a-z']{2,}", re.ASCII)
"""What can be read as a word; the rest would be spelled out."""
_PLAIN = re.compile(r"[a-z']+(?:[-.][a-z']+)*\.?", re.ASCII)


class Lexicon:
    """Looks words up in the text of the dictionary, 3 MB that are searched and never parsed as a whole."""

    def __init__(self, path: Path | None = None) -> None:
        """Raises :class:`~media.speech.model.ModelError` when the dictionary cannot be read."""
        path = path or bundled_folder() / DICTIONARY
        try:
            self._text = "\n" + path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"cannot read the pronunciation dictionary {path}: {error}") from error
        self._known: dict[str, tuple[Pronunciation, ...]] = {}
        self._learned: set[str] = set()

    def pronunciations(self, word: str) -> tuple[Pronunciation, ...]:
        """All pronunciations of ``word`` (any case), most usual first; empty when it has none.

        Apostrophes may be missing: flows compare words without punctuation ("dont").
        """
        word = word.casefold()
        if word not in self._known:
            self._known[word] = self._find(word)
        return self._known[word]

    def learn(self, words: Iterable[str]) -> None:
        """Find out how those of ``words`` are said that the dictionary lacks, by their letters.

        That takes a process and some tenths of a second, once for each word.
        """
        parts = {part for word in words for part in word.casefold().split("-")}
        unknown = [part for part in parts if part not in self._learned and not self.pronunciations(part)]
        unknown = [part for part in unknown if len(part) <= MAX_WORD and _READABLE.fullmatch(part)]
        self._learned.update(unknown)
        for word, pronunciation in letters.spell(unknown).items():
            self._known[word] = (pronunciation,)
        if unknown:
            self._known = {word: found for word, found in self._known.items() if found}

    def spoken(self, word: str) -> tuple[Pronunciation, ...]:
        """:meth:`pronunciations`, how those who drop a final r say them, and what a telephone leaves of them."""
        found = self.pronunciations(word)
        found += tuple(variant for pronunciation in found for variant in _without_final_r(pronunciation))
        lost = (variant for pronunciation in found for variant in _without_hiss(pronunciation))
        return tuple(dict.fromkeys((*found, *lost)))

    def _find(self, word: str) -> tuple[Pronunciation, ...]:
        if not word or len(word) > MAX_WORD or not _PLAIN.fullmatch(word):
            return ()
        if "-" in word:
            return self._compound(word.split("-"))
        found = self._lines(re.escape(word))
        if not found and "'" not in word:
            found = self._lines(word[0] + "".join("'?" + re.escape(letter) for letter in word[1:]))
        return tuple(dict.fromkeys(found))

    def _lines(self, pattern: str) -> list[Pronunciation]:
        lines = re.finditer(rf"\n{pattern}(?:\(\d+\))? (.*)", self._text)
        return [tuple(line[1].split()) for line in lines]

    def _compound(self, parts: list[str]) -> tuple[Pronunciation, ...]:
        """The parts of "twenty-one" one after the other, each in its most usual pronunciation."""
        joined: Pronunciation = ()
        for part in parts:
            found = self.pronunciations(part)
            if not found:
                return ()
            joined += found[0]
        return (joined,)


def _without_final_r(pronunciation: Pronunciation) -> tuple[Pronunciation, ...]:
    if pronunciation[-1] == "ER":
        return ((*pronunciation[:-1], "AH"),)
    if pronunciation[-1] != "R" or len(pronunciation) < 3:
        return ()
    dropped = pronunciation[:-1]
    return ((*dropped[:-1], "AO"),) if dropped[-1] == "UH" else (dropped,)


def _without_hiss(pronunciation: Pronunciation) -> tuple[Pronunciation, ...]:
    """Without the s at its begin or end, whose sound lies above what a call carries: "six" is all but "ik"."""
    begin, end = int(pronunciation[0] in HISSES), len(pronunciation) - int(pronunciation[-1] in HISSES)
    shorter = dict.fromkeys((pronunciation[begin:], pronunciation[:end], pronunciation[begin:end]))
    return tuple(variant for variant in shorter if variant != pronunciation and len(variant) >= LEAST_PHONES)


@lru_cache(maxsize=1)
def bundled() -> Lexicon:
    """The dictionary of the wheel, read once. Raises :class:`~media.speech.model.ModelError`."""
    return Lexicon()


def primary(tag: str) -> str:
    """The language of a tag: "en" of "en-GB" and "en_us"."""
    return re.split("[-_]", tag.casefold(), maxsplit=1)[0]


def is_english(language: str) -> bool:
    """Whether a language tag names English; none does."""
    return primary(language) in ENGLISH


def pronounceable(words: Iterable[str], language: str = "en", vosk_model: Path | None = None) -> set[str]:
    """Those of ``words`` that the recogniser can *not* pronounce, and so will never hear.

    With ``vosk_model`` the words of that model's own list are the ones that count. Raises
    :class:`~media.speech.model.ModelError` when dictionary or model folder cannot be read.
    """
    if vosk_model is not None:
        from media.speech.vosk_engine import unknown_words

        return unknown_words(words, vosk_model)
    if not is_english(language):
        return set(words)
    lexicon, words = bundled(), set(words)
    lexicon.learn(words)
    return {word for word in words if not lexicon.pronunciations(word)}

"""``yes | sure | want -not``: the patterns of a call tree, against what was heard or pressed.

Grammar::

    pattern     := alternative ("|" alternative)*
    alternative := term (WS term)*
    term        := ["-"] (word | word"*" | '"' word (WS word)* '"') | "key:" keys

An alternative matches an utterance in which every plain term occurs and no negated one, in any
order, as whole words; case, diacritics and punctuation do not count. A word of digits (or ``*``,
``#``) matches the spoken number and, as the only plain term of its alternative, the press of these keys, in sequence;
``key:12`` matches the press alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .call import Vocabulary
from .findings import Severity
from .numbers import TABLES, base_language, readings, words_for

MAX_LENGTH = 4000
"""Characters of one pattern."""
MAX_ALTERNATIVES = 256
"""Alternatives of one pattern."""
MAX_TERMS = 32
"""Terms of one alternative."""
MAX_KEYS = 32
"""Keys pressed in sequence."""

KEYS = frozenset("0123456789*#ABCD")
"""The sixteen keys of DTMF (ITU-T Q.23)."""

_TOKEN = re.compile(r'(?P<bar>\|)|(?P<minus>-?)"(?P<phrase>[^"]*)"|(?P<word>[^\s|"]+)|(?P<stray>")')
_TYPOGRAPHY = str.maketrans({"“": '"', "”": '"', "„": '"', "’": "'", "‘": "'", "−": "-", "–": "-"})
_PRESSABLE = frozenset("0123456789*#")
# A vocabulary lists whole words; these are what "want*" is listened for as, besides "want".
_ENDINGS = {"en": ("", "s", "ed", "ing")}


@lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """``text`` with case, diacritics and punctuation taken away: two words are the same if these are.

    Only marks that sit above or below a letter go (combining class of 200 and more):
    the vowel signs of Indic scripts are part of the word.
    """
    if text.isascii() and text.isalnum():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    kept = (c for c in decomposed if unicodedata.combining(c) < 200 and unicodedata.category(c)[0] in "LNM")
    return "".join(kept).casefold()


@lru_cache(maxsize=64)
def _number_of(language: str) -> dict[str, str]:
    table = TABLES.get(base_language(language))
    return {normalise(word): number for number, words in (table or {}).items() for word in words}


def canonical(word: str, language: str) -> str:
    """The form in which words are compared: normalised, a number word as its digits."""
    plain = normalise(word)
    return _number_of(language).get(plain, plain)


def _surface(word: str) -> str:
    """The word as a recogniser's dictionary has it: casefolded, inner apostrophes and diacritics kept."""
    folded = unicodedata.normalize("NFC", word.casefold())
    return folded.strip("".join({c for c in folded if unicodedata.category(c)[0] not in "LNM"}))


@dataclass(frozen=True, slots=True)
class Term:
    """A word, a phrase, a number or (``prefix``) the beginning of a word.

    It occurs in an utterance when one of ``readings``, each a run of canonical words, does.
    """

    readings: tuple[tuple[str, ...], ...]
    spoken: tuple[str, ...]
    prefix: bool = False

    def occurs(self, heard: Sequence[str]) -> bool:
        if self.prefix:
            stem = self.readings[0][0]
            return any(word.startswith(stem) for word in heard)
        return any(_contains(heard, reading) for reading in self.readings)

    def implied_by(self, other: Term) -> bool:
        """Whether this term occurs in every utterance in which ``other`` does."""
        if self.prefix:
            stem = self.readings[0][0]
            return all(any(word.startswith(stem) for word in reading) for reading in other.readings)
        if other.prefix:
            return False
        return all(self.occurs(reading) for reading in other.readings)


def _contains(heard: Sequence[str], run: tuple[str, ...]) -> bool:
    if len(run) == 1:
        return run[0] in heard
    return any(tuple(heard[at : at + len(run)]) == run for at in range(len(heard) - len(run) + 1))


@dataclass(frozen=True, slots=True)
class Alternative:
    """One alternative of a pattern. ``keys`` is the press that takes it, ``""`` if none does."""

    source: str
    plain: tuple[Term, ...] = ()
    negated: tuple[Term, ...] = ()
    keys: str = ""

    def matches(self, heard: Sequence[str]) -> bool:
        """Whether the canonical words ``heard`` take it."""
        if not self.plain or not all(term.occurs(heard) for term in self.plain):
            return False
        return not any(term.occurs(heard) for term in self.negated)

    def covers(self, other: Alternative) -> bool:
        """Whether every utterance that takes ``other`` takes this one too."""
        if not self.plain or not all(any(t.implied_by(o) for o in other.plain) for t in self.plain):
            return False
        return all(any(o.implied_by(t) for o in other.negated) for t in self.negated)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something odd about a pattern."""

    code: str
    severity: Severity
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed pattern."""

    source: str
    alternatives: tuple[Alternative, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(alternative.keys for alternative in self.alternatives if alternative.keys)

    def matches(self, heard: Sequence[str]) -> bool:
        """Whether the canonical words ``heard`` take one of the alternatives."""
        return any(alternative.matches(heard) for alternative in self.alternatives)

    def spoken(self) -> tuple[str, ...]:
        """The words that a recogniser must know to decide on this pattern, negated ones included."""
        found: dict[str, None] = {}
        for alternative in self.alternatives:
            if alternative.plain:  # only then can the negated words matter
                for term in (*alternative.plain, *alternative.negated):
                    found.update(dict.fromkeys(term.spoken))
        return tuple(found)


class _Parser:
    """Reads one pattern, alternative by alternative, noting what is odd about it."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.problems: list[Problem] = []
        self._plain: list[Term] = []
        self._negated: list[Term] = []
        self._presses: list[str] = []  # of plain terms made of digits
        self._key = ""  # of key:…
        self._tokens: list[str] = []

    def problem(self, code: str, severity: Severity, message: str, hint: str = "") -> None:
        self.problems.append(Problem(code, severity, message, hint))

    def word(self, text: str) -> None:
        self._tokens.append(text)
        negative = text.startswith("-")
        word = text[1:] if negative else text
        if len(word) > MAX_KEYS and set(word.upper().removeprefix("KEY:")) <= KEYS:
            self.problem("pattern-too-long", "error", f"more than {MAX_KEYS} keys or digits in sequence")
            return
        if word[:4].casefold() == "key:":
            self._press(word[4:], negative=negative)
        elif set(word) <= _PRESSABLE and word:
            self._digits(word, negative=negative)
        elif len(word) > 1 and word.endswith("*") and normalise(word):
            stem = normalise(word)
            endings = _ENDINGS.get(base_language(self.language), ("",))
            spoken = tuple(_surface(word[:-1]) + ending for ending in endings)
            self._put(Term(((stem,),), spoken, prefix=True), negative=negative)
        elif normalise(word):
            reading = (canonical(word, self.language),)
            self._put(Term((reading,), (_surface(word),)), negative=negative)
        elif negative and not word:
            self.problem("bad-pattern", "error", "a lone minus sign", "write -word, without a space after the minus")
        else:
            self.problem("bad-pattern", "warning", f"{text!r} has nothing that can be said", "remove it")

    def phrase(self, text: str, *, negative: bool) -> None:
        self._tokens.append(f'{"-" if negative else ""}"{text}"')
        words = [word for word in text.split() if normalise(word)]
        if not words:
            self.problem("bad-pattern", "warning", "an empty phrase", "remove the quotes")
            return
        reading = tuple(canonical(word, self.language) for word in words)
        self._put(Term((reading,), tuple(_surface(word) for word in words)), negative=negative)

    def _press(self, keys: str, *, negative: bool) -> None:
        keys = keys.upper()
        if negative or not keys or not set(keys) <= KEYS:
            hint = "key: is followed, without a space, by keys of 0-9 * # A-D, as in key:1 or key:12"
            self.problem("bad-pattern", "error", f"key:{keys} cannot be pressed" if keys else "key: names no key", hint)
        elif self._key:
            self.problem(
                "bad-pattern", "error", "two key: terms in one alternative", "use | for either, key:12 for both"
            )
        else:
            self._key = keys

    def _digits(self, word: str, *, negative: bool) -> None:
        if not negative:
            self._presses.append(word)
        if word.isdigit():
            ways = readings(word, self.language)
            numbers = dict.fromkeys(number for way in ways for number in way)
            spoken = tuple(said for number in numbers for said in words_for(number, self.language))
            self._put(Term(ways, spoken), negative=negative)
        elif negative:
            self.problem("bad-pattern", "warning", f"{word} is a key, which is never said", "remove it")

    def _put(self, term: Term, *, negative: bool) -> None:
        (self._negated if negative else self._plain).append(term)

    def finish(self) -> Alternative | None:
        """The alternative that was read; ``None`` if there is nothing in it that can ever match."""
        source = " ".join(self._tokens)
        plain, negated, presses, key = tuple(self._plain), tuple(self._negated), self._presses, self._key
        self._plain, self._negated, self._presses, self._key, self._tokens = [], [], [], "", []
        if len(plain) + len(negated) > MAX_TERMS:
            self.problem("pattern-too-long", "error", f"more than {MAX_TERMS} words in one alternative")
            return None
        if key:
            if plain or presses:
                hint = "write the two as alternatives: key:1 | yes"
                self.problem("never-matches", "warning", f"{source!r}: a key and words never come together", hint)
                return None
            return Alternative(source, (), (), key)
        if len(presses) == 1 and len(plain) == (1 if presses[0].isdigit() else 0):
            return Alternative(source, plain, negated, presses[0])
        if presses and not all(press.isdigit() for press in presses):
            hint = "write keys that follow each other as one word: *1"
            self.problem("never-matches", "warning", f"{source!r}: keys and words never come together", hint)
            return None
        if presses:
            hint = f"for keys one after the other write {''.join(presses)}"
            self.problem("said-only", "info", f"{source!r} can be said but not pressed", hint)
        if not plain:
            self._nothing_plain(source)
            return None
        return Alternative(source, plain, negated)

    def _nothing_plain(self, source: str) -> None:
        if not source:
            self.problem("empty-pattern", "warning", "an empty alternative", "remove the extra |")
        elif source.startswith("-"):
            hint = "add the word that must be there"
            self.problem("never-matches", "warning", f"{source!r} only says what must not be heard", hint)


def parse_pattern(text: str, language: str = "en") -> tuple[Pattern, tuple[Problem, ...]]:
    """Read a pattern. Never raises: what is odd comes back as problems, what can match as alternatives."""
    parser = _Parser(language)
    alternatives: list[Alternative] = []
    count = 1
    if len(text) > MAX_LENGTH:
        message = f"a pattern of {len(text):,} characters; the limit is {MAX_LENGTH:,}"
        return Pattern(text[:80], ()), (Problem("pattern-too-long", "error", message),)
    text = text.translate(_TYPOGRAPHY)
    if not text.replace("|", "").strip():
        return Pattern(text.strip(), ()), (Problem("empty-pattern", "error", "the pattern is empty", "name a word"),)

    def close() -> None:
        alternative = parser.finish()
        if alternative is not None:
            alternatives.append(alternative)

    for token in _TOKEN.finditer(text):
        if token["bar"]:
            count += 1
            if count > MAX_ALTERNATIVES:
                parser.problem("pattern-too-long", "error", f"more than {MAX_ALTERNATIVES} alternatives")
                break
            close()
        elif token["phrase"] is not None:
            parser.phrase(token["phrase"], negative=bool(token["minus"]))
        elif token["stray"]:
            parser.problem("bad-pattern", "error", "a quotation mark without its partner")
        else:
            parser.word(token["word"])
    close()
    if not alternatives and not any(problem.severity == "error" for problem in parser.problems):
        parser.problem("never-matches", "warning", "no alternative of this pattern can ever match")
    return Pattern(text.strip(), tuple(alternatives)), tuple(parser.problems)


@dataclass(frozen=True, slots=True)
class Choice:
    """A branch: the exit that is taken when ``pattern`` matches; ``origin`` as in :class:`flows.graph.Step`."""

    exit: str
    pattern: Pattern
    origin: str = ""


class Choices:
    """The branches of one listening step, in document order: the first that matches wins. Immutable."""

    __slots__ = ("_prefixes", "_presses", "items", "language", "vocabulary")

    def __init__(self, items: Iterable[Choice], language: str = "en") -> None:
        self.items: tuple[Choice, ...] = tuple(items)
        self.language = language or "en"
        self._presses: dict[str, str] = {}
        for choice in self.items:
            for keys in choice.pattern.keys:
                self._presses.setdefault(keys, choice.exit)
        self._prefixes = {keys[:length] for keys in self._presses for length in range(1, len(keys))}
        words = dict.fromkeys(word for choice in self.items for word in choice.pattern.spoken())
        # None when there is nothing to listen for: key:1 arms no recogniser.
        self.vocabulary: Vocabulary | None = Vocabulary(tuple(words), self.language) if words else None

    def __len__(self) -> int:
        return len(self.items)

    def pressed(self, keys: str) -> str | None:
        """The exit that these presses take."""
        return self._presses.get(keys)

    def continues(self, keys: str) -> bool:
        """Whether a longer sequence begins with ``keys``."""
        return keys in self._prefixes

    def said(self, words: Iterable[str]) -> str | None:
        """The exit that an utterance of these words takes."""
        heard = [canonical(word, self.language) for word in words]
        return next((choice.exit for choice in self.items if choice.pattern.matches(heard)), None)

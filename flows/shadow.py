"""Which alternatives of a node can never be taken because an earlier one always is."""

from __future__ import annotations

from collections.abc import Iterator

from .findings import Findings
from .keywords import Alternative, Choice, Choices

MAX_COMPARISONS = 100_000
"""Per node; a larger one is looked at only in part."""


class _Earlier:
    """Alternatives seen so far, found by a word that they need."""

    def __init__(self) -> None:
        self._by_word: dict[str, list[tuple[Choice, Alternative]]] = {}
        self._loose: list[tuple[Choice, Alternative]] = []  # begin with a prefix or a number of several readings

    def add(self, choice: Choice, alternative: Alternative) -> None:
        first = alternative.plain[0]
        if first.prefix or len(first.readings) > 1:
            self._loose.append((choice, alternative))
        else:
            self._by_word.setdefault(first.readings[0][0], []).append((choice, alternative))

    def candidates(self, alternative: Alternative) -> Iterator[tuple[Choice, Alternative]]:
        """Every earlier alternative that might cover this one."""
        words = {word for term in alternative.plain for reading in term.readings for word in reading}
        for word in words:
            yield from self._by_word.get(word, ())
        yield from self._loose


def report_shadowed(choices: Choices, findings: Findings) -> None:
    """Report alternatives, or whole branches, that an earlier branch of the node always takes."""
    earlier = _Earlier()
    budget = MAX_COMPARISONS
    for choice in choices.items:
        hidden: list[tuple[Alternative, Choice]] = []
        for alternative in choice.pattern.alternatives:
            by: Choice | None = None
            if alternative.plain and budget > 0:
                for other, candidate in earlier.candidates(alternative):
                    budget -= 1
                    if candidate.covers(alternative):
                        by = other
                        break
                    if budget <= 0:
                        break
            pressed = bool(alternative.keys) and choices.pressed(alternative.keys) == choice.exit
            if alternative.keys and not alternative.plain and not pressed:
                taker = choices.pressed(alternative.keys)
                by = next(other for other in choices.items if other.exit == taker)
            if by is not None and not pressed:
                hidden.append((alternative, by))
        _report(choice, hidden, findings)
        for alternative in choice.pattern.alternatives:
            if alternative.plain:
                earlier.add(choice, alternative)
    if budget <= 0:
        findings.info("not-checked", "", "a node has too many choices to look for ones that hide each other")


def _report(choice: Choice, hidden: list[tuple[Alternative, Choice]], findings: Findings) -> None:
    if not hidden:
        return
    hint = "the first key that matches wins: put the more specific one first"
    if len(hidden) == len(choice.pattern.alternatives):
        takers = ", ".join(dict.fromkeys(repr(by.exit) for _, by in hidden))
        findings.warning("shadowed", choice.origin, f"{choice.exit!r} is never taken: {takers} matches first", hint)
        return
    for alternative, by in hidden:
        message = f"the alternative {alternative.source!r} is never taken: {by.exit!r} matches first"
        findings.warning("shadowed", choice.origin, message, hint)

"""The attributes of a TwiML element, read one by one; those that nobody asked for are reported, never dropped silently.

A value that means nothing is an error. One that is out of range is brought into it, with a warning: the original
systems do the same, and a call that is under way had better go on.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Literal, TypeVar

from flows.findings import Findings
from flows.markup import Element

_T = TypeVar("_T")

_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?\Z", re.ASCII)
_DURATION = re.compile(r"(\d{1,9})\s*(s|m|h)?\Z", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def seconds_of(text: str) -> float | None:
    """Seconds written as ``30``, ``30s``, ``2m`` or ``1h``; ``None`` when it is none of these."""
    found = _DURATION.match(text)
    return float(int(found[1]) * _UNITS[(found[2] or "").lower()]) if found else None


class Options:
    """Reads ``element``'s attributes; :meth:`done` reports the rest."""

    def __init__(self, element: Element, findings: Findings) -> None:
        self.element = element
        self.findings = findings
        self._known: set[str] = set()

    def text(self, name: str, default: str = "") -> str:
        self._known.add(name)
        return self.element.attributes.get(name, default).strip()

    def given(self, name: str) -> bool:
        self._known.add(name)
        return name in self.element.attributes

    def seconds(self, name: str, default: float, least: float = 0.0, most: float = 86_400.0) -> float:
        text = self.text(name)
        if not self.given(name):
            return default
        if not _NUMBER.match(text):
            self._bad(name, text, "a number of seconds")
            return default
        return self._within(name, float(text), least, most)

    def whole(self, name: str, default: int, least: int = 0, most: int = 1000) -> int:
        text = self.text(name)
        if not self.given(name):
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            self._bad(name, text, "a whole number")
            return default
        return int(self._within(name, int(text), least, most))

    def duration(self, name: str) -> float:
        """Seconds written as ``30``, ``30s``, ``2m`` or ``1h``; 0 when not given."""
        text = self.text(name)
        if not text:
            return 0.0
        seconds = seconds_of(text)
        if seconds is None:
            self._bad(name, text, "a time as in 30, 30s, 2m or 1h")
        return seconds or 0.0

    def flag(self, name: str, *, default: bool) -> bool:
        return self.choice(name, _WORDS, default=default, expected="true or false")

    def choice(self, name: str, words: Mapping[str, _T], *, default: _T, expected: str = "") -> _T:
        """What the word that is given stands for; capitals do not count."""
        text = self.text(name)
        if not self.given(name):
            return default
        if text.lower() not in words:
            self._bad(name, text, expected or f"one of {', '.join(words)}")
            return default
        return words[text.lower()]

    def keys(self, name: str, default: str) -> str:
        """A set of keys; an empty value is none of them."""
        text = self.text(name).upper()
        if not self.given(name):
            return default
        if wrong := [key for key in text if key not in "0123456789*#ABCD"]:
            self._bad(name, text, f"keys (0-9 * # A-D), which {wrong[0]!r} is not")
            return default
        return "".join(dict.fromkeys(text))

    def method(self, default: Literal["GET", "POST"]) -> Literal["GET", "POST"]:
        words: Mapping[str, Literal["GET", "POST"]] = {"get": "GET", "post": "POST"}
        return self.choice("method", words, default=default, expected="GET or POST")

    def no_effect(self, *names: str, why: str) -> None:
        """These are understood, but do nothing: say so where one is given."""
        for name in names:
            if self.given(name):
                self.ignored(name, why)

    def ignored(self, name: str, why: str, hint: str = "") -> None:
        message = f"{name} of <{self.element.name}> is ignored: {why}"
        self.findings.warning("ignored-option", self.element.where, message, hint)

    def done(self) -> None:
        """Report every attribute that was not asked for."""
        for name in self.element.attributes:
            if name not in self._known:
                self.ignored(_short(name), "no such option is known", self._near(name))
        for name in self.element.foreign:
            self.ignored(_short(name), "it belongs to another namespace")

    def _near(self, name: str) -> str:
        near = [] if self.findings.full else difflib.get_close_matches(name[:80], sorted(self._known), 1)
        return f"did you mean {near[0]}?" if near else ""

    def _bad(self, name: str, value: str, expected: str) -> None:
        message = f"{name} of <{self.element.name}> is {_short(value)!r}: it should be {expected}"
        self.findings.error("bad-value", self.element.where, message)

    def _within(self, name: str, value: float, least: float, most: float) -> float:
        if least <= value <= most:
            return value
        taken = min(max(value, least), most)
        message = f"{name} of <{self.element.name}> is {value:g}: it is taken as {taken:g}"
        self.findings.warning("out-of-range", self.element.where, message, f"from {least:g} to {most:g}")
        return taken


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}…"

"""How wide text is, near enough, and how it is broken into lines.

Nobody knows the reader's font. The widths are those of a wide one, so that text in others is narrower than its box.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_NARROW = set("iljI.,:;'|!“”‘’()[]{}/\\ tfr-")
_WIDE = set("mwMW@%…—")


@lru_cache(maxsize=4096)
def _em(char: str) -> float:
    """The width of a character as a part of the font's size."""
    if char in _NARROW:
        return 0.42
    if char in _WIDE:
        return 1.0
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0.0
    if unicodedata.east_asian_width(char) in ("W", "F"):
        return 1.05
    if ord(char) > 0xFFFF:
        return 1.4
    return 0.72 if char.isupper() else 0.65


def width(text: str, size: float, *, bold: bool = False) -> float:
    """How wide ``text`` is in a font of ``size``."""
    return sum(map(_em, text)) * size * (1.1 if bold else 1.0)


def shorten(text: str, size: float, room: float, *, bold: bool = False) -> str:
    """``text`` in one line that is at most ``room`` wide."""
    text = " ".join(text.split())
    if width(text, size, bold=bold) <= room:
        return text
    left = room - width("…", size, bold=bold)
    kept = 0
    for char in text:
        left -= width(char, size, bold=bold)
        if left < 0:
            break
        kept += 1
    return text[:kept].rstrip() + "…"


def wrap(text: str, size: float, room: float, most: int) -> list[str]:
    """``text`` in at most ``most`` lines, each at most ``room`` wide; what is too much is cut off with ``…``.

    Long words, as URLs are, are broken where a line is full.
    """
    lines: list[str] = []
    line = ""
    words = text[:2000].split()[::-1]
    while words:
        word = words.pop()
        longer = f"{line} {word}" if line else word
        if width(longer, size) <= room:
            line = longer
            continue
        if len(lines) == most - 1:
            return [*lines, shorten(" ".join([longer, *reversed(words)]), size, room)]
        if width(word, size) > room and (fits := _fitting(longer, size, room)) > len(line) + 3:
            words.append(longer[fits:])
            longer = longer[:fits]
            lines.append(longer)
        elif line:
            words.append(word)
            lines.append(line)
        else:  # a word of a few very wide characters
            fits = max(1, _fitting(word, size, room))
            words += [word[fits:]] if word[fits:] else []
            lines.append(word[:fits])
        line = ""
    return [*lines, line] if line else lines


def _fitting(text: str, size: float, room: float) -> int:
    """How many characters of ``text`` fit into ``room``."""
    left = room
    for place, char in enumerate(text):
        left -= width(char, size)
        if left < 0:
            return place
    return len(text)

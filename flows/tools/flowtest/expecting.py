"""The ``expect`` of a flow test as matchers."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from .matching import GAP, Between, Contains, Exactly, Item, Like, Matcher
from .running import LISTS
from .spec import One, Several
from .yamltext import Document, Path

_INFINITE = float("inf")
_RANGES = ("at", "heard", "duration")


def expectations(document: Document, path: Path) -> dict[str, One | Several]:
    """What is expected, by the names of the format; ``end`` is ``end.by`` and ``end.reason``."""
    expected: dict[str, One | Several] = {}
    for name, value in _at(document, path).items():
        place = (*path, name)
        line = document.line(place)
        if name == "end" and isinstance(value, dict):
            for part in value:
                expected[f"end.{part}"] = One(_matcher(document, (*place, part)), document.line((*place, part)))
        elif name == "end":
            expected["end.by"] = One(Exactly(document.text(place)), line)
        elif name == "path" and isinstance(value, list):
            keys = (quote(document.text((*place, number)).strip(), safe="$") for number in range(len(value)))
            expected[name] = One(Exactly("/".join(keys)), line)
        elif name == "duration":
            expected[name] = One(_between(value), line)
        elif name in LISTS:
            items = tuple(_item(document, (*place, number)) for number in range(len(value)))
            expected[name] = Several(items, line)
        else:
            expected[name] = One(_matcher(document, place), line)
    return expected


def _at(document: Document, path: Path) -> Any:
    value = document.value
    for key in path:
        value = value[key]
    return value


def _item(document: Document, path: Path) -> Item:
    value, line = _at(document, path), document.line(path)
    if not isinstance(value, dict):
        text = document.text(path)
        return Item(line, gap=True) if text == GAP else Item(line, (("", Exactly(text)),))
    asked: list[tuple[str, Matcher]] = []
    for name, each in value.items():
        place = (*path, name)
        if name == "contains":
            asked.append(("", Contains(document.text(place))))
        elif name == "like":
            asked.append(("", Like(document.text(place))))
        elif name == "params":
            asked += ((f"params.{param}", _matcher(document, (*place, param))) for param in each)
        else:
            asked.append((name, _between(each) if name in _RANGES else _matcher(document, place)))
    return Item(line, tuple(asked))


def _matcher(document: Document, path: Path) -> Matcher:
    value = _at(document, path)
    if not isinstance(value, dict):
        return Exactly(document.text(path))
    if "contains" in value:
        return Contains(document.text((*path, "contains")))
    return Like(document.text((*path, "like")))


def _between(value: Any) -> Between:
    if isinstance(value, dict):
        return Between(value.get("least", 0.0), value.get("most", _INFINITE))
    return Between(0.0, value)

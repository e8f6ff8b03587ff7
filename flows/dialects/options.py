"""The options of one step of a JSON dialect, read by the part of its schema that is about them.

Schema and compiler have one truth: defaults, bounds and the names of all options stand in the schema only. An option
whose schema has ``x-ignored`` is known and has no effect; its text says why. The document has been held against
the schema before: types are right, but a whole number may be written as text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from flows.findings import Findings, pointer
from flows.schemas import schema

from .compiling import text_of

_NOTHING: Mapping[str, Any] = {}


class Options:
    """The options in ``values``, an object at ``where``; ``form`` is the part of the schema of ``dialect`` about them.

    ``form`` may also be the name of a definition (in ``$defs``).
    """

    __slots__ = ("_dialect", "_findings", "_form", "values", "where")

    def __init__(
        self, values: Any, dialect: str, form: str | Mapping[str, Any], where: str, findings: Findings
    ) -> None:
        self.values: Mapping[str, Any] = values if isinstance(values, Mapping) else _NOTHING
        self.where = where
        self._dialect = dialect
        self._form: Mapping[str, Any] = schema(dialect)["$defs"][form] if isinstance(form, str) else form
        self._findings = findings

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def at(self, name: str) -> str:
        """The JSON pointer of an option."""
        return pointer(self.where, name)

    def value(self, name: str) -> Any:
        """An option as it is, its default when it is left out, ``None`` without one."""
        return self.values[name] if name in self.values else self.default(name)

    def default(self, name: str) -> Any:
        """What the schema says for an option that is left out; ``None`` without that."""
        return self._of(name).get("default")

    def text(self, name: str) -> str:
        """An option as text, white space around it removed; empty when there is none."""
        return (text_of(self.value(name)) or "").strip()

    def flag(self, name: str) -> bool:
        """Whether an option is true, which may be written as text."""
        return self.value(name) in (True, "true")

    def whole(self, name: str) -> int:
        """A whole number, which may be written as text; the bounds of the schema hold for both."""
        form = self._of(name)
        value = self.value(name)
        number = int(value) if isinstance(value, str | int | float) else 0
        least: int = form.get("minimum", number)
        most: int = form.get("maximum", number)
        if isinstance(value, str) and not least <= number <= most:
            self._findings.error("bad-value", self.at(name), f"{name} is {number}: it is from {least} to {most}")
        return min(max(number, least), most)

    def seconds(self, name: str) -> float:
        """A time that is in milliseconds, in seconds."""
        return self.whole(name) / 1000

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        value = self.value(name)
        return [text_of(each) or "" for each in value] if isinstance(value, list) else []

    def group(self, name: str) -> Options:
        """The options inside an option."""
        return Options(self.values.get(name), self._dialect, self._of(name), self.at(name), self._findings)

    def groups(self, name: str) -> Iterator[Options]:
        """The same for each item of a list; one that is no object has no options."""
        items = self.values.get(name)
        form = self._resolved(self._of(name).get("items", _NOTHING))
        for index, item in enumerate(items if isinstance(items, list) else ()):
            yield Options(item, self._dialect, form, pointer(self.at(name), index), self._findings)

    def report_ignored(self) -> None:
        """Warn of options that are not known, and of those that are given and have no effect."""
        known = self._form.get("properties", _NOTHING)
        for name, value in self.values.items():
            if name not in known:
                near = [] if self._findings.full else difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else ""
                self._findings.warning("ignored-option", self.at(name), f"{name} is not known: it has no effect", hint)
            elif "x-ignored" in known[name] and not _same(value, known[name].get("default")):
                why = known[name]["x-ignored"]
                self._findings.warning("ignored-option", self.at(name), f"{name} has no effect: {why}")

    def _of(self, name: str) -> Mapping[str, Any]:
        return self._resolved(self._form.get("properties", _NOTHING).get(name, _NOTHING))

    def _resolved(self, form: Mapping[str, Any]) -> Mapping[str, Any]:
        reference = form.get("$ref", "")
        target: Mapping[str, Any] = schema(self._dialect)["$defs"][reference.rpartition("/")[2]] if reference else form
        return target


def _same(value: Any, default: Any) -> bool:
    """Whether an option says what it does by default: ``"false"`` and ``false`` are the same."""
    return value is None or str(value).casefold() == str(default).casefold()

"""Reading YAML that somebody wrote by hand: plain values, each with its line, and scalars as they were written.

``no`` and ``+3902`` are what they look like wherever a text is asked for (:meth:`Document.text`), whatever YAML makes
of them. Tags of one's own, keys that are there twice and documents beyond the limits are errors with a line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from flows.documents import MAX_DEPTH, decode
from flows.findings import Findings

MAX_VALUES = 50_000
"""Values of one document, each use of an alias counted."""

Path = tuple[str | int, ...]

_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,14})\Z", re.ASCII)
_DECIMAL = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,15}\Z", re.ASCII)
_PREFIX = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Document:
    """A YAML document: ``value`` is made of dict, list, str, int, float, bool and None."""

    value: Any = None
    _lines: dict[Path, int] = field(default_factory=dict)
    _texts: dict[Path, str] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """The line of a value, or of the nearest one around it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def text(self, path: Path) -> str:
        """A scalar as it was written; empty when there is none."""
        return self._texts.get(path, "")


def read_yaml(source: str | bytes, findings: Findings) -> Document | None:
    """The document in ``source``; ``None`` with an error among the findings when there is none."""
    text = decode(source, findings)
    if text is None:
        return None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        findings.error("bad-yaml", where, f"not valid YAML: {error.problem or error.context}", _hint(error))
    except yaml.YAMLError as error:
        findings.error("bad-yaml", "", f"not valid YAML: {error}".replace("\n", " "))
    except RecursionError:
        findings.error("too-deep", "", f"the document is nested deeper than {MAX_DEPTH} levels")
    else:
        return _Reader(findings).read(root)
    return None


def _hint(error: yaml.MarkedYAMLError) -> str:
    if "mapping values are not allowed" in (error.problem or ""):
        return "a text with a colon in it stands in quotes"
    if "found character" in (error.problem or ""):
        return "indent with spaces; a text that begins with a special character stands in quotes"
    return ""


class _Reader:
    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.document = Document()
        self._count = 0

    def read(self, root: yaml.Node | None) -> Document | None:
        if root is None:
            self.findings.error("empty", "", "there is nothing in the document")
            return None
        before = len(self.findings.all())
        self.document.value = self._value(root, ())
        return self.document if len(self.findings.all()) == before else None

    def _error(self, code: str, node: yaml.Node, message: str) -> None:
        self.findings.error(code, f"line {node.start_mark.line + 1}", message)

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            if self._count == MAX_VALUES + 1:
                self._error("too-large", node, f"the document has more than {MAX_VALUES:,} values")
            return None
        if len(path) > MAX_DEPTH:
            self._error("too-deep", node, f"nested deeper than {MAX_DEPTH} levels")
            self._count = MAX_VALUES + 1
            return None
        self.document._lines[path] = node.start_mark.line + 1
        if not node.tag.startswith(_PREFIX):
            self._error("bad-yaml", node, f"the tag {node.tag} means nothing here")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(each, (*path, place)) for place, each in enumerate(node.value)]
        text: str = node.value
        self.document._texts[path] = text
        return _plain(node.tag.removeprefix(_PREFIX), text)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._error("bad-yaml", key, "a key is a text")
            elif key.value in values:
                self._error("duplicate-key", key, f"{key.value!r} is there twice")
            else:
                values[key.value] = self._value(value, (*path, key.value))
                self.document._lines[*path, key.value] = key.start_mark.line + 1
        return values


def _plain(kind: str, text: str) -> Any:
    """A scalar; what is no common number stays text."""
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("true", "yes", "on")
    if kind == "int" and _WHOLE.match(text):
        return int(text)
    if kind == "float" and _DECIMAL.match(text):
        return float(text)
    return text

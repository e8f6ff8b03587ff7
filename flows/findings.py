"""What can be wrong with a flow document, said in words.

Compilers and checks never raise on a bad document: they return findings. A document with
an ``error`` is not loaded; a ``warning`` names something that will hardly do what its author
meant; an ``info`` is worth knowing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]

MAX_FINDINGS = 500
"""A hostile document cannot make its report longer than this."""
MAX_WHERE = 1000
MAX_MESSAGE = 400


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. ``where`` is a JSON pointer (RFC 6901) into the document, or ``line 3, column 7``."""

    code: str
    severity: Severity
    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return printable(f"{self.severity}: {self.where or 'the document'}: {self.message}{hint} [{self.code}]")


class Findings:
    """A bounded, ordered collection of findings."""

    __slots__ = ("_items", "_suppressed")

    def __init__(self) -> None:
        self._items: list[Finding] = []
        self._suppressed = 0

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.all())

    @property
    def full(self) -> bool:
        """Whether further ones are only counted: what costs time to say well need not be."""
        return len(self._items) >= MAX_FINDINGS

    def add(self, code: str, severity: Severity, where: str, message: str, hint: str = "") -> None:
        """Put down one finding; beyond :data:`MAX_FINDINGS` only errors are, once."""
        if len(self._items) < MAX_FINDINGS or (severity == "error" and not has_errors(self._items)):
            self._items.append(Finding(code, severity, _cut(where, MAX_WHERE), _cut(message, MAX_MESSAGE), hint))
        else:
            self._suppressed += 1

    def error(self, code: str, where: str, message: str, hint: str = "") -> None:
        self.add(code, "error", where, message, hint)

    def warning(self, code: str, where: str, message: str, hint: str = "") -> None:
        self.add(code, "warning", where, message, hint)

    def info(self, code: str, where: str, message: str, hint: str = "") -> None:
        self.add(code, "info", where, message, hint)

    def all(self) -> tuple[Finding, ...]:
        """All findings in the order of the document, with a last one that counts those left out."""
        if not self._suppressed:
            return tuple(self._items)
        more = Finding("more-findings", "info", "", f"{self._suppressed} more findings are not shown")
        return (*self._items, more)


def has_errors(findings: Iterable[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)


def printable(text: str) -> str:
    """``text`` on one line, without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def pointer(base: str, key: str | int) -> str:
    """The JSON pointer of ``key`` inside ``base`` (RFC 6901, section 3: ``~`` is ``~0``, ``/`` is ``~1``)."""
    return f"{base}/{str(key).replace('~', '~0').replace('/', '~1')}"

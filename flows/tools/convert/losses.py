"""What a conversion cannot carry over, put down where it is met.

``warning``: lost, the converted flow does not do it. ``info``: changed, it does it in another way.
"""

from __future__ import annotations

from flows.findings import Finding, Findings


class Losses:
    """Each is told once, however often it is met."""

    def __init__(self) -> None:
        self._findings = Findings()
        self._told: set[tuple[str, str, str]] = set()

    def lost(self, code: str, where: str, message: str, hint: str = "") -> None:
        if self._first(code, where, message):
            self._findings.warning(code, where, message, hint)

    def changed(self, code: str, where: str, message: str, hint: str = "") -> None:
        if self._first(code, where, message):
            self._findings.info(code, where, message, hint)

    def _first(self, code: str, where: str, message: str) -> bool:
        first = (code, where, message) not in self._told
        self._told.add((code, where, message))
        return first

    def all(self) -> tuple[Finding, ...]:
        return self._findings.all()

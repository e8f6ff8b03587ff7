"""What the cases of the suite share: sizes, the floor, where plots go, and the form of what they find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.floor import Floor, per_call_second


class LeftOut(Exception):
    """This cannot be measured here; the text says why. Not a failure."""


class CaseError(Exception):
    """The measurement failed; the text says how."""


@dataclass(frozen=True, slots=True)
class Table:
    """``head`` and ``rows`` of text."""

    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True, slots=True)
class Goal:
    """A row of the first table: what a leg costs, in times the floor; ``measured`` by I/O path."""

    work: str
    reference: str
    goal: str
    measured: dict[str, str]


@dataclass(slots=True)
class Section:
    """A chapter of the report. ``text``: paragraphs before the tables, ``notes``: after them; ``plots``: (file name,
    what it shows). ``failures`` make the whole run fail.
    """

    title: str
    text: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    plots: list[tuple[str, str]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Bench:
    """One run of the suite. ``shared``: what a case leaves for those after it."""

    quick: bool
    folder: Path
    floor: Floor
    advance: Callable[[str], None]
    shared: dict[str, Any] = field(default_factory=dict)

    @property
    def plots(self) -> Path:
        folder = self.folder / "plots"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def seconds(self, full: float, quick: float) -> float:
        return quick if self.quick else full

    @property
    def repetitions(self) -> int:
        return 1 if self.quick else 3

    def floor_now(self) -> float:
        """ms of CPU per call-second that the kernel alone takes now."""
        return per_call_second(self.floor.measure(self.seconds(0.6, 0.2)))


class Case(Protocol):
    """A benchmark: ``name`` for ``--only``."""

    name: str
    title: str

    def steps(self, bench: Bench) -> int:
        """How often :attr:`Bench.advance` will be called."""

    def run(self, bench: Bench) -> Section:
        """Measure. Raises :class:`LeftOut` or any error, which the report then shows."""

"""The files of a journal: lines of JSON in numbered segments.

A segment is written by one process, appended to until it is large or the process ends, and never
touched again. Its name carries its place in the order, the journal's identity and a random part,
so that a position (segment, offset) means one record for ever, even after a folder was restored.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.callbacks.records import AnyRecord, decode

_NAME = re.compile(r"(\d{9})-([0-9a-f]{12})-([0-9a-f]{8})\.jsonl")
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """A segment file; segments sort in the order in which they were written."""

    number: int
    journal: str
    mark: str

    @property
    def name(self) -> str:
        """Its file name, unique in the world."""
        return f"{self.number:09d}-{self.journal}-{self.mark}.jsonl"

    def successor(self) -> Segment:
        """The next segment of the same journal, under a name that never was."""
        return Segment(self.number + 1, self.journal, secrets.token_hex(4))

    @staticmethod
    def before_all() -> Segment:
        """What the first segment of a new journal succeeds."""
        return Segment(0, secrets.token_hex(6), "")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a segment: its record, or ``None`` with the ``raw`` text when it is damaged.

    ``end`` is the offset of the next line.
    """

    record: AnyRecord | None
    raw: bytes
    end: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Some entries of a segment; ``at_end`` when nothing complete follows now; ``torn`` bytes of a line without end."""

    entries: list[Entry]
    at_end: bool
    torn: int


def segments_in(folder: Path) -> list[Segment]:
    """All segments of ``folder`` in order; other files are ignored."""
    matches = (_NAME.fullmatch(file.name) for file in folder.iterdir())
    return sorted(Segment(int(match[1]), match[2], match[3]) for match in matches if match)


def read(folder: Path, segment: Segment, offset: int, limit: int = _CHUNK) -> Piece:
    """Complete lines of ``segment`` from ``offset``: about ``limit`` bytes of them, at least one line if there is one.

    Raises :class:`OSError`.
    """
    with (folder / segment.name).open("rb", buffering=0) as file:
        file.seek(offset)
        data = file.read(limit)
        while data and b"\n" not in data:
            more = file.read(limit)
            if not more:
                break
            data += more
        full = len(data) >= limit and bool(file.read(1))
    entries: list[Entry] = []
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        line = data[start:end]
        entries.append(Entry(_decoded(line), line, offset + end + 1))
        start = end + 1
    return Piece(entries, at_end=not full, torn=0 if full else len(data) - start)


def _decoded(line: bytes) -> AnyRecord | None:
    try:
        return decode(line)
    except msgspec.DecodeError:
        return None


def records_of(folder: Path, segment: Segment) -> Iterator[AnyRecord]:
    """Every record of ``segment``; damaged lines are left out. Raises :class:`OSError`."""
    offset = 0
    while True:
        piece = read(folder, segment, offset)
        for entry in piece.entries:
            offset = entry.end
            if entry.record is not None:
                yield entry.record
        if piece.at_end:
            return

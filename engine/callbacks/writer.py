"""Carries the journal into the database: every record once, whatever is killed in between.

A batch of records and the position after them go in by one transaction, which begins by checking
that the stored position is still where the last one left it. A database that is slow or gone
delays this task and nobody else; the journal keeps what has not been taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
from sqlalchemy import Table, bindparam, delete, insert, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.callbacks import segments
from engine.callbacks.announcing import Announcements
from engine.callbacks.journal import Journal
from engine.callbacks.rows import Batch
from engine.callbacks.segments import Entry, Segment
from engine.log import get_logger
from engine.store import Store
from engine.store.models import JournalCheckpoint

log = get_logger(__name__)

BATCH_DELAY, LONGEST_BATCH_DELAY = 0.05, 0.25
"""Seconds from a record to its storing, so that what comes together goes together: longer when much comes."""
EASY_BATCH = 10
"""Records in a batch up to which the delay is the short one; it grows in proportion to them."""
BATCH_TIMEOUT = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
REFUSED_FILE = "refused.jsonl"
OLDER_REFUSED_FILE = "refused.older.jsonl"

_CHECKPOINTS = cast("Table", JournalCheckpoint.__table__)
_CHECKPOINT = _CHECKPOINTS.c
_INSERT = insert(_CHECKPOINTS)
_MOVE = (
    update(_CHECKPOINTS)
    .where(_CHECKPOINT.segment == bindparam("name"), _CHECKPOINT.position == bindparam("before"))
    .values(position=bindparam("after"))
)


class _Moved(Exception):
    """The checkpoint is not where we left it: an attempt that seemed to fail got through."""


class _BadRecord(Exception):
    """The database answers, and will not have these records."""


@dataclass(slots=True)
class WriterCounters:
    """Since the process started. ``refused``: lines that are damaged or unacceptable, kept in a file of their own."""

    records: int = 0
    batches: int = 0
    failures: int = 0
    refused: int = 0
    torn: int = 0


class Writer:
    """Follows one journal into one database. :meth:`run` is its task."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        *,
        announcements: Announcements | None = None,
        on_deliveries: Callable[[], None] = lambda: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        most_refused: int = 0,
    ) -> None:
        """``most_refused``: octets of :data:`REFUSED_FILE` and the one before it, 0 for any number."""
        self.counters = WriterCounters()
        self._journal = journal
        self._store = store
        self._announcements = announcements or Announcements()
        self._on_deliveries = on_deliveries
        self._sleep = sleep
        self._most_refused = most_refused
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._stored: dict[str, int] | None = None  # the checkpoints; None when they must be asked for
        self._read: dict[str, int] = {}  # may be ahead: some records leave nothing to store
        self._files: list[Segment] = []
        self._complete: set[Segment] = set()
        self._batch = 0
        self._failures = 0
        journal.on_append = self._appended

    async def run(self) -> None:
        """Follow the journal until cancelled."""
        while True:
            self._wake.clear()
            try:
                busy = await self._step()
                if not busy:
                    await self._forget()
            except _Moved:
                self._stored = None
                continue
            except (SQLAlchemyError, OSError) as error:  # TimeoutError is an OSError
                await self._failed(error)
                continue
            except Exception as error:  # a defect of ours: the journal waits, and no call with it
                log.exception("journal writer broke")
                await self._failed(error)
                continue
            if self._failures:
                log.info("journal is stored again", failures=self._failures)
                self._failures = 0
            if busy:
                continue
            if not self._wake.is_set():
                self._idle.set()
            await self._wake.wait()
            await self._sleep(min(BATCH_DELAY * max(self._batch / EASY_BATCH, 1.0), LONGEST_BATCH_DELAY))

    async def flush(self, patience: float) -> bool:
        """Wait until everything appended is stored; ``False`` when ``patience`` seconds were not enough."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._idle.wait()
        return self._idle.is_set()

    def _appended(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def _failed(self, error: Exception) -> None:
        if self._failures == 0:
            log.error("journal cannot be stored; trying on", error=f"{type(error).__name__}: {error}")
        self._failures += 1
        self.counters.failures += 1
        self._stored = None
        await self._sleep(min(FIRST_PAUSE * 2 ** min(self._failures - 1, 10), LONGEST_PAUSE))

    # --- one step -----------------------------------------------------------------------

    async def _step(self) -> bool:
        """Take the next records, one segment's at a time. ``False`` when there are no more for now."""
        current = self._journal.current
        if current is None or self._stored is None or self._files[-1:] != [current]:
            self._files = await asyncio.to_thread(segments.segments_in, self._journal.folder)
        files = self._files
        self._batch = 0
        if self._stored is None:
            async with asyncio.timeout(BATCH_TIMEOUT):
                self._stored = await self._checkpoints(files)
            self._read = dict(self._stored)
        for segment in files:
            if segment in self._complete:
                continue
            start = self._read.get(segment.name, 0)
            piece = await asyncio.to_thread(segments.read, self._journal.folder, segment, start)
            if piece.entries:
                await self._take(segment, piece.entries)
            if piece.at_end and segment != files[-1]:  # there is a later one: nothing comes here any more
                self._complete.add(segment)
                if piece.torn:
                    self.counters.torn += 1
                    log.warning("journal segment ends within a record", segment=segment.name, bytes=piece.torn)
            if piece.entries:
                self._batch = len(piece.entries)
                return not piece.at_end or segment != files[-1]
        return False

    async def _take(self, segment: Segment, entries: list[Entry]) -> None:
        try:
            await self._commit(segment, entries)
        except _BadRecord:
            for entry in entries:
                try:
                    await self._commit(segment, [entry])
                except _BadRecord as error:
                    await self._refuse(segment, entry, str(error))
        for entry in entries:
            if entry.record is None:
                await self._refuse(segment, entry, "damaged line")
        self._read[segment.name] = entries[-1].end
        self.counters.records += len(entries)

    async def _commit(self, segment: Segment, entries: list[Entry]) -> None:
        """Store ``entries`` and the position after them, both or neither.

        Raises :class:`_BadRecord`, :class:`_Moved`, SQLAlchemy's errors and :class:`TimeoutError`.
        """
        batch = Batch()
        try:
            for entry in entries:
                if entry.record is not None:
                    batch.add(entry.record, may_have_nul=b"\\u0000" in entry.raw)
            if not batch:
                return
            async with asyncio.timeout(BATCH_TIMEOUT), self._store.writing() as connection:
                await self._advance(connection, segment, entries[-1].end)
                await batch.store(connection)
                announced = await self._announcements.store(connection, batch.records)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise _BadRecord(f"{type(error).__name__}: {error}") from error
        except SQLAlchemyError as error:
            if _is_about_data(error):
                raise _BadRecord(f"{type(error).__name__}: {error}") from error
            raise
        assert self._stored is not None
        self._stored[segment.name] = entries[-1].end
        self.counters.batches += 1
        self._announcements.committed()
        if batch.deliveries or announced:
            self._on_deliveries()

    # --- the checkpoint -----------------------------------------------------------------

    async def _checkpoints(self, files: list[Segment]) -> dict[str, int]:
        """Positions of ``files``. Those of segments that a killed life had deleted go."""
        async with self._store.reading() as connection:
            found = await connection.execute(
                select(_CHECKPOINT.segment, _CHECKPOINT.position).where(
                    _CHECKPOINT.segment.like(f"%-{self._journal.identity}-%")
                )
            )
            positions = {row.segment: row.position for row in found}
        names = {segment.name for segment in files}
        await self._delete_checkpoints([name for name in positions if name not in names])
        return {name: position for name, position in positions.items() if name in names}

    async def _advance(self, connection: AsyncConnection, segment: Segment, position: int) -> None:
        """Move the checkpoint, which holds its row until the transaction ends. Raises :class:`_Moved`."""
        assert self._stored is not None
        before = self._stored.get(segment.name)
        if before is None:
            try:
                await connection.execute(_INSERT, {"segment": segment.name, "position": position})
            except IntegrityError as error:
                raise _Moved from error
        else:
            moved = await connection.execute(_MOVE, {"name": segment.name, "before": before, "after": position})
            if moved.rowcount != 1:
                raise _Moved

    async def _forget(self) -> None:
        """Let segments go that are stored and needed for no call, then their checkpoints."""
        gone = self._journal.forget(self._complete)
        if not gone:
            return
        self._files = []
        self._complete.difference_update(gone)
        await self._delete_checkpoints([segment.name for segment in gone])

    async def _delete_checkpoints(self, names: list[str]) -> None:
        if not names:
            return
        async with asyncio.timeout(BATCH_TIMEOUT), self._store.writing() as connection:
            await connection.execute(delete(JournalCheckpoint).where(_CHECKPOINT.segment.in_(names)))
        for name in names:
            self._read.pop(name, None)
            if self._stored is not None:
                self._stored.pop(name, None)

    # --- what cannot be stored ----------------------------------------------------------

    async def _refuse(self, segment: Segment, entry: Entry, why: str) -> None:
        """Put ``entry`` aside, so that it blocks nothing and is not lost."""
        self.counters.refused += 1
        log.error("journal record refused", segment=segment.name, end=entry.end, why=why[:500])
        line = msgspec.json.encode(
            {"segment": segment.name, "why": why[:2000], "line": entry.raw.decode("utf-8", "backslashreplace")}
        )
        try:
            path = self._journal.folder / REFUSED_FILE
            await asyncio.to_thread(_append_line, path, line + b"\n", self._most_refused)
        except OSError as error:
            log.error("refused record lost", error=str(error), line=entry.raw.decode("utf-8", "backslashreplace"))


def _append_line(path: Path, line: bytes, most: int) -> None:
    """A full half of ``most`` octets takes the place of the half before. A line that is too long for one is cut."""
    if most:
        line = line if len(line) <= most // 2 else line[: most // 2 - 1] + b"\n"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size + len(line) > most // 2:
                path.replace(path.with_name(OLDER_REFUSED_FILE))
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def _is_about_data(error: SQLAlchemyError) -> bool:
    """Whether the same rows would be refused again by a database in best health."""
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")  # SQLSTATE classes: 22 data, 23 integrity
        client_side = isinstance(error.orig.__cause__ if error.orig else None, ValueError)
        return isinstance(error, DataError | IntegrityError) or state[:2] in ("22", "23") or client_side
    return isinstance(error, StatementError)

"""The journal: nothing happened until it is written here.

Each record is one ``write`` to an append-only file, so what :meth:`Journal.append` returned from
survives ``kill -9`` (what survives a loss of power is up to the file system). No call waits for
the database: :mod:`engine.callbacks.writer` follows the files at its own pace. A disk that takes
nothing stops no call either: records wait in memory, in order, and are tried again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from engine.callbacks.records import (
    CallFinished,
    CallHistory,
    CallStarted,
    Heartbeat,
    Record,
    SegmentOpened,
    Unfinished,
    encode,
)
from engine.callbacks.segments import Segment, records_of, segments_in
from engine.log import get_logger

log = get_logger(__name__)

SEGMENT_SIZE = 8 * 1024 * 1024
BACKLOG_LIMIT = 200_000


class JournalError(OSError):
    """The journal cannot be used: its folder is not writable, or another process has it."""


@dataclass(slots=True)
class JournalCounters:
    """Since the process started: ``refused`` writes the disk did not take, ``dropped`` records lost for good."""

    records: int = 0
    bytes: int = 0
    refused: int = 0
    dropped: int = 0


class Journal:
    """The one writer of a journal folder. Made by :meth:`open`; not for several threads."""

    def __init__(self, folder: Path, lock: int, *, wall: Callable[[], float], segment_size: int) -> None:
        self.folder = folder
        self.counters = JournalCounters()
        self.on_append: Callable[[], None] | None = None
        self._lock = lock
        self._wall = wall
        self._segment_size = segment_size
        self._run = secrets.token_hex(6)
        self._first_segment_of: dict[str, Segment] = {}
        self._unfinished = self._scan()
        self._backlog: deque[bytes] = deque()
        self._last = max(segments_in(folder), default=Segment.before_all())
        self._current: Segment | None = None
        self._file = -1
        self._size = 0
        self._refusing = False
        self._open_segment()

    @classmethod
    def open(cls, folder: Path, *, wall: Callable[[], float] = time.time, segment_size: int = SEGMENT_SIZE) -> Journal:
        """Open the journal in ``folder``, which is made if need be, and read what an earlier life left.

        Raises :class:`JournalError`.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"journal {folder}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(folder, lock, wall=wall, segment_size=segment_size)
        except BlockingIOError as error:
            os.close(lock)
            raise JournalError(f"journal {folder}: another process is using it") from error
        except OSError as error:
            os.close(lock)
            raise JournalError(f"journal {folder}: {error.strerror}") from error

    @property
    def identity(self) -> str:
        """The journal's own name, in the names of all its segments."""
        return self._last.journal

    @property
    def current(self) -> Segment | None:
        """The segment that is being written; ``None`` while the disk refuses to give one."""
        return self._current

    @property
    def backlog(self) -> int:
        """Records that the disk has not taken yet. New calls should be refused while there are any."""
        return len(self._backlog)

    @property
    def live_calls(self) -> int:
        """Calls started and not finished, those of an earlier life included."""
        return len(self._first_segment_of)

    def append(self, record: Record) -> None:
        """Write ``record``. Never raises for the disk's sake: see :attr:`backlog`."""
        if self._lock < 0:
            self.counters.dropped += 1
            log.error("record for a closed journal", record=type(record).__name__)
            return
        line = encode(record)
        self._backlog.append(line)
        if len(self._backlog) > BACKLOG_LIMIT:
            self._backlog.popleft()
            self.counters.dropped += 1
        self._drain()
        if isinstance(record, CallStarted):
            self._first_segment_of[record.call] = self._current or self._last
        elif isinstance(record, CallFinished):
            self._first_segment_of.pop(record.call, None)
            self._unfinished.pop(record.call, None)
        if self.on_append is not None:
            self.on_append()

    def heartbeat(self) -> None:
        """Note that the process is alive, if it has calls; to be called every few seconds."""
        if self._first_segment_of:
            self.append(Heartbeat(self._wall()))
        elif self._backlog:
            self._drain()

    def unfinished_calls(self) -> list[CallHistory]:
        """Calls of an earlier life that nobody finished, oldest first.

        A call leaves the list when its :class:`CallFinished` is appended. Records appended
        meanwhile for such a call are found again by the next life, not in this one's list.
        """
        return list(self._unfinished.values())

    def forget(self, stored: Collection[Segment]) -> list[Segment]:
        """Delete those segments of ``stored`` that no unfinished call needs; says which are gone.

        Segments go oldest first, and never the one being written.
        """
        needed = min([*self._first_segment_of.values(), *([self._current] if self._current else [])], default=None)
        gone: list[Segment] = []
        for segment in sorted(stored):
            if needed is None or segment >= needed:
                break
            try:
                (self.folder / segment.name).unlink(missing_ok=True)
            except OSError as error:
                log.warning("journal segment cannot be deleted", segment=segment.name, error=str(error))
                break
            gone.append(segment)
        return gone

    def close(self) -> None:
        """Write what waits, if the disk takes it, and let the folder go. Later records are lost, and counted."""
        if self._lock < 0:
            return
        self._drain()
        if self._backlog:
            log.error("journal closed with records that the disk refused", records=len(self._backlog))
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        os.close(self._lock)
        self._lock = -1

    # --- writing ------------------------------------------------------------------------

    def _drain(self) -> None:
        try:
            while self._backlog:
                self._write(self._backlog[0])
                self.counters.records += 1
                self.counters.bytes += len(self._backlog.popleft())
        except OSError as error:
            self.counters.refused += 1
            if not self._refusing:
                log.error("journal cannot be written; records wait in memory", error=str(error))
            self._refusing = True
        else:
            if self._refusing:
                log.info("journal can be written again", records=self.counters.records)
            self._refusing = False

    def _write(self, line: bytes) -> None:
        """One line, whole or not at all: what a full disk took of it is cut off again. Raises :class:`OSError`."""
        if self._current is None:
            self._open_segment()
        elif self._size >= self._segment_size:
            with contextlib.suppress(OSError):  # no room for another file: the old one grows on
                self._open_segment()
        try:
            written = os.write(self._file, line)
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            try:
                os.ftruncate(self._file, self._size)
            except OSError:
                self._leave_segment()
            raise
        self._size += len(line)

    def _open_segment(self) -> None:
        """Begin a new segment. Raises :class:`OSError`, and then the old one stays in use."""
        segment = self._last.successor()
        header = encode(SegmentOpened(self._wall(), run=self._run))
        path = self.folder / segment.name
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.write(file, header) < len(header):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.close(file)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        self._leave_segment()
        self._current = self._last = segment
        self._file, self._size = file, len(header)

    def _leave_segment(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
        self._current = None

    # --- an earlier life ----------------------------------------------------------------

    def _scan(self) -> dict[str, CallHistory]:
        unfinished = Unfinished()
        for segment in segments_in(self.folder):
            for record in records_of(self.folder, segment):
                unfinished.add(record)
                if isinstance(record, CallStarted):
                    self._first_segment_of[record.call] = segment
                elif isinstance(record, CallFinished):
                    self._first_segment_of.pop(record.call, None)
        return {each.call: each for each in unfinished.histories()}

"""The process that writes recordings. ``python -m media.writer --fd N --ring N``, started by a media worker.

Frames lie in a file at the place that their index gives, so sound that never came is silence and the two sides
stay aligned. The sizes in the header follow once a second: a file is a valid WAV at any time, also when every
process is killed. When the worker is gone, what it left in the ring is still written.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from media import ipc
from media.process import raise_file_limit
from media.rates import RATE
from media.ring import CELL, CELL_HEADER, PREAMBLE, SOUND_OCTETS, Ring

HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
HEADER_EVERY = 1.0
MAX_FRAMES = (0xFFFFFFFF - HEADER.size) // SOUND_OCTETS
"""What the 32-bit sizes of a WAV file hold: 37 hours."""

MAX_VECTORS = 512
"""Buffers of one write; the system's limit is 1024."""


class Begin(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """Record into ``path``; ``resume`` goes on with the file of a writer that is gone."""

    recording: int
    path: str
    resume: bool = False


class Written(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """Cells up to ``head`` are in the ring."""

    head: int


class Finish(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """The recording ends with cell ``head`` of the ring and has ``frames`` frames."""

    recording: int
    head: int
    frames: int


class Finished(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """The file is complete; ``reason`` says what went wrong, if anything did."""

    recording: int
    frames: int
    reason: str = ""


ToWriter = Begin | Written | Finish


def header(frames: int) -> bytes:
    """A WAV header for ``frames`` stereo frames."""
    size = min(frames, MAX_FRAMES) * SOUND_OCTETS
    return HEADER.pack(
        b"RIFF", size + HEADER.size - 8, b"WAVE", b"fmt ", 16, 1, 2, RATE, RATE * 4, 4, 16, b"data", size
    )


@dataclass(slots=True)
class _File:
    fd: int
    frames: int = 0
    stated: int = 0
    pending: list[memoryview] = field(default_factory=list)
    pending_from: int = 0

    def add(self, index: int, sound: memoryview) -> None:
        """Frame ``index``. Raises :class:`OSError`."""
        if index != self.pending_from + len(self.pending) or len(self.pending) == MAX_VECTORS:
            self.flush()
            self.pending_from = index
        self.pending.append(sound)

    def flush(self) -> None:
        """Write what was added. Raises :class:`OSError`."""
        if not self.pending:
            return
        count, place = len(self.pending), HEADER.size + self.pending_from * SOUND_OCTETS
        done = os.pwritev(self.fd, self.pending, place)
        if done < count * SOUND_OCTETS:  # say a full disk: the second try brings the error
            rest = b"".join(self.pending)[done:]
            if os.pwrite(self.fd, rest, place + done) < len(rest):
                raise OSError("the disk takes no more")
        self.frames = max(self.frames, self.pending_from + count)
        self.pending.clear()

    def state(self) -> None:
        """Bring the sizes in the header up to date. Raises :class:`OSError`."""
        if self.stated != self.frames:
            os.pwrite(self.fd, header(self.frames), 0)
            self.stated = self.frames

    def close(self, frames: int) -> None:
        """Complete the file with silence to ``frames``. Raises :class:`OSError`."""
        try:
            self.flush()
            if frames > self.frames:
                os.ftruncate(self.fd, HEADER.size + frames * SOUND_OCTETS)
                self.frames = frames
            self.state()
        finally:
            os.close(self.fd)


class Writer:
    """Takes cells out of the ring and puts them into files."""

    def __init__(self, ring: Ring) -> None:
        self.finished: list[Finished] = []
        self._ring = ring
        self._cells = memoryview(ring.memory)[PREAMBLE:]
        self._files: dict[int, _File] = {}
        self._stated = 0.0

    def handle(self, message: ToWriter) -> None:
        """Do what the worker says."""
        if isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Finish):
            self.consume(message.head)
            self._finish(message.recording, message.frames)
        else:
            self.consume(message.head)

    def _begin(self, message: Begin) -> None:
        path = Path(message.path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (0 if message.resume else os.O_TRUNC), 0o640)
            frames = max(0, (os.fstat(fd).st_size - HEADER.size) // SOUND_OCTETS)
            self._files[message.recording] = file = _File(fd, frames, -1)
            file.state()
        except OSError as error:
            self._break(message.recording, error)

    def consume(self, head: int) -> None:
        """Write all cells before ``head``."""
        ring, files, cells = self._ring, self._files, self._cells
        position = ring.tail
        touched: set[int] = set()
        while position < head:
            start = position % ring.cells * CELL.size
            recording, index = CELL_HEADER.unpack_from(cells, start)
            position += 1
            file = files.get(recording)
            if file is None or index >= MAX_FRAMES:
                continue
            touched.add(recording)
            try:
                file.add(index, cells[start + CELL_HEADER.size : start + CELL.size])
            except OSError as error:
                self._break(recording, error)
        for recording in touched & files.keys():
            try:
                files[recording].flush()
            except OSError as error:
                self._break(recording, error)
        ring.tail = position

    def state(self, now: float) -> None:
        """Once a second, the headers."""
        if now - self._stated < HEADER_EVERY:
            return
        self._stated = now
        for recording, file in list(self._files.items()):
            try:
                file.state()
            except OSError as error:
                self._break(recording, error)

    def close(self) -> None:
        """The worker is gone: write what it left and complete all files."""
        self.consume(self._ring.head)
        for recording in list(self._files):
            self._finish(recording, 0)

    def _finish(self, recording: int, frames: int) -> None:
        file = self._files.pop(recording, None)
        if file is None:
            return
        reason = ""
        try:
            file.close(min(frames, MAX_FRAMES))
        except OSError as error:
            reason = str(error)
        self.finished.append(Finished(recording, file.frames, reason))

    def _break(self, recording: int, error: OSError) -> None:
        """The disk refuses: this recording ends, with what the file has."""
        file = self._files.pop(recording, None)
        frames = 0
        if file is not None:
            frames = file.frames
            file.pending.clear()
            with contextlib.suppress(OSError):
                file.close(frames)
        self.finished.append(Finished(recording, frames, str(error)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m media.writer", description="Writes recordings for a media worker.")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the link to the worker")
    parser.add_argument("--ring", type=int, required=True, help="descriptor of the shared ring")
    arguments = parser.parse_args()
    ipc.detach_from_terminal()
    raise_file_limit()
    link: ipc.Link[ToWriter] = ipc.Link.from_fd(arguments.fd, ToWriter)
    writer = Writer(Ring(arguments.ring))
    poll = select.poll()  # select() refuses descriptors from 1024 on, and a busy worker has no lower ones to give
    poll.register(link.fileno(), select.POLLIN)
    with contextlib.suppress(ipc.LinkClosed):
        while True:
            poll.poll(HEADER_EVERY * 1000)
            for message in link.receive():
                writer.handle(message)
            writer.state(time.monotonic())
            for finished in writer.finished:
                link.send(finished)
            writer.finished.clear()
            link.flush()
    writer.close()


if __name__ == "__main__":
    main()

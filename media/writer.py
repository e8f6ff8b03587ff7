"""The process that writes recordings. ``python -m media.writer --fd N --ring N``, started by a media worker.

Frames lie in a file at the place that their index gives, so sound that never came is silence and the two sides
stay aligned. Files say every second how much they hold: they are playable at any time, also when every
process is killed. When the worker is gone, what it left in the ring is still written.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import time
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

from media import ipc
from media.commands import Sides, SoundFormat
from media.frames import Samples, Slots
from media.process import raise_file_limit
from media.ring import TAKEN, Ring
from media.soundfile import SoundFile, open_regular, put
from media.wav import WavFile

PATIENCE = 1.0
STATE_EVERY = 0.5
"""Seconds from one statement of a file about its size to the next, at least; sound comes about once a second."""

SPAN = 16_384
"""Cells that are taken out of the ring at a time, at most; after them there is room for new ones. As many as the worker
tells of at a time: in spans of 4,096 the same recordings cost twice the CPU time.
"""

MP3_AT_MOST = 100
"""MP3 files recorded into at a time. Each costs 2 to 4 ms of CPU a second, more than all the rest of a call: with more
of them the writer would fall behind, and other recordings would lose sound.
"""


class Begin(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """Record into ``path``; ``resume`` goes on with the file of a writer that is gone."""

    recording: int
    path: str
    sides: Sides = "both"
    format: SoundFormat = "wav"
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


class Append(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """Put ``data`` at the end of the file ``path``, which is closed after the ``last`` of it."""

    path: str
    data: bytes
    last: bool = False


class Appended(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """The last of it is in the file; or (``reason``) the disk refused some of it, and takes no more."""

    path: str
    reason: str = ""


ToWriter = Begin | Written | Finish | Append
FromWriter = Finished | Appended


def chosen(sound: Samples, rows: Slots, sides: Sides) -> Samples:
    """What a recording of ``sides`` takes of the cells ``rows`` of ``sound``: shape (n, channels, FRAME)."""
    match sides:
        case "both":
            both: Samples = sound[rows]
            return both
        case "caller":
            return sound[rows, :1]
        case "engine":
            return sound[rows, 1:]
        case "mix":
            loud = sound[rows].sum(axis=1, dtype=np.int32, keepdims=True)
            mixed: Samples = np.clip(loud, -32768, 32767).astype(np.int16)
            return mixed


class _Track:
    """A file, and which sides of the sound go into it."""

    __slots__ = ("file", "identity", "sides")

    def __init__(self, file: SoundFile, sides: Sides, identity: tuple[int, int]) -> None:
        self.file = file
        self.sides = sides
        self.identity = identity


class Writer:
    """Takes cells out of the ring and puts them into files. Times are monotonic seconds."""

    def __init__(self, ring: Ring) -> None:
        self.finished: list[FromWriter] = []
        self._ring = ring
        self._logs: dict[str, int] = {}
        self._tracks: dict[int, _Track] = {}
        self._in_use: set[tuple[int, int]] = set()  # identities of the files of tracks
        self._stated = 0.0

    def handle(self, message: ToWriter) -> None:
        """Do what the worker says."""
        self._ring.beat()
        if isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Finish):
            self._collect(message.recording, message.head)
            self._finish(message.recording, message.frames)
        elif isinstance(message, Append):
            self._append(message)
        else:
            self.consume(message.head)
            self._stated = 0.0  # what was written counts once the file says so

    def consume(self, head: int) -> None:
        """Write all cells before ``head``: those of a recording at once."""
        ring, tracks = self._ring, self._tracks
        for span in ring.spans(ring.tail, head, SPAN):
            numbers = ring.numbers[span]
            order = np.argsort(numbers, kind="stable")
            ordered = numbers[order]
            begins = np.flatnonzero(np.diff(ordered, prepend=np.uint32(TAKEN)))
            order += span.start
            for begin, end in pairwise([*begins.tolist(), order.size]):
                recording = int(ordered[begin])
                track = tracks.get(recording)
                if track is not None:
                    self._write(recording, track, order[begin:end])
                    ring.beat()  # after each file, as a slow disk may take long over a span
            ring.tail += order.size
            ring.free()

    def state(self, now: float) -> None:
        """Let the files say how much they hold, and find those that are gone."""
        self._ring.beat()
        if now - self._stated < STATE_EVERY:
            return
        self._stated = now
        for recording, track in list(self._tracks.items()):
            try:
                track.file.state()
                track.file.check()
            except Exception as error:  # noqa: BLE001 - the others' go on
                self._break(recording, error)
            self._ring.beat()

    def close(self) -> None:
        """The worker is gone: write what it left and complete all files."""
        self.consume(self._ring.head)
        for recording in list(self._tracks):
            self._finish(recording, None)
        for path in list(self._logs):
            os.close(self._logs.pop(path))

    def _append(self, message: Append) -> None:
        path, reason = message.path, ""
        try:
            fd = self._logs.get(path)
            if fd is None:
                fd = self._logs[path] = open_regular(Path(path))
            put(fd, message.data, os.fstat(fd).st_size)
        except (OSError, ValueError) as error:
            reason = _reason(error)
        if message.last or reason:
            if (fd := self._logs.pop(path, None)) is not None:
                os.close(fd)
            self.finished.append(Appended(path, reason))

    def _begin(self, message: Begin) -> None:
        try:
            self._tracks[message.recording] = track = self._open(message)
            self._in_use.add(track.identity)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is about this path
            self._break(message.recording, error)

    def _open(self, message: Begin) -> _Track:
        """Raises :class:`OSError`, also for a file that is in use, and for more MP3 files than can be encoded;
        :class:`ValueError` for a path that is none, and what else an encoder may raise.
        """
        if message.format == "mp3" and not message.resume:
            encoding = sum(not isinstance(track.file, WavFile) for track in self._tracks.values())
            if encoding >= MP3_AT_MOST:
                raise OSError(f"more than {MP3_AT_MOST} MP3 recordings at a time")
        fd = open_regular(Path(message.path))
        try:
            about = os.fstat(fd)
            identity = (about.st_dev, about.st_ino)
            if identity in self._in_use:
                raise OSError(f"{message.path} is being recorded into already")
            if not message.resume:
                os.ftruncate(fd, 0)
            return _Track(self._sound_file(fd, message), message.sides, identity)
        except Exception:
            os.close(fd)
            raise

    @staticmethod
    def _sound_file(fd: int, message: Begin) -> SoundFile:
        channels = 2 if message.sides == "both" else 1
        if message.format == "wav":
            return WavFile(fd, channels, resume=message.resume)
        from media.mp3 import Mp3File

        return Mp3File(fd, channels, resume=message.resume)

    def _collect(self, recording: int, head: int) -> None:
        """Write the cells of one recording before their turn."""
        track = self._tracks.get(recording)
        if track is None:
            return
        numbers = self._ring.numbers
        for span in self._ring.spans(self._ring.tail, head, SPAN):
            rows = np.flatnonzero(numbers[span] == recording) + span.start
            if rows.size:
                self._write(recording, track, rows)
                self._ring.beat()
                numbers[rows] = TAKEN

    def _write(self, recording: int, track: _Track, rows: Slots) -> None:
        """Cells ``rows``, in this order, into the file of ``track``."""
        indexes = self._ring.indexes[rows]
        sound = chosen(self._ring.sound, rows, track.sides)
        first = int(indexes[0])
        try:
            if int(indexes[-1]) - first == rows.size - 1:
                track.file.write(first, sound)
                return
            gaps = np.flatnonzero(np.diff(indexes) != 1) + 1
            for begin, end in pairwise([0, *gaps.tolist(), rows.size]):
                track.file.write(int(indexes[begin]), sound[begin:end])
        except Exception as error:  # noqa: BLE001 - the others' go on
            self._break(recording, error)

    def _release(self, recording: int) -> _Track | None:
        """The track of ``recording``, which is one no longer."""
        track = self._tracks.pop(recording, None)
        if track is not None:
            self._in_use.discard(track.identity)
        return track

    def _finish(self, recording: int, frames: int | None) -> None:
        track = self._release(recording)
        if track is None:
            return
        reason = ""
        try:
            track.file.close(frames)
        except Exception as error:  # noqa: BLE001 - the others' go on
            reason = _reason(error)
        self.finished.append(Finished(recording, track.file.frames, reason))

    def _break(self, recording: int, error: Exception) -> None:
        """The disk refuses, or the encoder fails: this recording alone ends, with what the file has."""
        track = self._release(recording)
        frames = 0
        if track is not None:
            with contextlib.suppress(Exception):
                track.file.close()
            frames = track.file.frames
        self.finished.append(Finished(recording, frames, _reason(error)))


def _reason(error: Exception) -> str:
    """Never empty: that would be success."""
    return str(error) or type(error).__name__


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
            poll.poll(PATIENCE * 1000)
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

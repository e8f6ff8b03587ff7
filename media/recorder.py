"""Recordings, on the side of the media worker: frames go into the ring, a writer process does the rest."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media import ipc, writer
from media.frames import Flags, Samples, Slots
from media.protocol import Recorded
from media.rates import FRAME, FRAME_SECONDS
from media.ring import CELL, PREAMBLE, Ring, create

RING_CELLS = 65536
"""42 MB: 1.3 s of a thousand recordings."""

TELL_EVERY = 0.2
"""Seconds of sound that a kill of everything may cost."""

RESTART_AFTER = 1.0
_CELL = np.dtype([("recording", np.uint32), ("index", np.uint32), ("sound", np.int16, (FRAME, 2))])

Connect = Callable[[int], tuple[socket.socket, "subprocess.Popen[bytes] | None"]]


def spawn(ring_fd: int) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a writer on the ring behind ``ring_fd``; returns the link to it. Raises :class:`OSError`."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "media.writer", "--fd", str(theirs.fileno()), "--ring", str(ring_fd)],
            pass_fds=(theirs.fileno(), ring_fd),
            stdin=subprocess.DEVNULL,
            env={**os.environ, **ipc.ONE_THREAD},
        )
    return ours, process


@dataclass(slots=True)
class _Recording:
    number: int
    stream: int
    path: str
    slot: int
    lost: int = 0
    finish: writer.Finish | None = None


class Recorder:
    """All recordings of a worker. ``active`` says which slots record; ``done`` collects :class:`Recorded`.

    ``dropped`` counts frames that the ring had no room for: the disk is too slow.
    """

    def __init__(self, capacity: int, connect: Connect = spawn, cells: int = RING_CELLS) -> None:
        self.active: Flags = np.zeros(capacity, np.bool_)
        self.done: list[Recorded] = []
        self.dropped = 0
        self._connect = connect
        self._ring_fd = create(cells)
        self._ring = Ring(self._ring_fd)
        self._cells = np.frombuffer(self._ring.memory, _CELL, self._ring.cells, PREAMBLE)
        assert _CELL.itemsize == CELL.size
        self._head = 0
        self._index: NDArray[np.uint32] = np.zeros(capacity, np.uint32)
        self._number: NDArray[np.uint32] = np.zeros(capacity, np.uint32)
        self._by_slot: dict[int, _Recording] = {}
        self._open: dict[int, _Recording] = {}
        self._last = 0
        self._told_at = 0.0
        self._lost_at = -RESTART_AFTER
        self._link: ipc.Link[writer.Finished] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._reconnect()

    @property
    def idle(self) -> bool:
        """Whether no file is open or being completed."""
        return not self._open

    def start(self, slot: int, stream: int, path: str) -> None:
        """Record ``slot`` into ``path`` from its next frame on."""
        self.stop(slot)
        self._last += 1
        recording = _Recording(self._last, stream, path, slot)
        self._by_slot[slot] = self._open[recording.number] = recording
        self._number[slot], self._index[slot], self.active[slot] = recording.number, 0, True
        self._tell(writer.Begin(recording.number, path))

    def stop(self, slot: int) -> None:
        """End the recording of ``slot``, if there is one; :class:`Recorded` follows when the file is complete."""
        recording = self._by_slot.pop(slot, None)
        if recording is not None:
            self.active[slot] = False
            recording.finish = writer.Finish(recording.number, self._head, int(self._index[slot]))
            self._tell(recording.finish)

    def feed(self, slots: Slots, received: Samples, sent: Samples) -> None:
        """One frame of both sides for each of ``slots``, all of them active."""
        index = self._index[slots]
        self._index[slots] = index + np.uint32(1)
        room = self._ring.cells - (self._head - self._ring.tail)
        if slots.size > room:
            for slot in slots[room:].tolist():
                self._by_slot[slot].lost += FRAME
            self.dropped += slots.size - room
            slots, index, received, sent = slots[:room], index[:room], received[:room], sent[:room]
        done = 0
        while done < slots.size:
            start = (self._head + done) % self._ring.cells
            part = slice(done, min(slots.size, done + self._ring.cells - start))
            cells = self._cells[start : start + part.stop - done]
            cells["recording"] = self._number[slots[part]]
            cells["index"] = index[part]
            sound = cells["sound"]
            sound[:, :, 0] = received[part]
            sound[:, :, 1] = sent[part]
            done = part.stop
        self._head += slots.size
        self._ring.head = self._head

    def skip(self, slots: Slots, frames: int) -> None:
        """Time passed in which the process did not run: silence in the files."""
        self._index[slots[self.active[slots]]] += np.uint32(frames)

    def poll(self, now: float) -> None:
        """Tell the writer what is there, hear what it has finished; start it again if it is gone."""
        link = self._link
        if link is None:
            if now - self._lost_at >= RESTART_AFTER:
                self._lost_at = now
                self._reconnect()
            return
        try:
            if self._open and now - self._told_at >= TELL_EVERY:
                self._told_at = now
                link.send(writer.Written(self._head))
            link.flush()
            for finished in link.receive():
                self._finished(finished)
        except ipc.LinkClosed:
            self._lose(now)

    def close(self) -> None:
        """End the link; the writer completes its files and leaves."""
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._process is not None:
            self._process.wait()

    def _finished(self, finished: writer.Finished) -> None:
        recording = self._open.pop(finished.recording, None)
        if recording is None:
            return
        if recording.finish is None:  # ended by the writer: the disk refused
            self._by_slot.pop(recording.slot, None)
            self.active[recording.slot] = False
        self.done.append(
            Recorded(recording.stream, recording.path, finished.frames * FRAME_SECONDS, recording.lost, finished.reason)
        )

    def _tell(self, message: writer.Begin | writer.Finish) -> None:
        if self._link is not None:
            self._link.send(message)

    def _lose(self, now: float) -> None:
        assert self._link is not None
        self._link.close()
        self._link = None
        self._lost_at = now
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _reconnect(self) -> None:
        """Start a writer; it goes on with the files of the one before, from what is still in the ring."""
        try:
            sock, self._process = self._connect(self._ring_fd)
        except OSError:
            return
        self._link = ipc.Link(sock, writer.Finished)
        for recording in self._open.values():
            self._tell(writer.Begin(recording.number, recording.path, resume=True))
        for recording in self._open.values():  # not before: the writer takes sound for files that it knows
            if recording.finish is not None:
                self._tell(recording.finish)

"""Recordings, on the side of the media worker: frames go into the ring, a writer process does the rest.

A stream has up to :data:`AT_ONCE` recordings at a time. Row ``n * capacity + slot`` of the arrays is the recording in
the n-th *layer* of a slot: a layer is worked on in one batch, and hardly ever is there a second one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media import wav, writer
from media.commands import Record
from media.frames import Flags, Samples, Slots, every, powers, some
from media.rates import FRAME, FRAME_SECONDS, RATE
from media.reports import Recorded, RecordingEnd
from media.ring import Ring, create
from media.scribe import Connect, Scribe, spawn
from media.vad import SpeechDetector

AT_ONCE = 4
"""Recordings of one stream at a time."""

RING_CELLS = 262144
"""5.2 s of a thousand recordings: 170 MB when it is full, which it is only if nobody writes for so long."""

FADE = 5 * RATE // 1000
"""Samples in which sound dies away before a pause and comes back after it."""

BEEP_HERTZ = 1000
BEEP_SECONDS = 0.25
BEEP_DBFS = -13.0
AFTERGLOW = 10
"""Frames that are kept after the caller's last words: the end of a word is softer than speech must be to be found."""

_FADE_OUT = np.concatenate([np.cos(np.linspace(0, np.pi / 2, FADE)), np.zeros(FRAME - FADE)]).astype(np.float32)
_FADE_IN = np.concatenate([np.sin(np.linspace(0, np.pi / 2, FADE)), np.ones(FRAME - FADE)]).astype(np.float32)
_NEVER = np.uint32(0xFFFFFFFF)


def _beep() -> Samples:
    time = np.arange(round(BEEP_SECONDS * RATE))
    edge = np.minimum(1.0, np.minimum(time, time[::-1]) / FADE)
    sound = np.zeros(-(-time.size // FRAME) * FRAME, np.int16)
    sound[: time.size] = 32768 * 10 ** (BEEP_DBFS / 20) * edge * np.sin(2 * np.pi * BEEP_HERTZ * time / RATE)
    return sound


BEEP = _beep()
"""The tone before a recording: whole frames."""


def _frames(seconds: float) -> int:
    """Whole frames that hold ``seconds``, as far as a file can."""
    return math.ceil(min(wav.MAX_FRAMES, seconds / FRAME_SECONDS) - 1e-6)


@dataclass(slots=True)
class _Recording:
    number: int
    """In the ring; no other recording of this worker has had it."""
    row: int
    about: Record
    paused: bool = False
    lost: int = 0
    why: RecordingEnd = "failed"
    finish: writer.Finish | None = None
    begun: bool = False
    """Whether a writer has been told of it: only then is what lies at its path its own."""


class Recorder:
    """All recordings of a worker. ``active`` says which slots have one; ``done`` collects :class:`Recorded`.

    ``dropped`` counts frames that the ring had no room for: the disk is too slow. ``appended`` gets what the writer
    says of files that are no recordings, and ``renewed`` says whether the last :meth:`poll` started another writer.
    """

    def __init__(self, capacity: int, connect: Connect = spawn, cells: int = RING_CELLS) -> None:
        rows = AT_ONCE * capacity
        self.active: Flags = np.zeros(capacity, np.bool_)
        self.done: list[Recorded] = []
        self.dropped = 0
        self.appended: list[writer.Appended] = []
        self.renewed = False
        self._capacity = capacity
        ring_fd = create(cells)
        self._ring = Ring(ring_fd)
        self._head = 0
        self._on: Flags = np.zeros(rows, np.bool_)
        self._number: NDArray[np.uint32] = np.zeros(rows, np.uint32)
        self._index: NDArray[np.uint32] = np.zeros(rows, np.uint32)
        self._limit: NDArray[np.uint32] = np.zeros(rows, np.uint32)
        self._patience: NDArray[np.uint32] = np.full(rows, _NEVER)
        self._quiet_from: NDArray[np.uint32] = np.zeros(rows, np.uint32)
        self._words_until: NDArray[np.uint32] = np.zeros(rows, np.uint32)
        self._crowd = [0] * AT_ONCE
        self._detector = SpeechDetector(capacity)
        self._heard: Flags = np.zeros(capacity, np.bool_)  # slots whose caller is listened to
        self._by_row: dict[int, _Recording] = {}
        self._open: dict[int, _Recording] = {}
        self._waiting: dict[int, int] = {}  # frames that go by until a row begins
        self._fading: dict[int, bool] = {}  # rows whose next frame fades, and whether it is the last one
        self._last = 0
        self._scribe = Scribe(self._ring, ring_fd, connect)

    @property
    def scribe(self) -> Scribe:
        """The link to the writer."""
        return self._scribe

    @property
    def idle(self) -> bool:
        """Whether no file is open or being completed."""
        return not self._open

    # --- commands -----------------------------------------------------------------------

    def start(self, slot: int, about: Record, wait: int = 0) -> None:
        """Record ``slot`` from its next frame on, or ``wait`` frames later."""
        self.stop(slot, about.recording)
        row = next((row for row in self._rows(slot) if row not in self._by_row), None)
        if row is None:
            reason = f"more than {AT_ONCE} recordings of one stream"
            self.done.append(Recorded(about.stream, about.recording, about.path, 0.0, 0, reason, "failed"))
            return
        self._last += 1
        recording = _Recording(self._last, row, about)
        self._by_row[row] = self._open[recording.number] = recording
        self._number[row], self._index[row] = recording.number, 0
        self._limit[row] = _frames(about.limit) if about.limit > 0 else wav.MAX_FRAMES
        self._patience[row] = _frames(about.silence) if about.silence > 0 else _NEVER
        self._quiet_from[row] = self._words_until[row] = 0
        self._crowd[row // self._capacity] += 1
        self.active[slot] = True
        if _needs_ears(about) and not self._heard[slot]:
            self._detector.open(slot)
            self._heard[slot] = True
        if wait:
            self._waiting[row] = wait
        else:
            self._on[row] = True
        self._begin(recording)

    def pause(self, slot: int, number: int, *, on: bool) -> None:
        """Leave out what sounds from the next frame on, or no longer."""
        recording = self._find(slot, number)
        if recording is None or recording.paused == on:
            return
        recording.paused = on
        row = recording.row
        if row in self._waiting:
            return
        if row in self._fading:  # the other way round before there was a frame
            del self._fading[row]
            self._on[row] = not on
            return
        self._fading[row] = on
        self._on[row] = True
        if not on:
            self._quiet_from[row] = self._index[row]

    def stop(self, slot: int, number: int) -> None:
        """End a recording, if there is one; :class:`Recorded` follows when the file is complete."""
        recording = self._find(slot, number)
        if recording is not None:
            self._end(recording, "stopped")

    def drop(self, slot: int) -> None:
        """The stream is going: end all its recordings."""
        for row in self._rows(slot):
            if row in self._by_row:
                self._end(self._by_row[row], "closed")

    # --- sound --------------------------------------------------------------------------

    def feed(self, slots: Slots, received: Samples, sent: Samples, *, in_time: bool = True) -> None:
        """One frame of both sides for each of ``slots``, all of them active. Not ``in_time``: its time passed without
        anything being sent, and beeps that recordings wait for are still to come.
        """
        for layer, crowd in enumerate(self._crowd):
            if not crowd:
                continue
            rows = slots + layer * self._capacity
            on = self._on[rows]
            if every(on):
                self._put(rows, received, sent)
            elif some(on):
                self._put(rows[on], received[on], sent[on])
        heard = self._heard[slots]
        if some(heard):
            self._listen(slots[heard], received[heard])
        if self._waiting and in_time:
            self._count_down(slots)

    def skip(self, slots: Slots, frames: int) -> None:
        """Time passed of which nothing is known: silence in the files, though the caller may have talked."""
        for layer in range(AT_ONCE):
            rows = slots + layer * self._capacity
            rows = rows[self._on[rows]]
            self._index[rows] += np.uint32(frames)
            self._quiet_from[rows] += np.uint32(frames)
            self._end_over_limit(rows)

    def poll(self, now: float) -> None:
        """Tell the writer what is there, hear what it has finished; start it again if it is gone."""
        for finished in self._scribe.poll(self._head, now, busy=bool(self._open)):
            if isinstance(finished, writer.Appended):
                self.appended.append(finished)
            else:
                self._finished(finished)
        self.renewed = self._scribe.renewed
        if self.renewed:
            self._hand_over()
        elif self._scribe.given_up and self._open:
            self._give_up()

    def leave(self) -> None:
        """Before the end of this process, which tells the writer to complete its files: see that there is a writer, and
        that it knows of them all. What is in the ring would be lost with us otherwise.
        """
        if self._open and self._scribe.renew():
            self._hand_over()
        self._scribe.flush()

    def close(self) -> None:
        """End the link; the writer completes its files and leaves, and is waited for."""
        self.leave()
        self._scribe.close()

    def _put(self, rows: Slots, received: Samples, sent: Samples) -> None:
        """A frame of each of ``rows`` into the ring."""
        index = self._index[rows]
        self._index[rows] = index + np.uint32(1)
        all_rows = rows
        if self._fading:
            received, sent = self._faded(rows, received, sent)
        ring = self._ring
        room = ring.room
        if rows.size > room:
            for row in rows[room:].tolist():
                self._by_row[row].lost += FRAME
            self.dropped += rows.size - room
            rows = rows[:room]
        done = 0
        for span in ring.spans(self._head, self._head + rows.size):
            part = slice(done, done + span.stop - span.start)
            ring.numbers[span] = self._number[rows[part]]
            ring.indexes[span] = index[part]
            ring.sound[span, 0] = received[part]
            ring.sound[span, 1] = sent[part]
            done = part.stop
        self._head += rows.size
        ring.head = self._head
        self._end_over_limit(all_rows)

    def _faded(self, rows: Slots, received: Samples, sent: Samples) -> tuple[Samples, Samples]:
        """Both sides with the edges of pauses in them."""
        places = [place for place, row in enumerate(rows.tolist()) if row in self._fading]
        if places:
            received, sent = received.copy(), sent.copy()
        for place in places:
            row = int(rows[place])
            last = self._fading.pop(row)
            fade = _FADE_OUT if last else _FADE_IN
            received[place] = received[place] * fade
            sent[place] = sent[place] * fade
            self._on[row] = not last
        return received, sent

    def _listen(self, slots: Slots, received: Samples) -> None:
        """How long ago the caller spoke."""
        levels = powers(received)
        voiced = self._detector.voiced(slots, levels)
        self._detector.feed(slots, voiced, levels, 0.0)
        talking = voiced & self._detector.speaking[slots]
        for layer, crowd in enumerate(self._crowd):
            if not crowd:
                continue
            rows = slots + layer * self._capacity
            rows_talking = rows[talking & self._on[rows]]
            self._quiet_from[rows_talking] = self._words_until[rows_talking] = self._index[rows_talking]
            over = self._on[rows] & (self._index[rows] - self._quiet_from[rows] >= self._patience[rows])
            for row in rows[over].tolist():
                self._end(self._by_row[row], "silence")

    def _count_down(self, slots: Slots) -> None:
        here = set(slots.tolist())
        for row in [row for row in self._waiting if row % self._capacity in here]:
            self._waiting[row] -= 1
            if not self._waiting[row]:
                del self._waiting[row]
                self._on[row] = not self._by_row[row].paused

    def _end_over_limit(self, rows: Slots) -> None:
        for row in rows[self._index[rows] >= self._limit[rows]].tolist():
            self._end(self._by_row[row], "limit")

    # --- beginnings and ends ------------------------------------------------------------

    def _begin(self, recording: _Recording) -> None:
        """Tell the writer of a recording; it goes on with the file that one before it has begun."""
        about = recording.about
        message = writer.Begin(recording.number, about.path, about.sides, about.format, recording.begun)
        if self._scribe.send(message):
            recording.begun = True

    def _rows(self, slot: int) -> range:
        return range(slot, AT_ONCE * self._capacity, self._capacity)

    def _find(self, slot: int, number: int) -> _Recording | None:
        here = (self._by_row[row] for row in self._rows(slot) if row in self._by_row)
        return next((recording for recording in here if recording.about.recording == number), None)

    def _end(self, recording: _Recording, why: RecordingEnd) -> None:
        row = recording.row
        frames = min(int(self._index[row]), int(self._limit[row]))
        if recording.about.trim:
            words = int(self._words_until[row])
            frames = min(frames, words + AFTERGLOW if words else 0)
        recording.why = why
        recording.finish = writer.Finish(recording.number, self._head, frames)
        self._release(recording)
        self._scribe.send(recording.finish)

    def _release(self, recording: _Recording) -> None:
        """Nothing more is recorded."""
        row = recording.row
        slot = row % self._capacity
        del self._by_row[row]
        self._on[row] = False
        self._crowd[row // self._capacity] -= 1
        self._waiting.pop(row, None)
        self._fading.pop(row, None)
        left = [self._by_row[other].about for other in self._rows(slot) if other in self._by_row]
        self.active[slot] = bool(left)
        self._heard[slot] = any(map(_needs_ears, left))

    def _finished(self, finished: writer.Finished) -> None:
        recording = self._open.pop(finished.recording, None)
        if recording is None:
            return
        if recording.finish is None:  # ended by the writer: the disk refused
            self._release(recording)
        self._report(recording, finished.frames, finished.reason)

    def _report(self, recording: _Recording, frames: int, reason: str) -> None:
        about = recording.about
        why: RecordingEnd = "failed" if reason else recording.why
        seconds = frames * FRAME_SECONDS
        self.done.append(Recorded(about.stream, about.recording, about.path, seconds, recording.lost, reason, why))

    def _hand_over(self) -> None:
        """To a new writer, which goes on with the files of the one before, from what is still in the ring."""
        for recording in self._open.values():
            self._begin(recording)
        for recording in self._open.values():  # not before: the writer takes sound for files that it knows
            if recording.finish is not None:
                self._scribe.send(recording.finish)
        self._scribe.send(writer.Written(self._head))

    def _give_up(self) -> None:
        """Nobody writes any more: all recordings end with what has left the ring."""
        reason = "the writer of recordings does not answer"
        unread = dict(self._unread())
        for recording in list(self._open.values()):
            row = recording.row
            frames = int(self._index[row]) if recording.finish is None else recording.finish.frames
            if recording.finish is None:
                self._release(recording)
            self._report(recording, min(frames, unread.get(recording.number, frames)), reason)
        self._open.clear()

    def _unread(self) -> Iterator[tuple[int, int]]:
        """(Number, index) of the first frame of each recording in the ring."""
        for span in reversed(list(self._ring.spans(self._ring.tail, self._head))):
            numbers, places = np.unique(self._ring.numbers[span], return_index=True)
            yield from zip(numbers.tolist(), self._ring.indexes[span][places].tolist(), strict=True)


def _needs_ears(about: Record) -> bool:
    return about.silence > 0 or about.trim

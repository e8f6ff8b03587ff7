"""Prompts in memory: one large array of frames that all streams of a worker play from.

The array is reserved at once and its pages are only used as prompts come in; clips that nobody plays
make room for new ones, least recently used first. Files are read by a thread, never in a tick; the thread also
copies long clips to the place that they are given.
"""

from __future__ import annotations

import contextlib
import mmap
import wave
from collections import OrderedDict
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from media.frames import Samples
from media.rates import FRAME_SECONDS, RATE, WIDE_RATE

MAX_SECONDS = 3600
"""Longest prompt that is loaded."""

ARENA_BYTES = 512 * 1024 * 1024
"""Address space for prompts: about nine hours of sound at 8 kHz."""

RESAMPLED_AT_ONCE = 10
"""Seconds of sound that are held as floating-point numbers while a clip is resampled."""


AT_ONCE = 500
"""Frames that are copied in a tick: tens of microseconds."""


class BadClip(Exception):
    """The file cannot be played; the message says why."""


@dataclass(slots=True, eq=False)
class Clip:
    """Sound in the arena: ``count`` frames from ``start``. ``users`` play it now."""

    path: str
    start: int
    count: int
    users: int = 0


def read_clip(path: str, rate: int = RATE) -> Samples:
    """The samples of a 16-bit mono WAV file of 8 or 16 kHz at ``rate`` Hz (either of these), padded to whole frames.

    Raises :class:`BadClip`.
    """
    try:
        if not Path(path).is_file():
            raise BadClip(f"{path}: not a file")
        with wave.open(path, "rb") as file:
            form = (file.getframerate(), file.getsampwidth(), file.getnchannels())
            if form[0] not in (RATE, WIDE_RATE) or form[1:] != (2, 1):
                found = f"{form[0]} Hz, {8 * form[1]} bit, {form[2]} channels"
                raise BadClip(f"{path}: {found} instead of 8000 or 16000, 16, 1")
            if file.getnframes() > MAX_SECONDS * form[0]:
                raise BadClip(f"{path}: longer than {MAX_SECONDS} s")
            sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    except (OSError, EOFError, wave.Error, ValueError, RuntimeError) as error:
        raise BadClip(f"{path}: {error}") from error
    if form[0] != rate:
        sound = _resample(sound, form[0], rate)
    frame = round(rate * FRAME_SECONDS)
    padded = np.zeros(-(-len(sound) // frame) * frame, np.int16)
    padded[: len(sound)] = sound
    return padded


def _resample(sound: Samples, have: int, want: int) -> Samples:
    """``sound`` at another rate. In floating point, for soxr dithers integers, and silence is to stay silent."""
    stream = soxr.ResampleStream(have, want, 1, dtype="float32")
    step = RESAMPLED_AT_ONCE * have
    blocks = [np.zeros(0, np.int16)]
    for start in range(0, len(sound), step):
        chunk = sound[start : start + step].astype(np.float32)
        block = stream.resample_chunk(chunk, last=start + step >= len(sound))
        blocks.append(np.rint(block).clip(-32768, 32767).astype(np.int16))
    return np.concatenate(blocks)


@dataclass(slots=True, eq=False)
class _Loading:
    """A file on its way: while it is read ``clip`` is unknown, then it is copied to its place."""

    future: Future[Samples] | Future[None]
    clip: Clip | None = None


class Arena:
    """Clips by path, at one rate. ``frames`` has the shape (frames, ``frame``); a clip is a range of its rows."""

    def __init__(self, octets: int = ARENA_BYTES, reader: Executor | None = None, *, rate: int = RATE) -> None:
        """``rate``: 8 or 16 kHz. ``reader`` runs the reading of files, by default in a thread of its own."""
        self.rate = rate
        self.frame = round(rate * FRAME_SECONDS)
        """Samples in a frame."""
        memory = mmap.mmap(-1, octets - octets % mmap.PAGESIZE)
        size = len(memory) // (2 * self.frame)
        self.frames: Samples = np.frombuffer(memory, np.int16, size * self.frame).reshape(size, self.frame)
        self._clips: OrderedDict[str, Clip] = OrderedDict()
        self._gaps: list[tuple[int, int]] = [(0, size)]  # (start, count), sorted, never adjacent
        self._loading: dict[str, _Loading] = {}
        self._reader = reader or ThreadPoolExecutor(1, thread_name_prefix="clips")

    def acquire(self, path: str) -> Clip | None:
        """The clip, kept until :meth:`release`; ``None`` while it is still being loaded. Raises :class:`BadClip`."""
        clip = self._clips.get(path)
        if clip is None:
            if path not in self._loading:
                self._loading[path] = _Loading(self._reader.submit(read_clip, path, self.rate))
            clip = self._go_on(path)
            if clip is None:
                return None
        clip.users += 1
        self._clips.move_to_end(path)
        return clip

    def release(self, clip: Clip) -> None:
        """One user less; the clip stays until its place is needed."""
        clip.users -= 1

    def tidy(self) -> None:
        """Keep what was read for somebody who has left meanwhile. To be called now and then."""
        for path in list(self._loading):
            with contextlib.suppress(BadClip):
                self._go_on(path)

    def close(self) -> None:
        """Let the reading thread go."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _go_on(self, path: str) -> Clip | None:
        """The next step with a file that is being loaded; the clip if that was the last. Raises :class:`BadClip`."""
        loading = self._loading[path]
        if not loading.future.done():
            return None
        del self._loading[path]
        result = loading.future.result()
        if result is not None:
            count = len(result) // self.frame
            loading.clip = clip = Clip(path, self._place(count), count)
            if clip.count > AT_ONCE:
                # From here on the thread alone holds the samples, and frees them.
                loading.future = self._reader.submit(self._copy, clip, result)
                self._loading[path] = loading
                return None
            self._copy(clip, result)
        assert loading.clip is not None
        self._clips[path] = loading.clip
        return loading.clip

    def _copy(self, clip: Clip, samples: Samples) -> None:
        self.frames[clip.start : clip.start + clip.count] = samples.reshape(clip.count, self.frame)

    def _place(self, count: int) -> int:
        """First fit, after dropping unused clips as needed. Raises :class:`BadClip` when all is in use."""
        while True:
            for index, (start, free) in enumerate(self._gaps):
                if free >= count:
                    self._gaps[index : index + 1] = [(start + count, free - count)] if free > count else []
                    return start
            unused = next((clip for clip in self._clips.values() if not clip.users), None)
            if unused is None:
                raise BadClip("no room for more prompts")
            del self._clips[unused.path]
            self._free(unused.start, unused.count)

    def _free(self, start: int, count: int) -> None:
        merged: list[tuple[int, int]] = []
        for gap in sorted([*self._gaps, (start, count)]):
            if merged and sum(merged[-1]) == gap[0]:
                merged[-1] = (merged[-1][0], merged[-1][1] + gap[1])
            else:
                merged.append(gap)
        self._gaps = [gap for gap in merged if gap[1]]

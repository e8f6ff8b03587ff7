"""What each stream plays: lists of clips, key tones, silence; gathered for all streams at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.arena import Arena, BadClip, Clip
from media.frames import NO_SLOTS, Floats, Samples, Slots
from media.rates import FRAME_SECONDS
from media.reports import PlayEnded, Report

FADE_SECONDS = 0.005
"""In which a stopped prompt dies away."""

_NEVER = np.inf
_NOW = -np.inf


@dataclass(slots=True)
class _Playback:
    stream: int
    play: int
    files: Sequence[str]
    loop: bool
    start_at: float
    index: int = 0
    clip: Clip | None = None
    heard: bool = False


class Player:
    """The source of what is sent, at the rate of its arena. ``reports`` gets a :class:`PlayEnded` for each play, one.

    Playing stream ``slot`` has ``left[slot]`` frames to go from row ``cursor[slot]`` of the arena;
    ``wake[slot]`` is when its list needs attention: its start, the end of a clip, or never.
    """

    def __init__(self, capacity: int, arena: Arena, reports: list[Report]) -> None:
        self.reports = reports
        self._arena = arena
        self._silent: Samples = np.zeros((0, arena.frame), np.int16)
        fade = np.cos(np.linspace(0, np.pi / 2, round(FADE_SECONDS * arena.rate)))
        self._fade_out = np.concatenate([fade, np.zeros(arena.frame - fade.size)]).astype(np.float32)
        self._cursor: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._left: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._wake: Floats = np.full(capacity, _NEVER)
        self._playing: dict[int, _Playback] = {}
        self._fading: dict[int, tuple[_Playback, str]] = {}
        self._tones: dict[int, deque[Samples]] = {}

    def play(
        self, slot: int, stream: int, play: int, files: Sequence[str], start_at: float, now: float, *, loop: bool
    ) -> None:
        """Play ``files`` from ``start_at`` (to the nearest frame) in place of what plays."""
        self.stop(slot, now, "replaced")
        self._playing[slot] = _Playback(stream, play, files, loop, start_at or _NOW)
        self._wake[slot] = _NEVER if slot in self._fading else start_at or _NOW
        try:  # so that the files are in memory when the time comes
            for path in files:
                clip = self._arena.acquire(path)
                if clip is not None:
                    self._arena.release(clip)
        except BadClip as error:
            self._finish(slot, now, str(error))

    def stop(self, slot: int, now: float, reason: str = "stopped") -> None:
        """Let what plays die away in the next frame."""
        playback = self._playing.get(slot)
        if playback is None:
            return
        if self._left[slot] and slot not in self._fading:
            del self._playing[slot]
            self._fading[slot] = (playback, reason)
            self._wake[slot] = _NEVER
        else:
            self._finish(slot, now, reason)

    def tone(self, slot: int, samples: Samples) -> int:
        """Play ``samples`` (whole frames) over everything else, after the tones that wait already.

        Returns the number of frames until their end.
        """
        waiting = self._tones.setdefault(slot, deque())
        waiting.extend(samples.reshape(-1, self._arena.frame))
        return len(waiting)

    def toning(self, slot: int) -> int:
        """Frames of tones that wait to be played."""
        return len(self._tones.get(slot, ()))

    def drop(self, slot: int, now: float, reason: str = "closed") -> None:
        """The stream is going: end all at once."""
        self._tones.pop(slot, None)
        self._faded(slot, now)
        if slot in self._playing:
            self._finish(slot, now, reason)

    @property
    def idle(self) -> bool:
        """Whether nothing plays, dies away or waits for its time."""
        return not (self._playing or self._fading or self._tones)

    def gather(self, slots: Slots, now: float) -> tuple[Slots, Samples]:
        """The next frame of those of ``slots`` that are not silent: (their slots, frames)."""
        due = slots[self._wake[slots] <= now + FRAME_SECONDS / 2]
        for slot in due.tolist():
            self._attend(slot, now)
        playing = slots[self._left[slots] > 0]
        if playing.size:
            cursors = self._cursor[playing]
            frames = self._arena.frames.take(cursors, axis=0)
            self._cursor[playing] = cursors + 1
            left = self._left[playing] - 1
            self._left[playing] = left
            ran_out = playing[left == 0]
            if ran_out.size:
                self._wake[ran_out] = _NOW
        else:
            playing, frames = NO_SLOTS, self._silent
        if self._fading:
            self._fade(playing, frames, now)
        if self._tones:
            return self._overlay(slots, playing, frames)
        return playing, frames

    def _attend(self, slot: int, now: float) -> None:
        """Start the next clip of a list, or end it."""
        playback = self._playing.get(slot)
        if playback is None:
            self._wake[slot] = _NEVER
            return
        self._release(playback)
        while True:
            if playback.index == len(playback.files):
                if not playback.loop or not playback.heard:
                    self._finish(slot, now, "")
                    return
                playback.index = 0
            try:
                clip = self._arena.acquire(playback.files[playback.index])
            except BadClip as error:
                self._finish(slot, now, str(error))
                return
            if clip is None:
                self._wake[slot] = _NOW  # still being read: silence for a frame
                return
            playback.index += 1
            if clip.count:
                break
            self._arena.release(clip)
        playback.clip, playback.heard = clip, True
        self._cursor[slot], self._left[slot], self._wake[slot] = clip.start, clip.count, _NEVER

    def _fade(self, playing: Slots, frames: Samples, now: float) -> None:
        for index, slot in enumerate(playing.tolist()):
            if slot in self._fading:
                frames[index] = frames[index] * self._fade_out
                self._faded(slot, now)

    def _faded(self, slot: int, now: float) -> None:
        fading = self._fading.pop(slot, None)
        if fading is None:
            return
        playback, reason = fading
        self._release(playback)
        self._left[slot] = 0
        following = self._playing.get(slot)
        self._wake[slot] = _NEVER if following is None else following.start_at
        self.reports.append(PlayEnded(playback.stream, playback.play, now, False, reason))

    def _overlay(self, slots: Slots, playing: Slots, frames: Samples) -> tuple[Slots, Samples]:
        toned = [slot for slot in slots.tolist() if slot in self._tones]
        if not toned:
            return playing, frames
        tones = np.empty((len(toned), self._arena.frame), np.int16)
        for index, slot in enumerate(toned):
            waiting = self._tones[slot]
            tones[index] = waiting.popleft()
            if not waiting:
                del self._tones[slot]
        others = ~np.isin(playing, toned)
        return np.concatenate([playing[others], toned]).astype(np.intp), np.concatenate([frames[others], tones])

    def _release(self, playback: _Playback) -> None:
        if playback.clip is not None:
            self._arena.release(playback.clip)
            playback.clip = None

    def _finish(self, slot: int, now: float, reason: str) -> None:
        """The end of the list, or of the play before anything sounded; no reason: complete."""
        playback = self._playing.pop(slot)
        self._release(playback)
        if slot not in self._fading:
            self._left[slot] = 0
            self._wake[slot] = _NEVER
        self.reports.append(PlayEnded(playback.stream, playback.play, now, not reason, reason))

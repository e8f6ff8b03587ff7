"""Rooms: each member hears the sum of the others (N-1), many rooms at once. No sockets, no clock.

Members of a room may sit in different phases of the 20 ms. A room keeps the running sum of the latest frame of each
member. At a member's own tick its frame of before is replaced by its new one, and what it hears is the sum less its
own: it gets each frame of each other member exactly once, at most 15 ms late, and nothing waits in a queue. Sums are
integers, so what was added is taken away again to the last bit.

In a gated room only those who talk are in the sum: a frame well over the noise floor opens the gate at once, 400 ms
without one close it. What begins or ends in the sum, and what a member begins to hear, is faded over 5 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.frames import Flags, Powers, Samples, Slots, power, some
from media.rates import FRAME, PHASES

HANGOVER = 20
"""Frames that the gate of a talker stays open after the last loud one: 400 ms."""

FADE = 40
"""Samples over which a sound begins or ends: 5 ms."""

QUIETEST = power(-46.0)
"""Power that never opens a gate, whatever the floor."""

OVER_FLOOR = 10 ** (9.0 / 10)
"""A frame this much over the floor opens the gate; 3 dB less keeps it open."""

_KEEPS_OPEN = 0.5
_LEAST_FLOOR = power(-60.0)
_HIGHEST_FLOOR = power(-40.0)
"""So that nobody who is loud is taken for noise, however steady the sound."""

_RISE = 10 ** (4.0 / 10 / 50)
"""Per frame, by which the floor follows noise that has become louder: 4 dB in a second."""

_IN: NDArray[np.int32] = np.arange(1, 2 * FADE, 2, dtype=np.int32)
_OUT = _IN[::-1].copy()
_FULL = 2 * FADE
_NO_ROW = -1


@dataclass(slots=True)
class _Tail:
    """The end of a leaver's sound: the first of ``frames`` is in the sum of ``row``, from tick ``due`` on the next."""

    row: int
    due: int
    frames: list[Samples]


class Mixer:
    """The rooms of a worker. ``member`` says which slots are in one; ``talking`` collects (slot, whether it talks now)
    of members of gated rooms, for the caller to take and clear. A muted member does not talk.
    """

    def __init__(self, capacity: int) -> None:
        self.member: Flags = np.zeros(capacity, np.bool_)
        self.talking: list[tuple[int, bool]] = []
        self._rows: dict[int, int] = {}
        self._numbers: list[int] = [0] * capacity
        self._crowd: list[int] = [0] * capacity
        self._free = list(range(capacity - 1, -1, -1))
        self._sums: NDArray[np.int32] = np.zeros((capacity, FRAME), np.int32)
        self._heard: Samples = np.zeros(
            (capacity, FRAME), np.int16
        )  # the sums, clipped: what those hear who add nothing
        self._tails: list[_Tail] = []
        # By slot:
        self._row: NDArray[np.intp] = np.full(capacity, _NO_ROW, np.intp)
        self._muted: Flags = np.zeros(capacity, np.bool_)
        self._deaf: Flags = np.zeros(capacity, np.bool_)
        self._gated: Flags = np.zeros(capacity, np.bool_)
        self._fed: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._own: Samples = np.zeros((capacity, FRAME), np.int16)  # the part of the sum that is the member's
        self._sounds: Flags = np.zeros(capacity, np.bool_)  # that part may be other than zero
        self._audible: Flags = np.zeros(capacity, np.bool_)
        self._hears: Flags = np.zeros(capacity, np.bool_)
        self._talks: Flags = np.zeros(capacity, np.bool_)
        self._left: NDArray[np.int8] = np.zeros(capacity, np.int8)  # frames until the gate closes
        self._floor: Powers = np.zeros(capacity, np.float32)

    @property
    def rooms(self) -> dict[int, int]:
        """How many members each room has."""
        return {room: self._crowd[row] for room, row in self._rows.items()}

    # --- who is where -------------------------------------------------------------------

    def join(self, slot: int, room: int, *, muted: bool = False, deaf: bool = False, gated: bool = True) -> None:
        """Put ``slot`` into ``room``, out of the one it was in; in the same room again: with other rights."""
        row = self._row[slot]
        if row == _NO_ROW or self._numbers[row] != room:
            self.leave(slot)
            self._enter(slot, room)
        self._muted[slot], self._deaf[slot], self._gated[slot] = muted, deaf, gated
        if not gated:
            self._fall_silent(slot)

    def _enter(self, slot: int, room: int) -> None:
        row = self._rows.get(room)
        if row is None:
            row = self._rows[room] = self._free.pop()
            self._numbers[row] = room
            self._sums[row] = self._heard[row] = 0
        self._crowd[row] += 1
        self._row[slot] = row
        self.member[slot] = True
        self._own[slot] = 0
        self._sounds[slot] = self._audible[slot] = self._hears[slot] = self._talks[slot] = False
        self._left[slot] = 0
        self._floor[slot] = _LEAST_FLOOR

    def leave(self, slot: int) -> None:
        """Out of its room, if it is in one. Its last frame still goes to those who have not heard it, and 5 ms more."""
        row = int(self._row[slot])
        if row == _NO_ROW:
            return
        self._row[slot] = _NO_ROW
        self.member[slot] = False
        self._fall_silent(slot)
        self._crowd[row] -= 1
        if not self._crowd[row]:
            del self._rows[self._numbers[row]]
            self._free.append(row)
            self._tails = [tail for tail in self._tails if tail.row != row]
        elif self._sounds[slot]:
            frame, silence = self._own[slot].copy(), np.zeros(FRAME, np.int16)
            end = silence.copy()
            end[:FADE] = frame[: -FADE - 1 : -1] * _OUT // _FULL  # mirrored: it goes on where the frame ended
            self._tails.append(_Tail(row, int(self._fed[slot]) + PHASES, [frame, end, silence]))

    def _fall_silent(self, slot: int) -> None:
        """Whoever was told that ``slot`` talks is told that it does not any more."""
        if self._talks[slot]:
            self._talks[slot] = False
            self.talking.append((slot, False))

    # --- sound --------------------------------------------------------------------------

    def feed(self, slots: Slots, frames: Samples, levels: Powers, tick: int) -> None:
        """Tick number ``tick`` brings a frame, with its power, of each of ``slots``: all members of one phase, each at
        all of its ticks. May be left out when the phase has no members.
        """
        if self._tails:
            self._end_tails(tick)
        if not slots.size:
            return
        self._fed[slots] = tick
        audible = self._gate(slots, levels)
        before = self._audible[slots]
        index = np.flatnonzero(audible | self._sounds[slots])
        if not index.size:
            return
        self._audible[slots] = audible
        self._sounds[slots] = audible | before
        audible, before, slots = audible[index], before[index], slots[index]
        fresh = frames.take(index, axis=0)
        if not (audible & before).all():
            self._fade(fresh, audible, before)
        change = np.subtract(fresh, self._own.take(slots, axis=0), dtype=np.int32)
        self._own[slots] = fresh
        self._add(self._row[slots], change)

    def output(self, slots: Slots) -> Samples:
        """What each of ``slots``, all of them members, hears now: of members of the phase that was just fed, once."""
        rows = self._row[slots]
        heard = self._heard.take(rows, axis=0)
        adding = np.flatnonzero(self._sounds[slots])
        if adding.size:
            others = self._sums.take(rows[adding], axis=0)
            others -= self._own.take(slots[adding], axis=0)
            heard[adding] = _clipped(others)
        hears, before = ~self._deaf[slots], self._hears[slots]
        if not (hears & before).all():
            self._fade(heard, hears, before)
            self._hears[slots] = hears
        return heard

    def _gate(self, slots: Slots, levels: Powers) -> Flags:
        """Who is to be heard; the floors and the lists of talkers follow."""
        gated, muted = self._gated[slots], self._muted[slots]
        if not some(gated):
            return ~muted
        floor, left = self._floor[slots], self._left[slots]
        factor = np.where(left > 0, np.float32(OVER_FLOOR * _KEEPS_OPEN), np.float32(OVER_FLOOR))
        loud = (levels > floor * factor) & (levels > np.float32(QUIETEST))
        left = np.where(loud, np.int8(HANGOVER + 1), np.maximum(left, np.int8(1)) - np.int8(1))
        left[muted] = 0
        self._left[slots] = left
        lower = np.minimum(levels, floor * np.float32(_RISE))
        lower = np.clip(lower, np.float32(_LEAST_FLOOR), np.float32(_HIGHEST_FLOOR))
        self._floor[slots] = np.where(levels > 0, lower, floor)  # digital silence says nothing of the noise
        talks = (left > 0) & gated
        turned = np.flatnonzero(talks != self._talks[slots])
        if turned.size:
            self._talks[slots] = talks
            self.talking += zip(slots[turned].tolist(), talks[turned].tolist(), strict=True)
        return talks | ~(gated | muted)

    @staticmethod
    def _fade(frames: Samples, now: Flags, before: Flags) -> None:
        """In place: frames of what sounds ``now`` and did ``before`` stay, the others begin, end or are silent."""
        frames[~(now | before)] = 0
        begins, ends = np.flatnonzero(now & ~before), np.flatnonzero(before & ~now)
        if begins.size:
            frames[begins, :FADE] = frames[begins, :FADE] * _IN // _FULL
        if ends.size:
            frames[ends, :FADE] = frames[ends, :FADE] * _OUT // _FULL
            frames[ends, FADE:] = 0

    def _add(self, rows: NDArray[np.intp], change: NDArray[np.int32]) -> None:
        """Add each of the frames ``change`` to the sum of its row. In log2(most members of a room) rounds pairs of
        neighbours are added up: two to three times as fast as ``np.add.at``, in many rooms also as ``np.add.reduceat``.
        """
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        new = np.ones(rows.size, np.bool_)
        np.not_equal(rows[1:], rows[:-1], out=new[1:])
        first = np.flatnonzero(new)
        if first.size == rows.size:
            change = change.take(order, axis=0)
        else:
            change = _added_up(change.take(order, axis=0), np.arange(rows.size) - first[np.cumsum(new) - 1])
        rows = rows[first]
        change += self._sums.take(rows, axis=0)
        self._sums[rows] = change
        self._heard[rows] = _clipped(change)

    def _end_tails(self, tick: int) -> None:
        """Go on with what leavers left behind, up to ``tick``."""
        for tail in self._tails:
            while tail.due <= tick and len(tail.frames) > 1:
                change = np.subtract(tail.frames[1], tail.frames[0], dtype=np.int32)
                self._add(np.array([tail.row]), change[None, :])
                del tail.frames[0]
                tail.due += PHASES
        self._tails = [tail for tail in self._tails if len(tail.frames) > 1]


def _added_up(frames: NDArray[np.int32], rank: NDArray[np.intp]) -> NDArray[np.int32]:
    """Sums of runs of ``frames``; ``rank`` counts from 0 in each run."""
    while some(rank):
        second = np.flatnonzero(rank & 1)
        frames[second - 1] += frames[second]
        first = np.flatnonzero(~rank & 1)
        frames, rank = frames.take(first, axis=0), rank[first] >> 1
    return frames


def _clipped(sums: NDArray[np.int32]) -> Samples:
    """Sums as samples, saturated at full scale."""
    return np.clip(sums, -32768, 32767).astype(np.int16)

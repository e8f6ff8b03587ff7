"""Jitter buffers: packets in as they come, one frame per stream and tick out.

Each stream has a ring of frames on its own clock, which counts the ticks of the stream. A packet's place in
the ring follows from its timestamp and an anchor; lost frames are concealed when their turn comes. When packets come
too late or sit too long, the anchor moves by whole frames, so the output never runs ahead or falls
behind. What has been played stays in the ring for a while, as the history that speech detection looks back on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples, Slots
from media.rates import FRAME

DEPTH = 50
"""Frames in a ring: up to half of it waits, the rest is history."""

AHEAD = 24
"""A frame further ahead than this means that the sender's clock jumped."""

FIRST_DELAY = 1
"""Frames that the first packet waits: little, as keys in the sound are looked for behind the buffer."""

MAX_DELAY = 12
"""Frames that packets may come to wait on a bad network; what is more is given back at the end of a window."""

_WINDOW = 250
_SHORT_WINDOW = 50
_MUCH = 3
"""Frames: while every packet waits longer than this, windows are short."""

_LATE_IN_WINDOW = 3
_CONCEALING = np.array([0.8, 0.5, 0.2, 0.0], np.float32)
_UNUSED = np.iinfo(np.int64).min


class JitterBuffers:
    """The rings of all streams of a worker. ``late`` counts packets whose turn had passed, per slot."""

    def __init__(self, capacity: int) -> None:
        self.clock: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.late: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.concealed: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._ring: Samples = np.zeros((capacity * DEPTH, FRAME), np.int16)
        self._tag: NDArray[np.int64] = np.full(capacity * DEPTH, _UNUSED)
        self._anchor: NDArray[np.int64] = np.zeros(capacity, np.int64)  # clock * FRAME - timestamp, of a packet on time
        self._anchored = np.zeros(capacity, np.bool_)
        self._gap: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._least: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._arrived: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._late_lately: NDArray[np.int64] = np.zeros(capacity, np.int64)

    def open(self, slot: int) -> None:
        """Forget what an earlier stream left in ``slot``."""
        self.late[slot] = self.concealed[slot] = 0
        self.clock[slot] = 0
        self._ring[slot * DEPTH : (slot + 1) * DEPTH] = 0
        self._tag[slot * DEPTH : (slot + 1) * DEPTH] = _UNUSED
        self.reset(slot)

    def reset(self, slot: int) -> None:
        """The next packet begins anew: another sender, or the same one after a pause."""
        self._anchored[slot] = False
        self._gap[slot] = len(_CONCEALING)
        tags = self._tag[slot * DEPTH : (slot + 1) * DEPTH]
        tags[tags >= self.clock[slot]] = _UNUSED

    def insert(self, slots: Slots, timestamps: NDArray[np.uint32], sounds: Samples) -> None:
        """One packet for each of ``slots``, all of the same length: ``sounds`` has a row of samples per packet."""
        for slot in slots[~self._anchored[slots]].tolist():
            self._begin(slot, int(timestamps[slots == slot][0]))
        offset = (timestamps + self._anchor[slots].astype(np.uint32)).view(np.int32)  # modulo 2 ** 32
        place = self.clock[slots] * FRAME + offset
        lead = offset // FRAME
        plain = (lead >= 0) & (lead < AHEAD) & (offset % FRAME == 0)
        self._least[slots] = least = np.minimum(self._least[slots], lead)
        self._arrived[slots] = arrived = self._arrived[slots] + 1
        if sounds.shape[1] != FRAME:
            plain[:] = False
        if plain.all():
            self._put(slots, place // FRAME, sounds)
        else:
            if plain.any():
                self._put(slots[plain], place[plain] // FRAME, sounds[plain])
            for index in np.flatnonzero(~plain).tolist():
                self._insert_odd(int(slots[index]), int(offset[index]), int(timestamps[index]), sounds[index])
        for slot in slots[arrived >= np.where(least > _MUCH, _SHORT_WINDOW, _WINDOW)].tolist():
            self._adapt(slot)

    def play(self, slots: Slots) -> Samples:
        """The next frame of each of ``slots``; their clocks go on by one."""
        clock = self.clock[slots]
        rows = slots * DEPTH + clock % DEPTH
        frames = self._ring.take(rows, axis=0)
        missing = np.flatnonzero(self._tag[rows] != clock)
        self._gap[slots] += 1
        if missing.size != slots.size:
            self._gap[slots[self._tag[rows] == clock]] = 0
        if missing.size:
            self._conceal(slots[missing], rows[missing], clock[missing], frames, missing)
        self.clock[slots] = clock + 1
        self._anchor[slots] -= FRAME
        return frames

    def pause(self, slots: Slots, frames: int) -> None:
        """``frames`` of time passed in which nothing was played, because the process did not run.

        As many packets lie in the sockets and are late through no fault of the network.
        """
        self.clock[slots] += frames
        self._anchor[slots] -= frames * FRAME
        self._least[slots], self._arrived[slots] = AHEAD, 0
        self._late_lately[slots] = np.minimum(self._late_lately[slots], 0) - frames

    def last(self, slots: Slots) -> Samples:
        """The frame of each of ``slots`` that was played last."""
        return self._ring.take(slots * DEPTH + (self.clock[slots] - 1) % DEPTH, axis=0)

    def history(self, slot: int, frames: int) -> Samples:
        """The last ``frames`` (at most DEPTH - AHEAD) that were played, as one array of samples."""
        last = int(self.clock[slot])
        rows = slot * DEPTH + np.arange(last - frames, last) % DEPTH
        return self._ring[rows].reshape(-1)

    def _conceal(self, slots: Slots, rows: Slots, clock: NDArray[np.int64], frames: Samples, missing: Slots) -> None:
        """Repeat the frame before, fading over four frames, and keep the outcome as history."""
        gap = self._gap[slots]
        before = self._ring[slots * DEPTH + (clock - 1) % DEPTH]
        gain = _CONCEALING[np.minimum(gap - 1, len(_CONCEALING) - 1)]
        made = (before * gain[:, None]).astype(np.int16)
        frames[missing] = made
        self._ring[rows] = made
        self.concealed[slots[gap <= len(_CONCEALING)]] += 1

    def _put(self, slots: Slots, place: NDArray[np.int64], sounds: Samples) -> None:
        """Frames that lie on the grid; ``place`` on the clock of their streams."""
        rows = slots * DEPTH + place % DEPTH
        self._ring[rows] = sounds
        self._tag[rows] = place

    def _begin(self, slot: int, timestamp: int) -> None:
        """Anchor: the sound at ``timestamp`` is due FIRST_DELAY frames from now."""
        self._anchor_at(slot, timestamp, FIRST_DELAY)
        self._anchored[slot] = True

    def _anchor_at(self, slot: int, timestamp: int, delay: int) -> None:
        self._anchor[slot] = delay * FRAME - timestamp
        self._least[slot] = AHEAD
        self._arrived[slot] = 0
        self._late_lately[slot] = 0

    def _insert_odd(self, slot: int, offset: int, timestamp: int, sound: Samples) -> None:
        """A packet that is late, early, long, short or off the grid of frames."""
        if offset % FRAME and not len(sound) % FRAME and self._gap[slot] >= len(_CONCEALING):
            # The sender's clock has another grid after a silence: take it over, where nobody hears the step.
            self._anchor[slot] += -offset % FRAME
            offset += -offset % FRAME
        lead = offset // FRAME
        if lead < min(0, int(self._late_lately[slot])) - AHEAD or lead + -(-len(sound) // FRAME) > AHEAD:
            self.reset(slot)
            self._begin(slot, timestamp)
            offset = FIRST_DELAY * FRAME
        elif lead < 0:
            self._note_late(slot, timestamp, lead)
            return
        base = slot * DEPTH
        clock = int(self.clock[slot])
        position = 0
        while position < len(sound):
            frame, start = divmod(offset + position, FRAME)
            count = min(FRAME - start, len(sound) - position)
            row = base + (clock + frame) % DEPTH
            if self._tag[row] != clock + frame:
                self._tag[row] = clock + frame
                self._ring[row] = 0
            self._ring[row, start : start + count] = sound[position : position + count]
            position += count

    def _note_late(self, slot: int, timestamp: int, lead: int) -> None:
        self.late[slot] += 1
        self._late_lately[slot] += 1
        if self._late_lately[slot] <= 0:  # we were late ourselves
            self._least[slot] = AHEAD
            return
        if self._late_lately[slot] >= _LATE_IN_WINDOW:
            # The network takes longer than before: wait as much longer as the worst of them needed.
            short = min(-int(min(lead, self._least[slot])), MAX_DELAY)
            self._anchor[slot] += short * FRAME
            self._least[slot], self._arrived[slot], self._late_lately[slot] = AHEAD, 0, 0

    def _adapt(self, slot: int) -> None:
        """At the end of a window: of the delay that no packet needed take half back, or all if it is excessive."""
        least = int(self._least[slot])
        spare = least - FIRST_DELAY
        if spare > 0:
            self._anchor[slot] -= FRAME * (spare if least > MAX_DELAY else max(1, spare // 2))
        self._least[slot], self._arrived[slot], self._late_lately[slot] = AHEAD, 0, 0

"""Jitter buffers: packets in as they come, one frame per stream and tick out.

Each stream has a ring of frames on its own clock, which counts the ticks of the stream. A packet's place in the ring
follows from its timestamp and the stream's origin; lost frames are made up when their turn comes. When the delay has to
change, the origin moves by whole frames, so the output never runs ahead or falls behind: at once when packets are
late, else when nobody is talking. What has been played stays in the ring for a while, as the history that speech
detection looks back on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media import conceal
from media.delay import AHEAD, FIRST_DELAY, MAX_DELAY, MUCH, SHORT_WINDOW, Delays
from media.frames import Flags, Samples, Slots, every, power, powers, some
from media.rates import FRAME

__all__ = ["AHEAD", "DEPTH", "FIRST_DELAY", "MAX_DELAY", "JitterBuffers"]

DEPTH = 50
"""Frames in a ring: up to half of it waits, the rest is history."""

QUIET = power(-50.0)
"""Where the sound of a stream is this weak, or 13 dB below what it lately was, a frame more or less is not heard."""

HUSH = 6
"""Frames after a key event in which missing sound is not made up."""

_BELOW = 10 ** (-13.0 / 10)
_LATELY = 20
_SPLICE = 40
"""Samples over which a frame that is left out gives way to the next one: 5 ms."""

_RISE: NDArray[np.float32] = ((np.arange(_SPLICE) + 0.5) / _SPLICE).astype(np.float32)
_BACK = np.arange(-conceal.HISTORY // FRAME, 0)
_UNUSED = np.iinfo(np.int64).min


class JitterBuffers:
    """The rings of all streams of a worker. By slot: ``late`` counts packets whose turn had passed, ``early`` those too
    far ahead of it for the ring, ``concealed`` frames that were made up, ``moved`` changes of the delay.

    ``behind`` is by how many frames the clocks are late now, ``behind_since`` by how many they were at least since
    packets were taken last; whoever has them tick sets both. What waits longer because nobody played says nothing of
    the network, and the delay is the one that is right when the clocks are in time.
    """

    def __init__(self, capacity: int) -> None:
        self.clock: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.late: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.early: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.concealed: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.moved: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.behind = 0
        self.behind_since = 0
        self._delays = Delays(capacity)
        self._ring: Samples = np.zeros((capacity * DEPTH, FRAME), np.int16)
        self._whole = self._ring.view(f"V{2 * FRAME}")[:, 0]  # a frame per element: copied twice as fast
        self._tag: NDArray[np.int64] = np.full(capacity * DEPTH, _UNUSED)
        self._origin: NDArray[np.uint32] = np.zeros(capacity, np.uint32)  # timestamp whose turn is at clock 0
        self._gap: NDArray[np.int64] = np.zeros(capacity, np.int64)  # frames that were missing up to now
        self._period: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._next: Samples = np.zeros((capacity, conceal.CROSS_FADE), np.int16)  # what would be made up next
        self._hushed_until: NDArray[np.int64] = np.zeros(capacity, np.int64)  # clock
        self._anchored: Flags = np.zeros(capacity, np.bool_)
        self._review_at: NDArray[np.int64] = np.zeros(capacity, np.int64)
        # A change of the delay that waits for a quiet moment: frames, until when, and what is quiet.
        self._change: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._change_by: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._quiet: NDArray[np.float32] = np.zeros(capacity, np.float32)
        self._begun: Flags = np.zeros(capacity, np.bool_)  # anchored by a packet of which none has followed yet
        self._settled: Flags = np.zeros(capacity, np.bool_)  # anchored, confirmed, and nothing is to change

    def open(self, slot: int) -> None:
        """Forget what an earlier stream left in ``slot``."""
        for counts in (self.late, self.early, self.concealed, self.moved, self.clock, self._review_at):
            counts[slot] = 0
        self._ring[slot * DEPTH : (slot + 1) * DEPTH] = 0
        self._tag[slot * DEPTH : (slot + 1) * DEPTH] = _UNUSED
        self._delays.open(slot)
        self.reset(slot)
        self._gap[slot] = conceal.LONGEST + 1
        self._hushed_until[slot] = 0

    def hush(self, slot: int) -> None:
        """A key event came in place of sound: what is missing now is meant to be."""
        self._hushed_until[slot] = self.clock[slot] + HUSH

    def reset(self, slot: int) -> None:
        """The next packet begins anew: another sender, or the same one after a pause."""
        self._anchored[slot] = self._settled[slot] = False
        self._change[slot] = 0
        tags = self._tag[slot * DEPTH : (slot + 1) * DEPTH]
        tags[tags >= self.clock[slot]] = _UNUSED

    def delay(self, slot: int) -> float:
        """Mean time in seconds that the packets of ``slot`` waited."""
        return self._delays.mean(slot)

    # --- packets in ---------------------------------------------------------------------

    def insert(self, slots: Slots, timestamps: NDArray[np.uint32], sounds: Samples) -> None:
        """One packet for each of ``slots``, all of the same length: ``sounds`` has a row of samples per packet."""
        splices: list[tuple[int, Samples]] = []
        settled = self._settled[slots]
        if not every(settled):
            for index in np.flatnonzero(~settled).tolist():
                self._settle(int(slots[index]), int(timestamps[index]), sounds[index], splices)
        clock = self.clock[slots]
        offset = timestamps - self._origin[slots]
        offset -= (clock * FRAME).astype(np.uint32)
        ahead = offset.view(np.int32)  # modulo 2 ** 32
        lead = ahead // FRAME
        odd = lead.view(np.uint32) >= AHEAD
        odd |= lead * FRAME != ahead
        if sounds.shape[1] != FRAME:
            odd[:] = True
        if not some(odd):
            self._put(slots, clock, lead, sounds)
        else:
            plain = np.flatnonzero(~odd)
            if plain.size:
                self._put(slots[plain], clock[plain], lead[plain], sounds[plain])
            odd &= ~self._excuse(slots, ahead)
            for index in np.flatnonzero(odd).tolist():
                self._insert_odd(int(slots[index]), int(ahead[index]), int(timestamps[index]), sounds[index])
        for row, before in splices:
            after = self._ring[row, :_SPLICE].astype(np.float32)
            self._ring[row, :_SPLICE] = np.rint(before + (after - before) * _RISE)

    def _excuse(self, slots: Slots, ahead: NDArray[np.int32]) -> Flags:
        """Count the packets that are late because we did not run: after a stall those of all streams at once. Returns
        which they are.
        """
        excused: Flags = (ahead < 0) & (ahead % FRAME == 0) & self._delays.are_excused(slots, ahead // FRAME)
        if some(excused):
            self.late[slots[excused]] += 1
            self._delays.excuse(slots[excused])
        return excused

    def _put(self, slots: Slots, clock: NDArray[np.int64], lead: NDArray[np.int32], sounds: Samples) -> None:
        """Frames that lie on the grid, ``lead`` frames before their turn."""
        if not self.behind:
            self._delays.note(slots, lead)
        place = clock + lead
        rows = slots * DEPTH + place % DEPTH
        self._whole[rows] = np.ascontiguousarray(sounds).view(self._whole.dtype)[:, 0]
        self._tag[rows] = place

    def _begin(self, slot: int, timestamp: int) -> None:
        """The sound at ``timestamp`` is due FIRST_DELAY frames from now, if the clocks are in time."""
        due = int(self.clock[slot]) + FIRST_DELAY + self.behind_since
        self._origin[slot] = (timestamp - due * FRAME) & 0xFFFFFFFF
        self._anchored[slot] = self._begun[slot] = True
        self._settled[slot] = False
        self._delays.begin(slot)

    def _insert_odd(self, slot: int, offset: int, timestamp: int, sound: Samples) -> None:
        """A packet that is late, early, long, short or off the grid of frames."""
        if offset % FRAME and not len(sound) % FRAME and self._gap[slot] >= conceal.LONGEST:
            # The sender's clock has another grid after a silence: take it over, where nobody hears the step.
            shift = -offset % FRAME
            self._shift(slot, shift)
            offset += shift
        lead = offset // FRAME
        is_early = lead + -(-len(sound) // FRAME) > AHEAD
        if is_early or lead < -int(self._delays.excused(np.array([slot]))[0]) - AHEAD:
            self.early[slot] += is_early
            self.reset(slot)
            self._begin(slot, timestamp)
            lead = FIRST_DELAY + self.behind_since
            offset = lead * FRAME
        elif lead < 0:
            self.late[slot] += 1
            self._move(slot, self._delays.too_late(slot, -lead))
            return
        if not self.behind:
            self._delays.note(np.array([slot]), np.array([lead], np.int32))
        self._write(slot, offset, sound)

    def _write(self, slot: int, offset: int, sound: Samples) -> None:
        """``sound``, ``offset`` samples from now."""
        clock = int(self.clock[slot])
        position = 0
        while position < len(sound):
            frame, start = divmod(offset + position, FRAME)
            count = min(FRAME - start, len(sound) - position)
            row = slot * DEPTH + (clock + frame) % DEPTH
            if self._tag[row] != clock + frame:
                self._tag[row] = clock + frame
                self._ring[row] = 0
            self._ring[row, start : start + count] = sound[position : position + count]
            position += count

    # --- the delay ----------------------------------------------------------------------

    def _shift(self, slot: int, samples: int) -> None:
        """What comes from now on waits ``samples`` longer."""
        self._origin[slot] = (int(self._origin[slot]) - samples) & 0xFFFFFFFF

    def _move(self, slot: int, frames: int) -> None:
        """What comes from now on waits ``frames`` longer (or less long, if negative)."""
        if frames:
            self._shift(slot, frames * FRAME)
            self.moved[slot] += 1
            self._review_at[slot] = self.clock[slot] + SHORT_WINDOW
            self._change[slot] = 0
            self._settled[slot] = True

    def _review(self, slot: int) -> None:
        """Have the delay changed, if it should be: an excessive one with the next packet, else in a quiet moment."""
        clock = int(self.clock[slot])
        self._review_at[slot] = clock + SHORT_WINDOW
        if not self._settled[slot]:
            return
        review = self._delays.review(slot)
        self._review_at[slot] = clock + review.again
        if not review.change:
            return
        lately = powers(self.history(slot, _LATELY).reshape(_LATELY, FRAME))
        self._quiet[slot] = max(QUIET, _BELOW * float(lately.mean()))
        self._change[slot] = review.change
        self._change_by[slot] = clock + review.patience
        self._settled[slot] = False

    def _settle(self, slot: int, timestamp: int, sound: Samples, splices: list[tuple[int, Samples]]) -> None:
        """Before a packet is put: anchor its stream, or change the delay if the moment is good."""
        if not self._anchored[slot]:
            self._begin(slot, timestamp)
            return
        clock, change = int(self.clock[slot]), int(self._change[slot])
        now = ((timestamp - int(self._origin[slot]) - clock * FRAME + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
        if self._begun[slot]:
            self._confirm(slot, now // FRAME)
            return
        in_time = clock < self._change_by[slot]
        if change > 0:
            if not in_time or self._gap[slot] >= conceal.LONGEST or self._is_quiet(slot, sound):
                self._move(slot, change)
            return
        lead = now // FRAME
        if not -change <= lead < AHEAD or (now % FRAME and in_time):
            if not in_time:  # no packet to do it with came: they are later now, and the reason may be gone
                self._drop_change(slot)
            return
        if in_time and not self._gap[slot]:
            change = -1
        place = clock + lead + change
        row = slot * DEPTH + place % DEPTH
        dropped = self._ring[row] if self._tag[row] == place else None
        if in_time and not (self._is_quiet(slot, sound) and (dropped is None or self._is_quiet(slot, dropped))):
            return
        rest = int(self._change[slot]) - change
        self._move(slot, change)
        self._change[slot], self._settled[slot] = rest, rest == 0
        if dropped is not None and len(sound) >= _SPLICE and not now % FRAME:
            splices.append((row, dropped[:_SPLICE].copy()))
        tags = self._tag[slot * DEPTH : (slot + 1) * DEPTH]
        tags[tags > place] = _UNUSED  # of what was there, nothing comes after what comes now

    def _confirm(self, slot: int, lead: int) -> None:
        """The second packet: where those between it and the first were thrown away, the first had waited for long when
        it was taken, which those that follow need not.
        """
        tags = self._tag[slot * DEPTH : (slot + 1) * DEPTH]
        needed = max(FIRST_DELAY + self.behind_since, int(tags.max()) + 1 - int(self.clock[slot]))
        if needed + MUCH <= lead < AHEAD:  # what is less may be packets that overtook others
            self._shift(slot, (needed - lead) * FRAME)
        self._begun[slot] = False
        self._settled[slot] = True

    def _drop_change(self, slot: int) -> None:
        """Leave the delay as it is, and judge it anew."""
        self._change[slot] = 0
        self._settled[slot] = True
        self._review_at[slot] = self.clock[slot] + SHORT_WINDOW
        self._delays.begin(slot)

    def _is_quiet(self, slot: int, sound: Samples) -> bool:
        loud = sound.astype(np.float32)
        return float(loud @ loud) <= float(self._quiet[slot]) * len(sound)

    def pause(self, slots: Slots, frames: int) -> None:
        """``frames`` of time passed in which nothing was played, because the process did not run.

        As many packets lie in the sockets and are late through no fault of the network.
        """
        self.clock[slots] += frames
        self._delays.stall(slots, frames)

    # --- frames out ---------------------------------------------------------------------

    def play(self, slots: Slots) -> Samples:
        """The next frame of each of ``slots``; their clocks go on by one."""
        clock = self.clock[slots]
        rows = slots * DEPTH + clock % DEPTH
        frames: Samples = self._ring.take(rows, axis=0)
        here = self._tag[rows] == clock
        self.clock[slots] = clock + 1
        gap = self._gap[slots]
        if not every(here) or some(gap):
            self._mend(slots, rows, clock, frames, here, gap)
        due = self._review_at[slots] <= clock
        if some(due):
            for slot in slots[due].tolist():
                self._review(slot)
        return frames

    def last(self, slots: Slots) -> Samples:
        """The frame of each of ``slots`` that was played last."""
        return self._ring.take(slots * DEPTH + (self.clock[slots] - 1) % DEPTH, axis=0)

    def before(self, slots: Slots) -> Samples:
        """The frame of each of ``slots`` that was played before the last one."""
        return self._ring.take(slots * DEPTH + (self.clock[slots] - 2) % DEPTH, axis=0)

    def history(self, slot: int, frames: int) -> Samples:
        """The last ``frames`` (at most DEPTH - AHEAD) that were played, as one array of samples."""
        last = int(self.clock[slot])
        rows = slot * DEPTH + np.arange(last - frames, last) % DEPTH
        return self._ring[rows].reshape(-1)

    def _mend(
        self,
        slots: Slots,
        rows: Slots,
        clock: NDArray[np.int64],
        frames: Samples,
        here: Flags,
        gap: NDArray[np.int64],
    ) -> None:
        """Make up frames that are not ``here``, join those after a gap to it, and keep the outcome as history."""
        self._gap[slots] = np.where(here, 0, gap + 1)
        lost = ~here
        (silent,) = (lost & (gap >= conceal.LONGEST)).nonzero()
        if silent.size:
            frames[silent] = 0
            self._ring[rows[silent]] = 0
        lost &= gap < conceal.LONGEST
        (hushed,) = (lost & (clock < self._hushed_until[slots])).nonzero()
        if hushed.size:
            self._die_away(slots[hushed], rows[hushed], clock[hushed], frames, hushed)
            lost[hushed] = False
        (made,) = lost.nonzero()
        if made.size:
            self._make_up(slots[made], rows[made], clock[made], frames, made, gap[made])
        (ends,) = (here & (gap > 0) & (gap <= conceal.LONGEST)).nonzero()
        if ends.size:
            begin = conceal.take_over(frames[ends, : conceal.CROSS_FADE], self._next[slots[ends]])
            frames[ends, : conceal.CROSS_FADE] = begin
            self._ring[rows[ends], : conceal.CROSS_FADE] = begin

    def _die_away(self, slots: Slots, rows: Slots, clock: NDArray[np.int64], frames: Samples, hushed: Slots) -> None:
        """The first missing frame of sound that stopped for a key: from the last sample to silence within 5 ms."""
        last = self._ring[slots * DEPTH + (clock - 1) % DEPTH, -1]
        frames[hushed] = 0
        frames[hushed, :_SPLICE] = last[:, None] * _RISE[::-1]
        self._ring[rows] = frames[hushed]
        self._gap[slots] = conceal.LONGEST + 1

    def _make_up(
        self, slots: Slots, rows: Slots, clock: NDArray[np.int64], frames: Samples, made: Slots, gap: NDArray[np.int64]
    ) -> None:
        back = (clock - gap)[:, None] + _BACK
        history = self._ring.take(slots[:, None] * DEPTH + back % DEPTH, axis=0).reshape(slots.size, -1)
        (begun,) = (gap == 0).nonzero()
        if begun.size:
            self._period[slots[begun]] = conceal.periods(history[begun])
        sound = conceal.continuation(history, self._period[slots], gap)
        frames[made] = sound[:, :FRAME]
        self._ring[rows] = sound[:, :FRAME]
        self._next[slots] = sound[:, FRAME:]
        self.concealed[slots] += 1

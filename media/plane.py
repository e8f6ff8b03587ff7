"""The media plane of one worker: all streams, driven by commands and ticks, heard through reports.

A tick serves one phase: packets that lie in its sockets are taken in (on the portable path, in all sockets), each of
its streams plays a frame of what it received and sends one, then the former is looked at. Everything usual happens in
batches of numpy rows; Python looks at single streams for what is rare.
"""

from __future__ import annotations

from random import Random

import numpy as np

from media.arena import Arena
from media.commands import Command
from media.dispatch import Dispatcher
from media.frames import NO_SLOTS, NO_SOUND, Floats, Powers, Samples, Slots, added, powers, some
from media.intake import ROUNDS
from media.kernels import wired
from media.lifecycle import Lifecycle
from media.rates import FRAME, PHASES, WIDE_RATE
from media.recorder import Recorder
from media.reports import DigitHeard, WorkerLoad
from media.sockets import Sockets
from media.wideband import Sounds

FRAMES_PER_LOOK = 200
"""Frames of a stream from one look at what the kernel dropped to the next: four seconds, as a look is a system call."""

FRAMES_PER_LOOK_AT_TIMES = 2
"""Frames from one look for reports that are due and streams that fell silent to the next: 40 ms."""

MOST_MADE_UP_FOR = 50
"""Frames that were missed and are still heard: of a longer stop the last second."""

MOST_IN_SOCKETS = 300
"""Frames of a stop after which the kernel has no room for more packets."""


class Plane:
    """All streams of a worker. Times are monotonic seconds, passed in; ``wall`` is the wall clock minus those."""

    def __init__(
        self,
        sockets: Sockets,
        recorder: Recorder,
        arena: Arena,
        random: Random,
        wall: float,
        wide_arena: Arena | None = None,
    ) -> None:
        """``arena`` and ``wide_arena`` keep prompts of 8 and 16 kHz."""
        self._arena = arena
        self._wide_arena = wide_arena or Arena(rate=WIDE_RATE)
        kernels = wired(sockets, recorder, arena, self._wide_arena, random)
        self.reports = kernels.reports
        self._dispatcher = Dispatcher(kernels, Lifecycle(kernels, random, wall))
        self._sockets = sockets
        self._recorder = recorder
        self._streams = kernels.streams
        self._by_slot = kernels.streams.by_slot
        self._members = kernels.streams.members
        self._sending = kernels.streams.sending
        self._captures = kernels.captures
        self._rtcp = kernels.rtcp
        self._jitter = kernels.jitter
        self._intake = kernels.intake
        self._player = kernels.player
        self._wideband = kernels.wideband
        self._sender = kernels.sender
        self._bridging = kernels.bridging
        self._tones = kernels.tones
        self._listening = kernels.listening

    @property
    def idle(self) -> bool:
        """Whether ticks may be left out: no streams, and nothing to be written or heard."""
        return not self._streams and self._recorder.idle and self._captures.idle and not self.reports

    def close(self) -> None:
        """The process is about to end: recordings are left to their writer."""
        self._recorder.leave()

    def command(self, message: Command, now: float) -> None:
        """Do what the control process asks."""
        self._dispatcher.command(message, now)

    def load(self, late_ms: Floats, busy: float) -> WorkerLoad:
        """How the plane is doing, given how late its ticks began lately, and how busy the process was. To be called
        about once a second.
        """
        self._arena.tidy()
        self._wide_arena.tidy()
        median, high = np.percentile(late_ms, [50, 99])
        return WorkerLoad(
            streams=len(self._streams),
            late_ms_p50=float(median),
            late_ms_p99=float(high),
            late_ms_max=float(late_ms.max()),
            kernel_drops=self._sockets.dropped,
            ring_drops=self._recorder.dropped,
            not_listening=self._listening.unheard,
            busy=busy,
        )

    # --- ticks --------------------------------------------------------------------------

    def tick(self, now: float, number: int, skipped: int = 0, behind: int = 0) -> None:
        """Tick ``number``, after ``skipped`` frames in which the process did not run; it is ``behind`` its time by so
        many frames even so.
        """
        jitter = self._jitter
        if skipped:
            self._skip(skipped, behind, now)
        jitter.behind, jitter.behind_since = behind, min(jitter.behind, behind)
        phase = number % PHASES
        members = self._members[phase]
        early = self._bridging.early(self._members[(number + PHASES // 2) % PHASES])
        self._intake.drain(members, early, now)
        self._sender.send_later(number)
        if members.size:
            received = self._jitter.play(members)
            levels = powers(received)
            self._bridging.hear(members, received, levels, number, now)
            sounding, frames = self._send(members, self._sending[phase], now, number)
            self._look_at_sound(members, received, levels, sounding, frames, now)
            frame = number // PHASES
            if frame % FRAMES_PER_LOOK_AT_TIMES == 0:
                self._rtcp.send_due(members, now)
                self._intake.look_for_silence(members, now)
            self._sockets.note_drops(members[members % FRAMES_PER_LOOK == frame % FRAMES_PER_LOOK])
        if phase == 0 or not self._recorder.idle:
            self._poll_writer(now)
        self._listening.poll(now)

    def _poll_writer(self, now: float) -> None:
        recorder, captures = self._recorder, self._captures
        recorder.poll(now)
        self.reports += recorder.done
        recorder.done.clear()
        if recorder.renewed:
            captures.writer_lost()
        for appended in recorder.appended:
            captures.written(appended)
        recorder.appended.clear()

    def _skip(self, frames: int, behind: int, now: float) -> None:
        """Frames whose time to be sent has passed. What came in meanwhile waits in the sockets, and is heard and
        recorded as it would have been, a few frames at a time, as not all fit into the jitter buffers.
        """
        everyone = self._streams.everyone
        self._sender.pause(everyone, frames)
        left = min(frames, MOST_IN_SOCKETS)
        if left < frames:
            self._pass_over(everyone, frames - left)
        while left:
            count = min(left, ROUNDS)
            self._jitter.behind = left + behind
            self._intake.drain(everyone, NO_SLOTS, now, count, all_of_it=True)
            if left > MOST_MADE_UP_FOR:
                self._pass_over(everyone, count)
            else:
                for _ in range(count):
                    self._make_up_for(now)
            left -= count
        self._sockets.suspect(everyone)

    def _pass_over(self, slots: Slots, frames: int) -> None:
        self._jitter.pause(slots, frames)
        self._recorder.skip(slots, frames)

    def _make_up_for(self, now: float) -> None:
        """A frame of all streams that was missed."""
        for members in self._members:
            if members.size:
                received = self._jitter.play(members)
                self._look_at_sound(members, received, powers(received), NO_SLOTS, NO_SOUND, now, in_time=False)
        self._poll_writer(now)

    def _send(self, members: Slots, sending: Slots, now: float, number: int) -> tuple[Slots, Samples]:
        """A frame for each stream of the phase; returns what of it is not silence."""
        sounding, frames = self._player.gather(members, now)
        wide: Sounds = {}
        if not self._wideband.idle:
            sounding, frames, wide = self._wideband.gather(members, sounding, frames, now)
        sending = self._bridging.sending(sending, sounding)
        inside, mixed = self._bridging.mixed(members)
        if inside.size:
            self._wideband.add(inside, mixed, wide)
            sounding, frames = added(sounding, frames, inside, mixed)
        if sending.size != members.size:
            self._sender.silence(np.setdiff1d(members, sending, assume_unique=True))
            sent = np.isin(sounding, sending)
            sounding, frames = sounding[sent], frames[sent]
        self._sender.send_frame(sending, sounding, frames, number, wide)
        return sounding, frames

    def _look_at_sound(
        self,
        members: Slots,
        received: Samples,
        levels: Powers,
        sounding: Slots,
        frames: Samples,
        now: float,
        *,
        in_time: bool = True,
    ) -> None:
        for slot, digit in self._tones.feed(members, received, levels):
            stream = self._by_slot[slot]
            if stream is not None:
                self.reports.append(DigitHeard(stream.number, digit, "inband", now))
        armed = self._listening.armed[members]
        active = self._recorder.active[members]
        if not (some(armed) or some(active)):
            return
        sent = np.zeros((members.size, FRAME), np.int16)
        if sounding.size:
            sent[np.searchsorted(members, sounding)] = frames
        self._bridging.fill_in(members, sent, self._jitter)
        if some(active):
            self._recorder.feed(members[active], received[active], sent[active], in_time=in_time)
        if some(armed):
            self._listening.feed(members[armed], received[armed], levels[armed], sent[armed], now)

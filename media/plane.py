"""The media plane of one worker: all streams, driven by commands and ticks, heard through reports.

A tick serves one phase: packets that lie in its sockets are taken in (on the portable path, in all sockets), each of
its streams plays a frame of what it received and sends one, then the former is looked at. Everything usual happens in
batches of numpy rows; Python looks at single streams for what is rare.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media import commands, dtmf, reports, rtcp
from media.arena import Arena
from media.bridging import Bridging
from media.captures import Captures
from media.codecs import PCMU, codec_of
from media.dtmf import ToneReceiver
from media.frames import NO_SLOTS, NO_SOUND, Floats, Powers, Samples, Slots, added, powers, some
from media.g711 import Law
from media.intake import ROUNDS, Intake
from media.jitter import JitterBuffers
from media.listening import Listening
from media.player import Player
from media.rates import FRAME, PHASES, RATE, WIDE_RATE
from media.recorder import BEEP, Recorder
from media.reporting import Reporter
from media.sender import Sender
from media.sockets import NoPort, Sockets, literal
from media.srtp import NotSealed, Shields
from media.stream import Stream
from media.wideband import Sounds, Wideband

KEY_MS, KEY_PAUSE_MS = 100, 50
"""How a key is pressed again that came in on another stream."""

MOST_TONES = 120
"""Frames of tones that may wait when another key is to be pressed again."""

FRAMES_PER_LOOK = 200
"""Frames of a stream from one look at what the kernel dropped to the next."""

FRAMES_PER_LOOK_AT_TIMES = 2
"""Frames from one look for reports that are due and streams that fell silent to the next: 40 ms."""

MOST_MADE_UP_FOR = 50
"""Frames that were missed and are still heard: of a longer stop the last second."""

MOST_IN_SOCKETS = 300
"""Frames of a stop after which the kernel has no room for more packets."""

_NEVER = np.inf


def _listed(slots: Slots, slot: int, *, present: bool) -> Slots:
    """A copy of sorted ``slots`` with ``slot`` in it or not."""
    place = int(np.searchsorted(slots, slot))
    is_there = place < slots.size and slots[place] == slot
    if is_there == present:
        return slots
    return np.insert(slots, place, slot) if present else np.delete(slots, place)


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
        capacity = sockets.capacity
        self.reports: list[reports.Report] = []
        self._sockets = sockets
        self._recorder = recorder
        self._arena = arena
        self._wide_arena = wide_arena or Arena(rate=WIDE_RATE)
        self._random = random
        self._wall = wall
        self._streams: dict[int, Stream] = {}
        self._by_slot: list[Stream | None] = [None] * capacity
        self._player = Player(capacity, arena)
        self._wideband = Wideband(capacity, self._wide_arena)
        self._shields = Shields(capacity)
        self._captures = Captures(sockets, recorder.scribe, self.reports)
        self._sender = Sender(sockets, random, self._shields, self._captures)
        self._jitter = JitterBuffers(capacity)
        self._bridging = Bridging(capacity, self._sender, self._press, self._by_slot, self.reports)
        self._intake = Intake(
            sockets,
            self._jitter,
            self._bridging,
            self._by_slot,
            self._has_latched,
            self.reports,
            self._shields,
            self._captures,
        )
        self._tones = ToneReceiver(capacity, self._jitter.before)
        self._listening = Listening(capacity, self._jitter, self.reports)
        # Slots of a phase lie side by side, so that batches do too in the arrays of the kernels.
        share = -(-capacity // PHASES)
        self._free = [
            list(range(min(capacity, (phase + 1) * share) - 1, phase * share - 1, -1)) for phase in range(PHASES)
        ]
        self._members: list[Slots] = [NO_SLOTS] * PHASES
        self._sending: list[Slots] = [NO_SLOTS] * PHASES
        self._report_due: Floats = np.full(capacity, _NEVER)
        self._drops_before = 0
        self._drops: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            commands.Open: self._open,
            commands.Direct: self._direct,
            commands.Play: self._play,
            commands.Stop: self._stop,
            commands.Hear: self._hear,
            commands.Activity: self._activity,
            commands.DetectMachine: self._detect_machine,
            commands.SendDigits: self._send_digits,
            commands.Record: self._record,
            commands.PauseRecord: self._pause_record,
            commands.StopRecord: self._stop_record,
            commands.Capture: self._capture,
            commands.StopCapture: self._stop_capture,
            commands.Join: self._join,
            commands.Leave: self._leave,
            commands.Relay: self._relay,
            commands.RtpTimeout: self._rtp_timeout,
            commands.Drop: self._drop,
            commands.UseRecogniser: self._use_recogniser,
        }

    @property
    def idle(self) -> bool:
        """Whether ticks may be left out: no streams, and nothing to be written or heard."""
        return not self._streams and self._recorder.idle and self._captures.idle and not self.reports

    def close(self) -> None:
        """The process is about to end: recordings are left to their writer."""
        self._recorder.leave()

    def command(self, message: commands.Command, now: float) -> None:
        """Do what the control process asks. Commands for streams that are gone are ignored."""
        self._handlers[type(message)](message, now)

    def load(self, late_ms: Floats, busy: float) -> reports.WorkerLoad:
        """How the plane is doing, given how late its ticks began lately, and how busy the process was. To be called
        about once a second.
        """
        self._arena.tidy()
        self._wide_arena.tidy()
        median, high = np.percentile(late_ms, [50, 99])
        return reports.WorkerLoad(
            streams=len(self._streams),
            late_ms_p50=float(median),
            late_ms_p99=float(high),
            late_ms_max=float(late_ms.max()),
            kernel_drops=self._drops_before + int(self._drops.sum()),
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
                self._look_at_times(members, now)
            self._look_at_drops(members, frame)
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
        everyone = np.concatenate(self._members)
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
        self._take_ended()
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
                self.reports.append(reports.DigitHeard(stream.number, digit, "inband", now))
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

    def _look_at_times(self, members: Slots, now: float) -> None:
        """RTCP that is due, and streams whose last packet is old; both are rare."""
        for slot in members[self._report_due[members] <= now].tolist():
            stream = self._by_slot[slot]
            if stream is not None:
                self._send_report(stream, now)
        for slot in members[self._intake.last_packet[members] < now - 0.1].tolist():
            stream = self._by_slot[slot]
            if stream is None or not stream.timeout or stream.lost_reported or not stream.may_receive:
                continue
            silent = now - max(stream.timeout_since, float(self._intake.last_packet[slot]))
            if silent >= stream.timeout:
                stream.lost_reported = True
                self.reports.append(reports.RtpLost(stream.number, silent))

    def _look_at_drops(self, members: Slots, frame: int) -> None:
        """What the kernel dropped, of each stream every four seconds: a look is a system call."""
        for slot in members[members % FRAMES_PER_LOOK == frame % FRAMES_PER_LOOK].tolist():
            self._drops[slot] = self._sockets.drops([slot])

    def _send_report(self, stream: Stream, now: float, *, leaving: bool = False) -> None:
        slot, sender = stream.slot, self._sender
        packets = int(sender.sent[slot])
        sent = None
        if packets != stream.reported_sent:
            sent = (int(sender.timestamp[slot]), packets, sender.octets(slot))
            stream.reported_sent = packets
        peer = None if stream.ssrc is None else (stream.ssrc, self._intake.reception.report(slot))
        packet = stream.reporter.compose(now, sent=sent, peer=peer, cname=stream.cname)
        self._report_due[slot] = stream.reporter.due
        if stream.control is not None:
            packet += rtcp.bye(sender.ssrc[slot]) if leaving else b""
            with contextlib.suppress(NotSealed):
                self._sockets.send_control(slot, self._shields.sealed_control(slot, packet), stream.control)
                if self._captures.by_slot:
                    self._captures.control(slot, packet, stream.control, sent=True)

    def _take_ended(self) -> None:
        for player in (self._player, self._wideband.player):
            if player.ended:
                self.reports += player.ended
                player.ended.clear()

    def _has_latched(self, stream: Stream) -> None:
        """The peer is not where SDP said, or SDP said nothing of use: RTCP and packets go there from now on."""
        self._point_control(stream)
        self._deal(stream)

    # --- commands -----------------------------------------------------------------------

    def _open(self, message: commands.Open, now: float) -> None:
        if message.stream in self._streams:
            self.reports.append(reports.OpenFailed(message.stream, "stream is open"))
            return
        phase = max(range(PHASES), key=lambda phase: len(self._free[phase]))
        if not self._free[phase]:
            self.reports.append(reports.OpenFailed(message.stream, "no room for more streams"))
            return
        slot = self._free[phase][-1]
        try:
            port = self._sockets.open(slot, message.local, now)
        except NoPort as error:
            self.reports.append(reports.OpenFailed(message.stream, str(error)))
            return
        self._free[phase].pop()
        self._sender.open(slot)
        reporter = Reporter(self._random, self._sender.ssrc[slot], self._wall, now)
        stream = Stream(message.stream, slot, phase, reporter, f"{self._random.getrandbits(96):024x}")
        self._streams[message.stream] = self._by_slot[slot] = stream
        self._intake.open(slot, now)
        self._jitter.open(slot)
        self._tones.open(slot)
        self._listening.open(slot)
        self.reports.append(reports.Opened(message.stream, port))

    def _direct(self, message: commands.Direct, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is None:
            return
        slot = stream.slot
        self._shields.direct(slot, message.srtp)
        remote = literal(message.host, message.port)
        moved = remote != stream.latch.remote or message.relatch or not stream.live
        stream.latch.direct(remote, now, anew=message.relatch)
        if moved:
            self._sockets.direct(slot, remote)
        stream.live = True
        self._agree_on_sound(stream, message)
        stream.event_types = frozenset({message.event_type, message.receive_event_type} - {-1})
        stream.may_send, stream.may_receive = message.send, message.receive
        stream.timeout_since, stream.lost_reported = now, False
        if moved or stream.control_port != message.rtcp_port:
            stream.control_port = message.rtcp_port
            self._point_control(stream)
        self._intake.direct(stream)
        self._sender.direct(slot, stream.codec, message.payload_type, message.ptime, message.event_type)
        self._wideband.direct(slot, wide=stream.codec.rate == WIDE_RATE)
        self._bridging.direct(stream)
        self._captures.changed(slot)
        self._report_due[slot] = stream.reporter.due
        self._deal(stream)

    @staticmethod
    def _agree_on_sound(stream: Stream, message: commands.Direct) -> None:
        """The codec, and the payload types that it may come in; a codec that is not known counts as PCMU."""
        try:
            codec = codec_of(message.codec, message.payload_type)
        except ValueError:
            codec = PCMU
        if codec.is_g711:
            stream.decoder = None
            stream.sound_type = codec.payload_type
            stream.sound_types = frozenset({codec.payload_type, message.other_payload_type} & set(Law))
        else:
            if stream.decoder is None or codec is not stream.codec:
                stream.decoder = codec.decoder()
            other = message.receive_payload_type
            stream.sound_type = message.payload_type if other < 0 else other
            stream.sound_types = frozenset({stream.sound_type})
        stream.codec = codec

    @staticmethod
    def _point_control(stream: Stream) -> None:
        stream.control = literal(stream.peer[0], stream.control_port) if stream.peer is not None else None

    def _deal(self, stream: Stream) -> None:
        """Put ``stream`` on the lists of its phase, or take it off."""
        phase, slot = stream.phase, stream.slot
        sends = stream.live and stream.may_send and stream.peer is not None
        self._members[phase] = _listed(self._members[phase], slot, present=stream.live)
        self._sending[phase] = _listed(self._sending[phase], slot, present=sends)

    def _play(self, message: commands.Play, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is None:
            self.reports.append(reports.PlayEnded(message.stream, message.play, now, False, "no such stream"))
            return
        wide = self._wideband.is_wide[stream.slot]
        player, other = (self._wideband.player, self._player) if wide else (self._player, self._wideband.player)
        other.stop(stream.slot, now, "replaced")
        player.play(stream.slot, message.stream, message.play, message.files, message.start_at, now, loop=message.loop)
        self._take_ended()

    def _stop(self, message: commands.Stop, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is not None:
            self._player.stop(stream.slot, now)
            self._wideband.player.stop(stream.slot, now)
            self._take_ended()

    def _hear(self, message: commands.Hear, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is not None:
            self._listening.hear(stream.slot, message)

    def _activity(self, message: commands.Activity, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is not None:
            self._listening.activity(stream.slot, message)

    def _detect_machine(self, message: commands.DetectMachine, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is not None:
            self._listening.detect_machine(stream.slot, message, now)

    def _send_digits(self, message: commands.SendDigits, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is None:
            return
        as_events = message.method == "rfc4733"
        if as_events and self._sender.press(stream.slot, message.digits, message.on_ms, message.off_ms):
            return
        self._player.tone(stream.slot, dtmf.tones(message.digits, message.on_ms, message.off_ms))

    def _press(self, slot: int, digit: str) -> None:
        """Press a key that came in on another stream."""
        if not self._sender.press(slot, digit, KEY_MS, KEY_PAUSE_MS) and self._player.toning(slot) < MOST_TONES:
            self._player.tone(slot, dtmf.tones(digit, KEY_MS, KEY_PAUSE_MS))

    def _record(self, message: commands.Record, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is None:
            reason = "no such stream"
            self.reports.append(
                reports.Recorded(message.stream, message.recording, message.path, 0.0, 0, reason, "failed")
            )
        else:
            beep = self._player.tone(stream.slot, BEEP) if message.beep else 0
            self._recorder.start(stream.slot, message, wait=beep)

    def _pause_record(self, message: commands.PauseRecord, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is not None:
            self._recorder.pause(stream.slot, message.recording, on=message.on)

    def _stop_record(self, message: commands.StopRecord, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is not None:
            self._recorder.stop(stream.slot, message.recording)

    def _capture(self, message: commands.Capture, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is None:
            self.reports.append(reports.Captured(message.stream, message.call, 0, "failed", "no such stream"))
        else:
            self._captures.start(stream, message)

    def _stop_capture(self, message: commands.StopCapture, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is not None:
            self._captures.stop(stream.slot)

    def _join(self, message: commands.Join, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is not None:
            self._bridging.join(
                stream, message.room, muted=message.muted, deaf=message.deaf, gated=message.gated, now=now
            )

    def _leave(self, message: commands.Leave, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is not None:
            self._bridging.leave(stream, now)

    def _relay(self, message: commands.Relay, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is not None:
            self._bridging.relay(stream, self._streams.get(message.to))

    def _rtp_timeout(self, message: commands.RtpTimeout, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is not None:
            stream.timeout, stream.timeout_since, stream.lost_reported = message.seconds, now, False

    def _use_recogniser(self, message: commands.UseRecogniser, now: float) -> None:
        self._listening.connect(message.path, message.number, message.of, now)

    def _drop(self, message: commands.Drop, now: float) -> None:
        stream = self._streams.pop(message.stream, None)
        if stream is None:
            return
        slot = stream.slot
        self._bridging.drop(stream, now)
        self._player.drop(slot, now)
        self._wideband.player.drop(slot, now)
        self._wideband.direct(slot, wide=False)
        self._take_ended()
        self._recorder.drop(slot)
        self._listening.close(slot, stream.number)
        if stream.live:
            self._send_report(stream, now, leaving=True)
        self._captures.stop(slot)
        statistics = self._statistics(stream)
        self._sender.close(slot)
        self._shields.close(slot)
        self._intake.close(slot)
        self._drops_before += self._sockets.drops([slot])
        self._drops[slot] = 0
        self._sockets.close(slot, now)
        self._report_due[slot] = _NEVER
        self._by_slot[slot] = None
        self._free[stream.phase].append(slot)
        stream.live = False
        self._deal(stream)
        self.reports.append(reports.Closed(message.stream, statistics))

    def _statistics(self, stream: Stream) -> reports.StreamStats:
        slot, reception = stream.slot, self._intake.reception
        refused, repeated = self._shields.counts(slot)
        return reports.StreamStats(
            received=reception.received(slot),
            sent=int(self._sender.sent[slot]),
            lost=reception.lost(slot),
            late=int(self._jitter.late[slot]),
            duplicated=int(reception.duplicated[slot]) + repeated,
            reordered=int(reception.reordered[slot]),
            malformed=stream.malformed,
            foreign=stream.foreign,
            jitter_ms=float(reception.jitter[slot]) * 1000 / RATE,
            remote_lost=stream.reporter.remote_lost,
            remote_jitter_ms=stream.reporter.remote_jitter,
            round_trip_ms=stream.reporter.round_trip,
            early=int(self._jitter.early[slot]),
            concealed=int(self._jitter.concealed[slot]),
            skew_ppm=reception.skew_ppm(slot),
            delay_ms=1000 * self._jitter.delay(slot),
            burst_ratio=reception.burst_ratio(slot),
            not_decrypted=refused,
        )

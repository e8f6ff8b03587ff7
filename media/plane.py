"""The media plane of one worker: all streams, driven by commands and ticks, heard through reports.

A tick serves one phase: packets that lie in the sockets are taken in for all streams, then the streams of the
phase send a frame each, then what they received is looked at. Everything usual happens in batches of numpy rows;
Python looks at single streams for what is rare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media import g711, protocol, rtp
from media.arena import Arena
from media.frames import FRAME, NO_SLOTS, PHASES, RATE, Flags, Floats, Slots
from media.g711 import Law
from media.jitter import JitterBuffers
from media.latch import Address, Latch
from media.player import Player
from media.reception import Reception
from media.rfc4733 import EventReceiver
from media.sender import Sender
from media.sockets import ROW, NoPort, Sockets, literal

ROUNDS = 8
"""Packets taken from one socket in a tick, at most: a flood on one port costs its own stream alone."""

_USUAL = rtp.HEADER_SIZE + FRAME


@dataclass(slots=True)
class Stream:
    """What is rare or odd about one stream; the rest lies in the arrays of the kernels."""

    number: int
    slot: int
    phase: int
    latch: Latch = field(default_factory=Latch)
    events: EventReceiver = field(default_factory=EventReceiver)
    law: Law = Law.PCMU
    event_type: int = -1
    live: bool = False
    may_send: bool = False
    may_receive: bool = False
    remote: Address | None = None
    ssrc: int | None = None
    candidate: tuple[int, int] | None = None
    malformed: int = 0
    foreign: int = 0
    timeout: float = 0.0
    timeout_since: float = 0.0
    lost_reported: bool = False


class Plane:
    """All streams of a worker. Times are monotonic seconds, passed in."""

    def __init__(self, sockets: Sockets, random: Random, arena: Arena | None = None) -> None:
        capacity = sockets.capacity
        self.reports: list[protocol.Report] = []
        self._sockets = sockets
        self._columns = rtp.Columns(sockets.rows)
        self._arena = arena or Arena()
        self._player = Player(capacity, self._arena)
        self._sender = Sender(capacity, sockets.send, random)
        self._jitter = JitterBuffers(capacity)
        self._reception = Reception(capacity)
        self._streams: dict[int, Stream] = {}
        self._by_slot: list[Stream | None] = [None] * capacity
        self._free = list(range(capacity - 1, -1, -1))
        self._members: list[Slots] = [NO_SLOTS] * PHASES
        self._sending: list[Slots] = [NO_SLOTS] * PHASES
        self._crowd = [0] * PHASES
        self._drops_before = 0
        # What a packet must look like to be taken in with all others, by slot.
        self._ready: Flags = np.zeros(capacity, np.bool_)
        self._payload_type: NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self._ssrc: NDArray[np.uint32] = np.zeros(capacity, np.uint32)
        self._last_packet: Floats = np.zeros(capacity)
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            protocol.Open: self._open,
            protocol.Direct: self._direct,
            protocol.Play: self._play,
            protocol.Stop: self._stop,
            protocol.SendDigits: self._send_digits,
            protocol.RtpTimeout: self._rtp_timeout,
            protocol.Drop: self._drop,
        }

    @property
    def streams(self) -> int:
        """How many are open."""
        return len(self._streams)

    def command(self, message: protocol.Command, now: float) -> None:
        """Do what the control process asks. Commands for streams that are gone are ignored."""
        handler = self._handlers.get(type(message))
        if handler is not None:
            handler(message, now)

    def tick(self, now: float, number: int, skipped: int = 0) -> None:
        """Tick ``number``, after ``skipped`` frames in which the process did not run."""
        if not self._streams:
            return
        if skipped:
            self._skip(skipped)
        for _ in range(ROUNDS):
            count = self._sockets.receive()
            self._take(count, now)
            if not count and not self._sockets.control:
                break
        phase = number % PHASES
        self._sender.send_later(number)
        members, sending = self._members[phase], self._sending[phase]
        if members.size:
            sounding, frames = self._player.gather(members, now)
            self._report_ended()
            if sending.size != members.size:
                held = np.setdiff1d(members, sending, assume_unique=True)
                self._sender.silence(held)
                sent = np.isin(sounding, sending)
                self._sender.send_frame(sending, sounding[sent], frames[sent], number)
            else:
                self._sender.send_frame(sending, sounding, frames, number)
            self._jitter.play(members)
            self._check_timeouts(members, now)

    def load(self, late_ms: Floats) -> protocol.WorkerLoad:
        """How the plane is doing, given how late its ticks began lately. To be called about once a second."""
        self._arena.tidy()
        median, high = np.percentile(late_ms, [50, 99])
        return protocol.WorkerLoad(
            streams=len(self._streams),
            late_ms_p50=float(median),
            late_ms_p99=float(high),
            late_ms_max=float(late_ms.max()),
            kernel_drops=self._drops_before + self._sockets.drops(stream.slot for stream in self._streams.values()),
            ring_drops=0,
            not_listening=0,
        )

    def _report_ended(self) -> None:
        if self._player.ended:
            self.reports += self._player.ended
            self._player.ended.clear()

    def _skip(self, frames: int) -> None:
        for members in self._members:
            self._sender.pause(members, frames)
            self._jitter.pause(members, frames)

    # --- commands -----------------------------------------------------------------------

    def _open(self, message: protocol.Open, now: float) -> None:
        if message.stream in self._streams:
            self.reports.append(protocol.OpenFailed(message.stream, "stream is open"))
            return
        if not self._free:
            self.reports.append(protocol.OpenFailed(message.stream, "no room for more streams"))
            return
        slot = self._free[-1]
        try:
            port = self._sockets.open(slot, message.local, now)
        except NoPort as error:
            self.reports.append(protocol.OpenFailed(message.stream, str(error)))
            return
        self._free.pop()
        phase = self._crowd.index(min(self._crowd))
        self._crowd[phase] += 1
        self._streams[message.stream] = self._by_slot[slot] = Stream(message.stream, slot, phase)
        self._sender.open(slot)
        self._jitter.open(slot)
        self._reception.open(slot)
        self._last_packet[slot] = now
        self.reports.append(protocol.Opened(message.stream, port))

    def _direct(self, message: protocol.Direct, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is None:
            return
        slot = stream.slot
        remote = literal(message.host, message.port)
        moved = remote != stream.latch.remote
        stream.latch.direct(remote, anew=message.relatch)
        if moved or message.relatch or not stream.live:
            self._ready[slot] = False
            self._sockets.direct(slot, remote)
        stream.live = True
        stream.law = Law.PCMA if message.payload_type == Law.PCMA else Law.PCMU
        stream.event_type = message.event_type
        stream.may_send, stream.may_receive = message.send, message.receive
        stream.timeout_since, stream.lost_reported = now, False
        self._payload_type[slot] = stream.law
        self._ready[slot] = stream.latch.source is not None and stream.ssrc is not None and stream.may_receive
        self._sender.direct(slot, stream.law, message.ptime, message.event_type)
        self._deal(stream.phase)

    def _deal(self, phase: int) -> None:
        """Bring the lists of a phase up to date."""
        streams = [stream for stream in self._streams.values() if stream.live and stream.phase == phase]
        self._members[phase] = np.array(sorted(stream.slot for stream in streams), np.intp)
        may_send = [stream.slot for stream in streams if stream.may_send and self._sends_somewhere(stream)]
        self._sending[phase] = np.array(sorted(may_send), np.intp)

    @staticmethod
    def _sends_somewhere(stream: Stream) -> bool:
        return stream.latch.source is not None or stream.latch.remote is not None

    def _play(self, message: protocol.Play, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is None:
            self.reports.append(protocol.PlayEnded(message.stream, message.play, now, False, "no such stream"))
            return
        self._player.play(
            stream.slot, message.stream, message.play, message.files, message.start_at, now, loop=message.loop
        )
        self._report_ended()

    def _stop(self, message: protocol.Stop, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is not None:
            self._player.stop(stream.slot, now)
            self._report_ended()

    def _send_digits(self, message: protocol.SendDigits, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is not None:
            self._sender.press(stream.slot, message.digits, message.on_ms, message.off_ms)

    def _rtp_timeout(self, message: protocol.RtpTimeout, now: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is not None:
            stream.timeout, stream.timeout_since, stream.lost_reported = message.seconds, now, False

    def _drop(self, message: protocol.Drop, now: float) -> None:
        stream = self._streams.pop(message.stream, None)
        if stream is None:
            return
        slot = stream.slot
        self._player.drop(slot, now)
        self._report_ended()
        self._sender.close(slot)
        self._drops_before += self._sockets.drops([slot])
        self._sockets.close(slot, now)
        self._ready[slot] = False
        self._by_slot[slot] = None
        self._crowd[stream.phase] -= 1
        self._free.append(slot)
        self._deal(stream.phase)
        self.reports.append(protocol.Closed(message.stream, self._statistics(stream)))

    def _statistics(self, stream: Stream) -> protocol.StreamStats:
        slot, reception = stream.slot, self._reception
        return protocol.StreamStats(
            received=int(reception.received[slot]),
            sent=int(self._sender.sent[slot]),
            lost=reception.lost(slot),
            late=int(self._jitter.late[slot]),
            duplicated=int(reception.duplicated[slot]),
            reordered=int(reception.reordered[slot]),
            malformed=stream.malformed,
            foreign=stream.foreign,
            jitter_ms=float(reception.jitter[slot]) * 1000 / RATE,
        )

    # --- packets in ---------------------------------------------------------------------

    def _take(self, count: int, now: float) -> None:
        """A round of packets: the usual ones together, the others one by one."""
        if not count:
            return
        slots, columns = self._sockets.slots, self._columns
        usual = (
            self._ready[slots]
            & (self._sockets.lengths == _USUAL)
            & (columns.first[:count] == rtp.PLAIN)
            & (columns.second[:count] & 0x7F == self._payload_type[slots])
            & (columns.ssrc[:count] == self._ssrc[slots])
        )
        if usual.all():
            self._take_usual(slots, np.arange(count), now)
            return
        rows = np.flatnonzero(usual)
        if rows.size:
            self._take_usual(slots[rows], rows, now)
        for row in np.flatnonzero(~usual).tolist():
            self._take_odd(row, now)

    def _take_usual(self, slots: Slots, rows: Slots, now: float) -> None:
        columns = self._columns
        timestamps = columns.timestamp[rows].astype(np.uint32)
        fresh = self._reception.note(slots, columns.sequence[rows].astype(np.uint16), timestamps, now)
        self._last_packet[slots] = now
        if not fresh.all():
            slots, rows, timestamps = slots[fresh], rows[fresh], timestamps[fresh]
        codes = self._sockets.rows[rows, rtp.HEADER_SIZE : _USUAL]
        types = self._payload_type[slots]
        for law in Law:
            chosen = types == law
            if chosen.all():
                self._jitter.insert(slots, timestamps, g711.decode(codes, law))
                return
            if chosen.any():
                self._jitter.insert(slots[chosen], timestamps[chosen], g711.decode(codes[chosen], law))

    def _take_odd(self, row: int, now: float) -> None:
        sockets = self._sockets
        stream = self._by_slot[int(sockets.slots[row])]
        if stream is None or not stream.live:
            return
        length = int(sockets.lengths[row])
        data = memoryview(sockets.rows[row])[:length]
        if rtp.is_rtcp(data):
            return
        try:
            if length >= ROW:
                raise rtp.Malformed("too long")
            packet = rtp.parse(data)
        except rtp.Malformed:
            stream.malformed += 1
            return
        if packet.payload_type not in (stream.law, stream.event_type, rtp.COMFORT_NOISE):
            stream.malformed += 1
            return
        if not self._is_from_peer(stream, sockets.sources.get(row), packet):
            stream.foreign += 1
            return
        self._last_packet[stream.slot] = now
        self._take_packet(stream, packet, now)

    def _is_from_peer(self, stream: Stream, source: Address | None, packet: rtp.Packet) -> bool:
        """Latch on the source of ``packet`` if it convinces. Latched sockets are filtered by the kernel."""
        if stream.latch.source is not None:
            return source is None or source == stream.latch.source
        if source is None or not stream.latch.offer(source, packet):
            return False
        try:
            self._sockets.latch(stream.slot, source)
        except OSError:
            stream.latch.source = None
            return False
        stream.ssrc = None
        self._deal(stream.phase)
        return True

    def _take_packet(self, stream: Stream, packet: rtp.Packet, now: float) -> None:
        is_event = packet.payload_type == stream.event_type
        if packet.ssrc != stream.ssrc:
            if is_event and stream.ssrc is not None:  # some gateways press keys from a source of their own
                self._take_event(stream, packet, now)
                return
            if not self._is_new_source(stream, packet):
                return
        slots = np.array([stream.slot])
        timestamps = np.array([packet.timestamp], np.uint32)
        fresh = self._reception.note(slots, np.array([packet.sequence], np.uint16), timestamps, now)
        if is_event:
            self._take_event(stream, packet, now)
        elif packet.payload_type == stream.law and fresh[0] and stream.may_receive and packet.payload:
            sound = g711.decode(np.frombuffer(packet.payload, np.uint8), stream.law)
            self._jitter.insert(slots, timestamps, sound[None, :])

    def _is_new_source(self, stream: Stream, packet: rtp.Packet) -> bool:
        """Another SSRC than before: believed at once if it is the first, else with its second packet in sequence."""
        candidate, stream.candidate = stream.candidate, (packet.ssrc, packet.sequence)
        if stream.ssrc is not None:
            if candidate is None or candidate[0] != packet.ssrc:
                return False
            if rtp.sequence_delta(packet.sequence, candidate[1]) != 1:
                return False
        stream.ssrc, stream.candidate = packet.ssrc, None
        self._ssrc[stream.slot] = packet.ssrc
        self._ready[stream.slot] = stream.may_receive
        self._reception.begin(stream.slot, packet.sequence)
        self._jitter.reset(stream.slot)
        return True

    def _take_event(self, stream: Stream, packet: rtp.Packet, now: float) -> None:
        try:
            digit = stream.events.receive(packet)
        except ValueError:
            stream.malformed += 1
            return
        if digit is not None and stream.may_receive:
            self.reports.append(protocol.DigitHeard(stream.number, digit, "rfc4733", now))

    def _check_timeouts(self, members: Slots, now: float) -> None:
        """Streams whose last packet is old are rare: only those are looked at."""
        for slot in members[self._last_packet[members] < now - 1.0].tolist():
            stream = self._by_slot[slot]
            if stream is None or not stream.timeout or stream.lost_reported or not stream.may_receive:
                continue
            silent = now - max(stream.timeout_since, float(self._last_packet[slot]))
            if silent >= stream.timeout:
                stream.lost_reported = True
                self.reports.append(protocol.RtpLost(stream.number, silent))

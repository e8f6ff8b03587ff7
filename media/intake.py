"""Packets in: from the rows of the sockets to jitter buffers, digits and counts.

Nearly every packet looks alike: 160 octets of the agreed codec from the known source. Those of a round are taken
together in columns. The rest, such as a stream's first packets, key events, header extensions, other packet times,
and whatever strangers send, is looked at one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from media import g711, rtp
from media.frames import Flags, Floats, Samples, Slots
from media.g711 import Law
from media.jitter import JitterBuffers
from media.latch import Address, Verdict
from media.protocol import DigitHeard, Report
from media.rates import FRAME
from media.reception import Reception
from media.sockets import ROW, Sockets
from media.stream import Stream

ROUNDS = 8
"""Packets taken from one socket in a tick, at most: a flood on one port costs its own stream alone."""

_USUAL = rtp.HEADER_SIZE + FRAME


class Intake:
    """The receiving half of all streams of a worker. ``last_packet`` is when each slot last got a valid one."""

    def __init__(
        self,
        sockets: Sockets,
        jitter: JitterBuffers,
        by_slot: Sequence[Stream | None],
        latched: Callable[[Stream], None],
        reports: list[Report],
    ) -> None:
        capacity = sockets.capacity
        self.reports = reports
        self.reception = Reception(capacity)
        self.last_packet: Floats = np.zeros(capacity)
        self._sockets = sockets
        self._columns = rtp.Columns(sockets.rows)
        self._jitter = jitter
        self._by_slot = by_slot
        self._latched = latched
        # What a packet must look like to be taken with the others, by slot.
        self._ready: Flags = np.zeros(capacity, np.bool_)
        self._payload_type: NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self._ssrc: NDArray[np.uint32] = np.zeros(capacity, np.uint32)

    def open(self, slot: int, now: float) -> None:
        """Forget what an earlier stream left in ``slot``."""
        self.reception.open(slot)
        self._ready[slot] = False
        self.last_packet[slot] = now

    def close(self, slot: int) -> None:
        self._ready[slot] = False

    def direct(self, stream: Stream) -> None:
        """SDP changed: what the stream expects, and whether it has latched, may be new."""
        if stream.latch.source is None:
            stream.ssrc = stream.candidate = None
        self._payload_type[stream.slot] = stream.law
        self._make_ready(stream)

    def _make_ready(self, stream: Stream) -> None:
        """Batches do not look at where packets come from: they are for sockets that the kernel filters."""
        self._ready[stream.slot] = stream.may_receive and stream.ssrc is not None and stream.latch.certain

    def drain(self, now: float) -> None:
        """Take what lies in all sockets."""
        sockets = self._sockets
        for _ in range(ROUNDS):
            count = sockets.receive()
            for slot, data, source in sockets.control:
                self._take_control(slot, data, source, now)
            if count:
                self._take(count, now)
            elif not sockets.control:
                return

    def _take(self, count: int, now: float) -> None:
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
        fresh = self.reception.note(slots, columns.sequence[rows].astype(np.uint16), timestamps, now)
        self.last_packet[slots] = now
        if not fresh.all():
            slots, rows, timestamps = slots[fresh], rows[fresh], timestamps[fresh]
        codes = self._sockets.rows[rows, rtp.HEADER_SIZE : _USUAL]
        types = self._payload_type[slots]
        for law in Law:
            chosen = types == law
            if chosen.all():
                self._insert(slots, timestamps, g711.decode(codes, law))
                return
            if chosen.any():
                self._insert(slots[chosen], timestamps[chosen], g711.decode(codes[chosen], law))

    def _insert(self, slots: Slots, timestamps: NDArray[np.uint32], sounds: Samples) -> None:
        if slots.size:
            self._jitter.insert(slots, timestamps, sounds)

    def _take_odd(self, row: int, now: float) -> None:
        sockets = self._sockets
        slot = int(sockets.slots[row])
        stream = self._by_slot[slot]
        if stream is None or not stream.live:
            return
        length = int(sockets.lengths[row])
        data = memoryview(sockets.rows[row])[:length]
        source = sockets.sources.get(row)
        if rtp.is_rtcp(data):
            self._take_control(slot, bytes(data), source or stream.latch.source, now)
            return
        try:
            if length >= ROW:
                raise rtp.Malformed("too long")
            packet = rtp.parse(data)
            kind = packet.payload_type
            if not (kind in stream.sound_types or kind in stream.event_types or kind == rtp.COMFORT_NOISE):
                raise rtp.Malformed("not a payload type that was agreed on")
        except rtp.Malformed:
            stream.malformed += 1
            return
        if not self._is_from_peer(stream, source, packet, now):
            stream.foreign += 1
            return
        self.last_packet[slot] = now
        self._take_packet(stream, packet, now)

    def _is_from_peer(self, stream: Stream, source: Address | None, packet: rtp.Packet, now: float) -> bool:
        """Latch on the source of ``packet`` if it convinces. Latched sockets are filtered by the kernel."""
        latch = stream.latch
        if source is None:
            return latch.certain
        before = latch.source
        verdict = latch.offer(source, packet, now)
        if verdict is Verdict.LATCHED:
            try:
                self._sockets.latch(stream.slot, source)
            except OSError:
                latch.forget()
                return False
        elif verdict is Verdict.PROVISIONAL:
            self._sockets.point(stream.slot, source)
        else:
            return verdict is Verdict.PEER
        if before != source:
            stream.ssrc = stream.candidate = None
            self._latched(stream)
        self._make_ready(stream)
        return True

    def _take_packet(self, stream: Stream, packet: rtp.Packet, now: float) -> None:
        is_event = packet.payload_type in stream.event_types
        if packet.ssrc != stream.ssrc:
            if is_event and stream.ssrc is not None:  # some gateways press keys from a source of their own
                self._take_event(stream, packet, now)
                return
            if not self._is_new_source(stream, packet):
                return
        slots = np.array([stream.slot])
        timestamps = np.array([packet.timestamp], np.uint32)
        fresh = self.reception.note(slots, np.array([packet.sequence], np.uint16), timestamps, now, timed=not is_event)
        if is_event:
            self._take_event(stream, packet, now)
        elif packet.payload_type in stream.sound_types and fresh[0] and stream.may_receive and packet.payload:
            law = Law(packet.payload_type)
            self._payload_type[stream.slot] = law  # the packets after it will mostly be in the same
            sound = g711.decode(np.frombuffer(packet.payload, np.uint8), law)
            self._jitter.insert(slots, timestamps, sound[None, :])

    def _is_new_source(self, stream: Stream, packet: rtp.Packet) -> bool:
        """Another SSRC than before: believed at once if it is the first, else with its second packet in sequence, with
        none of the source that is listened to in between.
        """
        slot = stream.slot
        received = int(self.reception.received[slot])
        candidate, stream.candidate = stream.candidate, (packet.ssrc, packet.sequence, received)
        if stream.ssrc is not None:
            if candidate is None or (candidate[0], candidate[2]) != (packet.ssrc, received):
                return False
            if rtp.sequence_delta(packet.sequence, candidate[1]) != 1:
                return False
        stream.ssrc, stream.candidate = packet.ssrc, None
        self._ssrc[slot] = packet.ssrc
        self._make_ready(stream)
        self.reception.begin(slot, packet.sequence)
        self._jitter.reset(slot)
        return True

    def _take_event(self, stream: Stream, packet: rtp.Packet, now: float) -> None:
        try:
            digit = stream.events.receive(packet)
        except ValueError:
            stream.malformed += 1
            return
        if digit is not None and stream.may_receive:
            self.reports.append(DigitHeard(stream.number, digit, "rfc4733", now))

    def _take_control(self, slot: int, data: bytes, source: Address | None, now: float) -> None:
        stream = self._by_slot[slot]
        if stream is None or not stream.live:
            return
        peer = stream.peer
        if peer is None or source is None or source[0] != peer[0]:
            stream.foreign += 1
            return
        try:
            stream.reporter.receive(data, now)
        except rtp.Malformed:
            stream.malformed += 1
            return
        if source != stream.latch.source:  # not multiplexed with RTP: answer where it came from
            stream.control = source

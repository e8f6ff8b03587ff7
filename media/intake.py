"""Packets in: from the rows of the sockets to jitter buffers, digits and counts.

Nearly every packet looks alike: 160 octets of the agreed codec from the known source. Those of a round are taken
together in columns. The rest, such as a stream's first packets, key events, header extensions, other packet times,
and whatever strangers send, is looked at one by one.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from media import g711, rtp
from media.bridging import Bridging
from media.captures import Captures
from media.codecs import L16
from media.frames import NO_SLOTS, Flags, Floats, Octets, Samples, Slots, every, some
from media.g711 import Law
from media.jitter import JitterBuffers
from media.latch import Address, Verdict
from media.reception import Reception
from media.relay import NOBODY
from media.reports import DigitHeard, Report, RtpLost
from media.rtcptraffic import RtcpTraffic
from media.sockets import OUT_ROW, ROW, Sockets
from media.srtp import Shields
from media.stream import Stream
from media.streams import Streams

ROUNDS = 8
"""Packets taken from one socket at a time, at most: a flood on one port costs its own stream alone."""

SHORTEST_SILENCE = 0.1
"""Seconds without a packet from which on a stream is looked at."""

_NO_LAW = np.uint8(255)
_LINEAR_ROW = rtp.HEADER_SIZE + L16.octets


def _raw(octets: bytes) -> int:
    """Octets of a header as the machine reads them."""
    return int.from_bytes(octets, sys.byteorder)


_NO_MARKER = np.uint16(_raw(bytes([0xFF, 0x7F])))
_NONE = np.uint16(_raw(bytes([0, 0x80])))
"""What no packet has, its marker put out."""


def _part(arrived: float | Floats, chosen: Flags) -> float | Floats:
    return arrived[chosen] if isinstance(arrived, np.ndarray) else arrived


class Intake:
    """The receiving half of all streams of a worker. ``reports`` gets keys pressed by events, and who fell silent."""

    def __init__(
        self,
        sockets: Sockets,
        reception: Reception,
        jitter: JitterBuffers,
        bridging: Bridging,
        streams: Streams,
        rtcp: RtcpTraffic,
        shields: Shields,
        captures: Captures,
        reports: list[Report],
    ) -> None:
        capacity = sockets.capacity
        self.reports = reports
        self._last_packet: Floats = np.zeros(capacity)  # when each slot last got a valid one
        self._sockets = sockets
        self._columns = rtp.Columns(sockets.rows)
        # The same as the machine reads them: they are only compared.
        self._kinds: NDArray[np.uint16] = sockets.rows[:, 0:2].view(np.uint16)[:, 0]
        self._sources: NDArray[np.uint32] = sockets.rows[:, 8:12].view(np.uint32)[:, 0]
        self._reception = reception
        self._jitter = jitter
        self._bridging = bridging
        self._shields = shields
        self._captures = captures
        self._captured = captures.by_slot
        self._relays = bridging.relays
        self._streams = streams
        self._by_slot = streams.by_slot
        self._rtcp = rtcp
        self._payload_type: NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self._law: NDArray[np.uint8] = np.full(capacity, _NO_LAW)
        self._linear: set[int] = set()
        # How a packet must begin to be taken with the others, by slot.
        self._kind: NDArray[np.uint16] = np.full(capacity, _NONE)
        self._source: NDArray[np.uint32] = np.zeros(capacity, np.uint32)

    def open(self, slot: int, now: float) -> None:
        """Forget what an earlier stream left in ``slot``."""
        self._reception.open(slot)
        self._kind[slot] = _NONE
        self._source[slot] = 0
        self._law[slot] = _NO_LAW
        self._last_packet[slot] = now

    def close(self, slot: int) -> None:
        self._kind[slot] = _NONE
        self._linear.discard(slot)

    def direct(self, stream: Stream) -> None:
        """SDP changed: what the stream expects, and whether it has latched, may be new."""
        if stream.latch.source is None:
            stream.ssrc = stream.candidate = None
        self._expect(stream, stream.sound_type)

    def _expect(self, stream: Stream, payload_type: int) -> None:
        """Take packets of this type with the others from now on."""
        stream.heard_type = payload_type
        self._payload_type[stream.slot] = payload_type
        self._law[stream.slot] = payload_type if stream.codec.is_g711 else _NO_LAW
        (self._linear.add if stream.codec is L16 else self._linear.discard)(stream.slot)
        self._make_ready(stream)

    def _make_ready(self, stream: Stream) -> None:
        """Batches do not look at where packets come from: they are for sockets that the kernel filters."""
        slot = stream.slot
        if stream.may_receive and stream.ssrc is not None and stream.latch.certain:
            self._kind[slot] = _raw(bytes([rtp.PLAIN, self._payload_type[slot]]))
            self._source[slot] = _raw(stream.ssrc.to_bytes(4, "big"))
        else:
            self._kind[slot] = _NONE

    def drain(self, due: Slots, early: Slots, now: float, rounds: int = ROUNDS, *, all_of_it: bool = False) -> None:
        """Take what lies in the sockets, at least of the streams that are ``due`` to play what they received, and of
        those that are not, but are looked into ``early``; ``all_of_it`` if that is not more than ``rounds`` packets of
        each, else as much as may be expected to lie there.
        """
        sockets = self._sockets
        if all_of_it:
            sockets.suspect(due)
        for number in range(rounds):
            count = sockets.receive(due, early, anew=number == 0)
            if sockets.control:
                self._rtcp.receive(sockets.control, now)
            if count:
                self._take(now)
            due, early = sockets.again(due, all_of_it=all_of_it), NO_SLOTS
            if not due.size:
                return

    def look_for_silence(self, members: Slots, now: float) -> None:
        """Report streams whose last packet is older than they are to be left without one."""
        for slot in members[self._last_packet[members] < now - SHORTEST_SILENCE].tolist():
            stream = self._by_slot[slot]
            if stream is None or not stream.timeout or stream.lost_reported or not stream.may_receive:
                continue
            silent = now - max(stream.timeout_since, float(self._last_packet[slot]))
            if silent >= stream.timeout:
                stream.lost_reported = True
                self.reports.append(RtpLost(stream.number, silent))

    def _take(self, now: float) -> None:
        """The packets of a round; the usual ones are told by their length and the first words of their headers."""
        sockets = self._sockets
        slots, places, lengths = sockets.slots, sockets.places, sockets.lengths
        arrived: float | Floats = now if sockets.arrivals is None else sockets.arrivals
        if self._shields and (opened := self._shields.open_rows(sockets.rows, slots, places, lengths)) is not None:
            lengths, left = opened
            if not every(left):
                sockets.suspect(slots[~left])
                slots, places, lengths, arrived = slots[left], places[left], lengths[left], _part(arrived, left)
        if self._captured:
            self._captures.received(slots, places, lengths)
        known = (self._kinds[places] & _NO_MARKER == self._kind[slots]) & (self._sources[places] == self._source[slots])
        usual = known & (lengths == OUT_ROW)
        if every(usual):
            self._take_usual(slots, places, OUT_ROW, arrived, now)
            return
        if some(usual):
            self._take_usual(slots[usual], places[usual], OUT_ROW, _part(arrived, usual), now)
        if self._linear:
            linear = known & (lengths == _LINEAR_ROW) & (self._law[slots] == _NO_LAW)
            linear &= self._relays.to[slots] == NOBODY  # those go on one by one
            if some(linear):
                self._take_usual(slots[linear], places[linear], _LINEAR_ROW, _part(arrived, linear), now)
                usual |= linear
        odd = np.flatnonzero(~usual)
        sockets.suspect(slots[odd])
        for index in odd.tolist():
            when = float(arrived[index]) if isinstance(arrived, np.ndarray) else arrived
            self._take_odd(int(slots[index]), int(places[index]), int(lengths[index]), when, now)

    def _take_usual(self, slots: Slots, rows: Slots, length: int, arrived: float | Floats, now: float) -> None:
        columns = self._columns
        timestamps = columns.timestamp[rows].astype(np.uint32)
        fresh = self._reception.note(slots, columns.sequence[rows].astype(np.uint16), timestamps, arrived)
        if self._reception.strays.size:
            self._sockets.suspect(self._reception.strays)
            self._renumber_restarts()
        self._last_packet[slots] = now
        if not every(fresh):
            slots, rows, timestamps = slots[fresh], rows[fresh], timestamps[fresh]
        codes = self._sockets.rows[rows, rtp.HEADER_SIZE : length]
        if self._relays.count and length == OUT_ROW:
            self._relays.pass_on(slots, columns, rows, codes)
        laws = self._law[slots]
        for number, law in g711.LAWS:
            chosen = laws == number
            count = np.count_nonzero(chosen)
            if count == slots.size:
                self._insert(slots, timestamps, g711.decode(codes, law))
                return
            if count:
                self._insert(slots[chosen], timestamps[chosen], g711.decode(codes[chosen], law))
        coded = laws == _NO_LAW
        if some(coded):
            self._take_coded(slots[coded], timestamps[coded], codes[coded])

    def _take_coded(self, slots: Slots, timestamps: NDArray[np.uint32], payloads: Octets) -> None:
        """Payloads of the same length in codecs that are decoded stream by stream."""
        sounds = [self._decode(slot, payload) for slot, payload in zip(slots.tolist(), payloads, strict=True)]
        sizes = np.array([sound.size for sound in sounds])
        for size in set(sizes.tolist()):
            chosen = np.flatnonzero(sizes == size)
            self._insert(slots[chosen], timestamps[chosen], np.stack([sounds[index] for index in chosen]))

    def _decode(self, slot: int, payload: Octets) -> Samples:
        stream = self._by_slot[slot]
        assert stream is not None
        assert stream.decoder is not None
        return stream.decoder.decode(payload.data)

    def _insert(self, slots: Slots, timestamps: NDArray[np.uint32], sounds: Samples) -> None:
        if slots.size:
            self._jitter.insert(slots, timestamps, sounds)

    def _take_odd(self, slot: int, row: int, length: int, arrived: float, now: float) -> None:
        sockets = self._sockets
        stream = self._by_slot[slot]
        if stream is None or not stream.live:
            return
        data = memoryview(sockets.rows[row])[:length]
        source = sockets.sources.get(row)
        if rtp.is_rtcp(data):
            self._rtcp.take(slot, bytes(data), source or stream.latch.source, now)
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
        self._last_packet[slot] = now
        self._take_packet(stream, packet, arrived, now)

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
            self._rtcp.point(stream)
            self._streams.deal(stream)
        self._make_ready(stream)
        return True

    def _take_packet(self, stream: Stream, packet: rtp.Packet, arrived: float, now: float) -> None:
        is_event = packet.payload_type in stream.event_types
        if packet.ssrc != stream.ssrc:
            if is_event and stream.ssrc is not None:  # some gateways press keys from a source of their own
                self._take_event(stream, packet, now)
                return
            if not self._is_new_source(stream, packet):
                return
        fresh = self._reception.note_one(stream.slot, packet.sequence, packet.timestamp, arrived, timed=not is_event)
        self._renumber_restarts()
        is_sound = packet.payload_type in stream.sound_types
        if is_sound and fresh and packet.payload_type != self._payload_type[stream.slot]:
            self._expect(stream, packet.payload_type)  # those after it will mostly be in the same
            self._bridging.direct(stream)
        if fresh and stream.may_receive:
            self._relays.pass_packet(stream.slot, packet, is_event=is_event)
        if is_event:
            self._jitter.hush(stream.slot)
            self._take_event(stream, packet, now)
        elif is_sound and fresh and stream.may_receive and packet.payload:
            if stream.decoder is not None:
                sound = stream.decoder.decode(packet.payload)
            else:
                sound = g711.decode(np.frombuffer(packet.payload, np.uint8), Law(packet.payload_type))
            if sound.size:
                timestamps = np.array([packet.timestamp], np.uint32)
                self._jitter.insert(np.array([stream.slot]), timestamps, sound[None, :])

    def _renumber_restarts(self) -> None:
        """What sources that begin their numbering anew are relayed under goes on from where it was."""
        for slot in self._reception.restarts:
            self._relays.renumber(slot)
        self._reception.restarts.clear()

    def _is_new_source(self, stream: Stream, packet: rtp.Packet) -> bool:
        """Another SSRC than before: believed at once if it is the first, else with its second packet in sequence, with
        none of the source that is listened to in between.
        """
        slot = stream.slot
        received = self._reception.received(slot)
        candidate, stream.candidate = stream.candidate, (packet.ssrc, packet.sequence, received)
        if stream.ssrc is not None:
            if candidate is None or (candidate[0], candidate[2]) != (packet.ssrc, received):
                return False
            if rtp.sequence_delta(packet.sequence, candidate[1]) != 1:
                return False
        stream.ssrc, stream.candidate = packet.ssrc, None
        if stream.decoder is not None:
            stream.decoder = stream.codec.decoder()
        self._make_ready(stream)
        self._reception.begin(slot, packet.sequence)
        self._relays.renumber(slot)
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
            self._relays.press(stream.slot, digit, apart=packet.ssrc != stream.ssrc)

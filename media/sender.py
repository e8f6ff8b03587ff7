"""RTP out: headers and payloads of all streams built in one matrix, then sent row by row.

A stream's timestamp runs on with its frames, sent or not; its sequence number counts packets. G.711 is coded in
batches; G.722, whose payloads are as long, stream by stream. Streams with longer payloads (L16) or another packet time
than 20 ms, and those that press keys, leave the matrix and are built one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from media import g711
from media.captures import Captures
from media.codecs import Codec, Encoder
from media.frames import Flags, Octets, Samples, Slots, some
from media.rates import FRAME, PHASES, RATE
from media.rfc4733 import EventPacket, EventSender
from media.rtp import (
    COMFORT_NOISE,
    HEADER,
    HEADER_SIZE,
    MARKER,
    PLAIN,
    Columns,
    Packet,
    sequence_delta,
    timestamp_delta,
)
from media.sockets import Sockets
from media.srtp import Shields

_STEP = FRAME // PHASES
"""Samples per phase: the granularity at which packets between two frames leave."""

_NO_LAW = 255
_NOTHING: Mapping[int, Samples] = MappingProxyType({})


@dataclass(slots=True)
class _Packing:
    """A packet time other than 20 ms: frames of FRAME timestamp units in, packets of ``samples`` of these units out.

    ``width`` is how many octets a unit takes.
    """

    samples: int
    timestamp: int
    width: int = 1
    waiting: bytearray = field(default_factory=bytearray)
    frames: int = 0
    packets: int = 0

    def push(self, payload: bytes) -> list[tuple[int, int, bytes]]:
        """(phases from now, timestamp, payload) of the packets that this frame completes, evenly spaced."""
        self.waiting += payload
        # The first packet leaves as soon as it is complete, and sets the pace for those after it.
        first = -(-self.samples // FRAME) - 1
        complete: list[tuple[int, int, bytes]] = []
        size = self.samples * self.width
        while len(self.waiting) >= size:
            ahead = FRAME * (first - self.frames) + self.packets * self.samples
            timestamp = (self.timestamp + self.packets * self.samples) & 0xFFFFFFFF
            complete.append((ahead // _STEP, timestamp, bytes(self.waiting[:size])))
            del self.waiting[:size]
            self.packets += 1
        self.frames += 1
        return complete


@dataclass(slots=True)
class _Coding:
    """A codec other than G.711, and its encoder, which lives as long as the stream uses it."""

    codec: Codec
    encoder: Encoder


class Sender:
    """Packets of all streams of a worker. ``sent`` counts them per slot, for RTCP."""

    def __init__(self, sockets: Sockets, random: Random, shields: Shields, captures: Captures) -> None:
        capacity = sockets.capacity
        self.sent: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._octets: NDArray[np.int64] = np.zeros(capacity, np.int64)  # beside FRAME for each packet
        self.timestamp: NDArray[np.uint32] = np.zeros(capacity, np.uint32)
        self.ssrc: list[int] = [0] * capacity
        self.refused = 0
        self._sockets = sockets
        self._send = sockets.send
        self._shields = shields
        self._captures = captures
        self._captured = captures.by_slot
        self._random = random
        self._sequence: NDArray[np.uint16] = np.zeros(capacity, np.uint16)
        self._law: NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self._after: NDArray[np.uint32] = np.zeros(capacity, np.uint32)  # the timestamp after what was forwarded last
        self._type: NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self._marker: Flags = np.zeros(capacity, np.bool_)
        self._dirty: Flags = np.zeros(capacity, np.bool_)
        self._special: Flags = np.zeros(capacity, np.bool_)
        self._codings: dict[int, _Coding] = {}
        self._packing: dict[int, _Packing] = {}
        self._keys: dict[int, EventSender] = {}
        self._event_type: dict[int, int] = {}
        self._later: dict[int, list[tuple[int, int, bytes]]] = {}
        self._rows: Octets = sockets.out
        self._columns = Columns(self._rows)

    def open(self, slot: int) -> None:
        """A new stream: random SSRC, sequence number and timestamp (RFC 3550 5.1)."""
        self.sent[slot] = self._octets[slot] = 0
        self.ssrc[slot] = self._random.getrandbits(32)
        # RFC 3711 3.3.1 has receivers guess the roll-over; the lower half keeps the first one far away.
        self._sequence[slot] = self._random.getrandbits(15)
        self.timestamp[slot] = self._after[slot] = self._random.getrandbits(32)
        self._marker[slot] = True
        self._rows[slot, 0] = PLAIN
        self._columns.ssrc[slot] = self.ssrc[slot]

    def direct(self, slot: int, codec: Codec, payload_type: int, ptime: int, event_type: int) -> None:
        """Send in ``codec`` as ``payload_type``, ``ptime`` ms per packet, keys as ``event_type`` (negative: not agreed
        on). G.711 goes by its static payload types.
        """
        coding = self._codings.get(slot)
        if codec.is_g711:
            self._codings.pop(slot, None)
            self._law[slot] = self._type[slot] = codec.payload_type
        else:
            self._law[slot], self._type[slot] = _NO_LAW, payload_type
            if coding is None or coding.codec is not codec:
                self._codings[slot] = _Coding(codec, codec.encoder())
        self._dirty[slot] = True
        width = codec.octets // FRAME
        samples = 8 * min(max(ptime, 10), 60)
        samples -= samples % _STEP
        packing = self._packing.get(slot)
        if samples == FRAME:
            self._packing.pop(slot, None)
        elif packing is None or (packing.samples, packing.width) != (samples, width):
            self._packing[slot] = _Packing(samples, int(self.timestamp[slot]), width)
        if event_type < 0:
            self._event_type.pop(slot, None)
            self._keys.pop(slot, None)
        else:
            self._event_type[slot] = event_type
        self._settle(slot)

    def _settle(self, slot: int) -> None:
        """Whether ``slot`` is in the matrix or not."""
        coding = self._codings.get(slot)
        too_long = coding is not None and coding.codec.octets != FRAME
        self._special[slot] = too_long or slot in self._packing or slot in self._keys

    def press(self, slot: int, digits: str, on_ms: int, off_ms: int) -> bool:
        """Press ``digits`` as events; false when telephone-event was not agreed on."""
        if slot not in self._event_type:
            return False
        self._keys.setdefault(slot, EventSender()).press(digits, on_ms, off_ms)
        self._settle(slot)
        return True

    def close(self, slot: int) -> None:
        for table in (self._codings, self._packing, self._keys, self._event_type):
            table.pop(slot, None)
        self._special[slot] = False
        for packets in self._later.values():
            packets[:] = [packet for packet in packets if packet[0] != slot]

    def pause(self, slots: Slots, frames: int) -> None:
        """Time passed in which nothing was sent, because the process did not run."""
        self._pass_over(slots, frames)

    def silence(self, slots: Slots) -> None:
        """A frame of time in which ``slots`` may not send (hold). Sound that follows is a talkspurt (marker)."""
        self._pass_over(slots, 1)

    def _pass_over(self, slots: Slots, frames: int) -> None:
        self.timestamp[slots] += np.uint32(frames * FRAME)
        self._marker[slots] = True
        if self._packing:
            for slot in self._packing.keys() & slots.tolist():
                self._renew_packing(slot)

    def _renew_packing(self, slot: int) -> None:
        """Time has gone on without packets: those that follow begin now."""
        packing = self._packing.get(slot)
        if packing is not None:
            self._packing[slot] = _Packing(packing.samples, int(self.timestamp[slot]), packing.width)

    def send_frame(
        self,
        slots: Slots,
        sounding: Slots,
        frames: Samples,
        tick: int,
        wide: Mapping[int, Samples] = _NOTHING,
    ) -> None:
        """One frame for each of ``slots``: ``frames`` for those of them in ``sounding``, silence for the others. For
        those whose codec is wideband the same sound is in ``wide``.
        """
        self._write_payloads(slots, sounding, frames)
        special = self._special[slots]
        if some(special):
            for slot in slots[special].tolist():
                self._send_special(slot, sounding, frames, wide, tick)
            slots = slots[~special]
        if self._codings:
            for slot in slots[self._law[slots] == _NO_LAW].tolist():
                payload = _encoded(self._codings[slot], slot, sounding, frames, wide)
                self._rows[slot, HEADER_SIZE:] = np.frombuffer(payload, np.uint8)
        columns = self._columns
        sequence, timestamp, payload_type, marker = (
            self._sequence[slots],
            self.timestamp[slots],
            self._type[slots],
            self._marker[slots],
        )
        columns.sequence[slots] = sequence
        columns.timestamp[slots] = timestamp
        columns.second[slots] = payload_type | marker.view(np.uint8) << 7
        self._sequence[slots] = sequence + np.uint16(1)
        self.timestamp[slots] = timestamp + np.uint32(FRAME)
        self._marker[slots] = False
        self._send_rows(slots)

    def takes_events(self, slot: int) -> bool:
        """Whether telephone-event was agreed on."""
        return slot in self._event_type

    def keys_waiting(self, slot: int) -> int:
        """Keys that are to be pressed as events."""
        keys = self._keys.get(slot)
        return 0 if keys is None else keys.waiting

    def release_keys(self, slot: int) -> None:
        """Press no more of the keys that wait; the one that is down ends as it should."""
        keys = self._keys.get(slot)
        if keys is not None:
            keys.release()

    def pressing(self, slots: Slots) -> Flags:
        """Which of ``slots`` press keys."""
        keys = self._keys
        return np.fromiter((slot in keys for slot in slots.tolist()), np.bool_, slots.size)

    def octets(self, slot: int) -> int:
        """Octets of payload that were sent."""
        return int(self.sent[slot] * FRAME + self._octets[slot])

    def next_numbers(self, slot: int) -> tuple[int, int]:
        """The sequence number and timestamp of what is sent next."""
        return int(self._sequence[slot]), int(self.timestamp[slot])

    def forward(
        self,
        slots: Slots,
        sequences: NDArray[np.uint16],
        timestamps: NDArray[np.uint32],
        markers: Octets,
        payloads: Octets,
    ) -> None:
        """Send ready packets, one for each of ``slots``, in the codec that they send anyway."""
        columns = self._columns
        columns.sequence[slots] = sequences
        columns.timestamp[slots] = timestamps
        columns.second[slots] = self._type[slots] | markers
        self._rows[slots, HEADER_SIZE:] = payloads
        self._dirty[slots] = True
        self._after[slots] = timestamps + np.uint32(FRAME)
        following = sequences + np.uint16(1)
        ahead = (following - self._sequence[slots]).view(np.int16) > 0
        self._sequence[slots[ahead]] = following[ahead]
        self._send_rows(slots)

    def resume(self, slot: int) -> None:
        """Frames of its own follow what was forwarded, also in time."""
        behind = timestamp_delta(int(self._after[slot]), int(self.timestamp[slot]))
        if 0 < behind < 4 * RATE:
            self.timestamp[slot] = self._after[slot]
            self._renew_packing(slot)
        self._after[slot] = self.timestamp[slot]

    def forward_packet(self, slot: int, sequence: int, timestamp: int, packet: Packet, *, is_event: bool) -> bool:
        """The same for one packet of any length, and for events: false where those were not agreed on."""
        if packet.payload_type == COMFORT_NOISE:
            payload_type = COMFORT_NOISE
        elif not is_event:
            payload_type = int(self._type[slot])
        elif slot in self._event_type:
            payload_type = self._event_type[slot]
        else:
            return False
        following = (sequence + 1) & 0xFFFF
        if sequence_delta(following, int(self._sequence[slot])) > 0:
            self._sequence[slot] = following
        if not is_event:
            self._after[slot] = (timestamp + len(packet.payload) // self._width(slot)) & 0xFFFFFFFF
        second = payload_type | (MARKER if packet.marker else 0)
        head = HEADER.pack(PLAIN, second, sequence, timestamp, self.ssrc[slot])
        self._send_one(slot, head + packet.payload)
        return True

    def _width(self, slot: int) -> int:
        """Octets of a timestamp unit in the codec of ``slot``."""
        coding = self._codings.get(slot)
        return 1 if coding is None else coding.codec.octets // FRAME

    def _send_rows(self, slots: Slots) -> None:
        self.sent[slots] += 1
        shields, everybody = self._shields, slots
        lost: list[int] = []
        if shields and (sealed := shields.on[slots]).any():
            lost = self._send_sealed(slots[sealed])
            slots = slots[~sealed]
        lost += self._sockets.transmit(slots)
        if lost:
            self.refused += len(lost)
            self.sent[lost] -= 1
        if self._captured:
            self._captures.sent(everybody, lost)

    def _send_sealed(self, slots: Slots) -> list[int]:
        """Send the rows of encrypted streams; returns those whose packet did not leave."""
        lost = []
        for slot in slots.tolist():
            try:
                self._send[slot](self._shields.sealed(slot, self._rows[slot].data))
            except OSError:
                lost.append(slot)
        return lost

    def send_later(self, tick: int) -> None:
        """Packets that were due between the frames of their stream, up to ``tick``."""
        for due in [due for due in self._later if due <= tick]:
            for slot, _, packet in self._later.pop(due):
                self._send_one(slot, packet)

    def _write_payloads(self, slots: Slots, sounding: Slots, frames: Samples) -> None:
        dirty = self._dirty
        dirty[sounding] = False
        silent = slots[dirty[slots]]
        if silent.size:
            for number, law in g711.LAWS:
                self._rows[silent[self._law[silent] == number], HEADER_SIZE:] = g711.SILENCE[law]
            dirty[silent] = False
        if not sounding.size:
            return
        dirty[sounding] = True
        laws = self._law[sounding]
        for number, law in g711.LAWS:
            chosen = laws == number
            count = np.count_nonzero(chosen)
            if count == sounding.size:
                self._rows[sounding, HEADER_SIZE:] = g711.encode(frames, law)
                break
            if count:
                self._rows[sounding[chosen], HEADER_SIZE:] = g711.encode(frames[chosen], law)

    def _send_special(
        self, slot: int, sounding: Slots, frames: Samples, wide: Mapping[int, Samples], tick: int
    ) -> None:
        timestamp = int(self.timestamp[slot])
        self.timestamp[slot] = (timestamp + FRAME) & 0xFFFFFFFF
        keys = self._keys.get(slot)
        event = None
        if keys is not None:
            event = keys.next(timestamp)
            if event is None and keys.idle:
                del self._keys[slot]
                self._settle(slot)
        packing = self._packing.get(slot)
        coding = self._codings.get(slot)
        packets: list[tuple[int, int, bytes]] = []
        if event is None or packing is not None:
            if coding is None:
                payload = self._rows[slot, HEADER_SIZE:].tobytes()
            else:
                payload = _encoded(coding, slot, sounding, frames, wide)
            packets = [(0, timestamp, payload)] if packing is None else packing.push(payload)
        if event is not None:
            self._send_event(slot, event, tick)
            return
        for phases, begin, sound in packets:
            marker = bool(self._marker[slot])
            self._marker[slot] = False
            packet = self._packet(slot, int(self._type[slot]), begin, sound, marker=marker)
            self._send_at(slot, packet, tick, phases)

    def _send_event(self, slot: int, event: EventPacket, tick: int) -> None:
        for repeat in range(1 + event.repeats):
            packet = self._packet(
                slot, self._event_type[slot], event.timestamp, event.payload, marker=event.marker and not repeat
            )
            self._send_at(slot, packet, tick, repeat)

    def _packet(self, slot: int, payload_type: int, timestamp: int, payload: bytes, *, marker: bool) -> bytes:
        sequence = int(self._sequence[slot])
        self._sequence[slot] = (sequence + 1) & 0xFFFF
        second = payload_type | (MARKER if marker else 0)
        return HEADER.pack(PLAIN, second, sequence, timestamp, self.ssrc[slot]) + payload

    def _send_at(self, slot: int, packet: bytes, tick: int, phases: int) -> None:
        if phases <= 0:
            self._send_one(slot, packet)
        else:
            self._later.setdefault(tick + phases, []).append((slot, tick, packet))

    def _send_one(self, slot: int, packet: bytes) -> None:
        try:
            self._send[slot](self._shields.sealed(slot, packet))
        except OSError:
            self.refused += 1
        else:
            self.sent[slot] += 1
            self._octets[slot] += len(packet) - HEADER_SIZE - FRAME
            if self._captured:
                self._captures.sent_one(slot, packet)


def _encoded(coding: _Coding, slot: int, sounding: Slots, frames: Samples, wide: Mapping[int, Samples]) -> bytes:
    """The next 20 ms of a stream in another codec than G.711."""
    if coding.codec.rate == RATE:
        place = np.flatnonzero(sounding == slot)
        return coding.encoder.encode(frames[place[0]]) if place.size else coding.encoder.silence()
    sound = wide.get(slot)
    return coding.encoder.silence() if sound is None else coding.encoder.encode(sound)

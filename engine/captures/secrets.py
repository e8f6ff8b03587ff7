"""RTP of captured calls without the keys that were pressed in secret, such as PINs: neither events nor tones tell them.

A *stretch* is a time in which keys are secret. Of what callers send meanwhile the payloads are overwritten: sound by
silence, telephone-events (RFC 4733) by the event :data:`UNKNOWN`. Headers, lengths and times stay, so that streams can
be analysed. A key that is still held at the end of a stretch is covered to its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from media import g711, rtp
from media.codecs import CODECS, Encoder
from media.g711 import Law
from media.packetlog import RECEIVED, Packet, Way

BEFORE = 1.0
"""Seconds from the begin of a key to when it is known, at most (INFO comes when it is let go): the first secret one is
hidden, too, and perhaps the one that led there.
"""

AFTER = 2.0
"""Seconds for which the tone of the last key may sound on."""

UNKNOWN = 0xFF
"""An event that is nobody's (RFC 4733 section 7)."""

MOST_EVENTS = 1000

Stretch = tuple[float, float | None]
"""Begin and end in seconds since the epoch; ``None``: not ended."""


@dataclass(slots=True)
class Hiding:
    """Hides keys in the packets of one stream, which come in order."""

    stretches: tuple[Stretch, ...]
    _events: dict[tuple[int, int], bool] = field(default_factory=dict)
    """Whether events are hidden, by source and timestamp."""
    _encoders: dict[str, Encoder] = field(default_factory=dict)

    def packets(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        """``packets`` without secret keys."""
        for packet in packets:
            yield self.packet(packet) if self.stretches else packet

    def packet(self, packet: Packet) -> Packet:
        """``packet``, or the same with another payload."""
        if packet.kind != RECEIVED or packet.way.control or rtp.is_rtcp(packet.data):
            return packet
        try:
            parsed = rtp.parse(packet.data)
        except rtp.Malformed:
            if not self._within(packet.at, AFTER):
                return packet
            kept = packet.data[: rtp.HEADER_SIZE]
            return packet._replace(data=kept + bytes(len(packet.data) - len(kept)))
        if parsed.payload_type in packet.way.events:
            if not self._is_hidden((parsed.ssrc, parsed.timestamp), packet.at):
                return packet
            hidden = bytes([UNKNOWN]) + bytes(parsed.payload[1:]) if parsed.payload else b""
        elif self._within(packet.at, AFTER):
            hidden = self._silence(parsed, packet.way)
        else:
            return packet
        head = len(packet.data) - len(parsed.payload) - _padding(packet.data)
        return packet._replace(data=packet.data[:head] + hidden + packet.data[head + len(hidden) :])

    def _within(self, at: float, after: float) -> bool:
        return any(begin - BEFORE <= at and (end is None or at <= end + after) for begin, end in self.stretches)

    def _is_hidden(self, event: tuple[int, int], at: float) -> bool:
        """Whether an event began in a stretch; one that began before or behind it is nobody's secret."""
        hidden = self._events.get(event)
        if hidden is None:
            if len(self._events) >= MOST_EVENTS:
                del self._events[next(iter(self._events))]
            hidden = self._events[event] = self._within(at, 0.0)
        return hidden

    def _silence(self, packet: rtp.Packet, way: Way) -> bytes:
        """As many octets of silence, in the codec of ``packet``."""
        size = len(packet.payload)
        kind = packet.payload_type
        if kind == rtp.COMFORT_NOISE:
            return bytes(packet.payload)
        if kind in set(Law):
            return bytes([g711.SILENCE[Law(kind)]]) * size
        codec = CODECS.get(way.codec)
        if codec is None or codec.is_g711:
            return bytes(size)
        encoder = self._encoders.get(codec.name) or self._encoders.setdefault(codec.name, codec.encoder())
        silence = b""
        while len(silence) < size:
            silence += encoder.silence()
        return silence[:size]


def _padding(data: bytes) -> int:
    return data[-1] if data[0] & 0x20 else 0

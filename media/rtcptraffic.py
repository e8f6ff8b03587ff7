"""The RTCP of a worker's streams (RFC 3550 6): reports when they are due, what peers report, the goodbye in the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import numpy as np

from media import rtcp
from media.captures import Captures
from media.frames import Floats, Slots
from media.latch import Address
from media.reception import Reception
from media.rtp import Malformed
from media.sender import Sender
from media.sockets import Sockets, literal
from media.srtp import NotSealed, Shields
from media.stream import Stream

_NEVER = np.inf


class RtcpTraffic:
    """RTCP in and out. What each stream reports, and when, is said by its :class:`~media.reporting.Reporter`."""

    def __init__(
        self,
        by_slot: Sequence[Stream | None],
        sockets: Sockets,
        shields: Shields,
        captures: Captures,
        sender: Sender,
        reception: Reception,
    ) -> None:
        self._by_slot = by_slot
        self._sockets = sockets
        self._shields = shields
        self._captures = captures
        self._sender = sender
        self._reception = reception
        self._due: Floats = np.full(sockets.capacity, _NEVER)

    def direct(self, stream: Stream, port: int, *, moved: bool) -> None:
        """SDP changed: RTCP goes to ``port`` of the peer, which may have ``moved``."""
        if moved or stream.control_port != port:
            stream.control_port = port
            self.point(stream)
        self._due[stream.slot] = stream.reporter.due

    @staticmethod
    def point(stream: Stream) -> None:
        """RTCP goes to where the peer of ``stream`` is now."""
        stream.control = literal(stream.peer[0], stream.control_port) if stream.peer is not None else None

    def close(self, slot: int) -> None:
        """No more reports."""
        self._due[slot] = _NEVER

    # --- out ----------------------------------------------------------------------------

    def send_due(self, members: Slots, now: float) -> None:
        """Send the reports of ``members`` that are due: of few of them."""
        for slot in members[self._due[members] <= now].tolist():
            stream = self._by_slot[slot]
            if stream is not None:
                self.send(stream, now)

    def send(self, stream: Stream, now: float, *, leaving: bool = False) -> None:
        """Send a report, with a goodbye if the stream is ``leaving``."""
        slot, sender = stream.slot, self._sender
        packets = int(sender.sent[slot])
        sent = None
        if packets != stream.reported_sent:
            sent = (int(sender.timestamp[slot]), packets, sender.octets(slot))
            stream.reported_sent = packets
        peer = None if stream.ssrc is None else (stream.ssrc, self._reception.report(slot))
        packet = stream.reporter.compose(now, sent=sent, peer=peer, cname=stream.cname)
        self._due[slot] = stream.reporter.due
        if stream.control is not None:
            packet += rtcp.bye(sender.ssrc[slot]) if leaving else b""
            with contextlib.suppress(NotSealed):
                self._sockets.send_control(slot, self._shields.sealed_control(slot, packet), stream.control)
                if self._captures.by_slot:
                    self._captures.control(slot, packet, stream.control, sent=True)

    # --- in -----------------------------------------------------------------------------

    def receive(self, packets: Iterable[tuple[int, bytes, Address]], now: float) -> None:
        """Take (slot, packet, source) of what came to the ports that RTCP has to itself: sealed, where the stream is
        encrypted.
        """
        for slot, data, source in packets:
            opened = self._shields.opened_control(slot, data)
            if opened is not None:
                if self._captures.by_slot:
                    self._captures.control(slot, opened, source, sent=False)
                self.take(slot, opened, source, now)

    def take(self, slot: int, data: bytes, source: Address | None, now: float) -> None:
        """Take a compound packet, not sealed any more, that came from ``source``."""
        stream = self._by_slot[slot]
        if stream is None or not stream.live:
            return
        peer = stream.peer
        if peer is None or source is None or source[0] != peer[0]:
            stream.foreign += 1
            return
        try:
            stream.reporter.receive(data, now)
        except Malformed:
            stream.malformed += 1
            return
        if source != stream.latch.source:  # not multiplexed with RTP: answer where it came from
            stream.control = source

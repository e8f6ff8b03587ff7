"""Symmetric RTP: where the far end really is. No sockets, no clock.

SDP names an address; behind a NAT the packets come from another one. A stream *latches* once, on the
source of the first packet that convinces, and stays there until SDP changes.
"""

from __future__ import annotations

from media.rtp import Packet, sequence_delta

Address = tuple[str, int]


class Latch:
    """A packet from the address that SDP named convinces at once, others when a second one follows in sequence.

    The second rule is RFC 3550's probation (A.1): a stray packet to a reused port does not take over a call.
    """

    __slots__ = ("_candidate", "remote", "source")

    def __init__(self) -> None:
        self.remote: Address | None = None
        self.source: Address | None = None
        self._candidate: tuple[Address, int, int] | None = None

    def direct(self, remote: Address | None, *, anew: bool) -> bool:
        """SDP says ``remote``. Returns whether a latch was dissolved by that: always when the address changed."""
        changed = remote != self.remote
        self.remote = remote
        if not anew and not changed:
            return False
        self._candidate = None
        dissolved = self.source is not None
        self.source = None
        return dissolved

    def offer(self, source: Address, packet: Packet) -> bool:
        """Whether ``packet`` makes the stream latch on ``source`` (or came from there anyway)."""
        if self.source is not None:
            return source == self.source
        if source != self.remote:
            candidate = self._candidate
            self._candidate = (source, packet.ssrc, packet.sequence)
            if candidate is None or candidate[:2] != (source, packet.ssrc):
                return False
            if sequence_delta(packet.sequence, candidate[2]) != 1:
                return False
        self.source = source
        return True

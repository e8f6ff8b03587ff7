"""Symmetric RTP: where the far end really is. No sockets, no clock.

SDP names an address; behind a NAT the packets come from another one. A stream *latches* once, on the source of the
first packets that convince, and stays there until SDP changes. Packets from the address that SDP named convince at
once and for good. Others take part in RFC 3550's probation (A.1), and win only *provisionally*: sound goes there
without delay, but for :data:`PROVISIONAL` seconds the address of SDP may still overrule them.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import Enum

from media.rtp import Packet, sequence_delta

Address = tuple[str, int]

PROVISIONAL = 1.5
"""Seconds from the first convincing packet of another address until the stream stays with it."""

SILENT = 0.3
"""Seconds without a packet after which a provisional source may be followed by another."""

FORMER = 1.0
"""Seconds after a move in which packets from where the stream was before are still under way."""

PLAUSIBLE = 2
"""Packets in sequence from the host that SDP named, or from anywhere when that is not a public address: a NAT."""

SURPRISING = 5
"""Packets in sequence from another host than the public one that SDP named."""

MAX_CANDIDATES = 4


class Verdict(Enum):
    """What a packet means for the stream."""

    REFUSED = "refused"
    """It is not from the peer."""
    PEER = "peer"
    """It is from the peer, whose address was known."""
    PROVISIONAL = "provisional"
    """It is from the peer, whose address this is for now."""
    LATCHED = "latched"
    """It is from the peer, and nobody else is listened to from now on."""


@dataclass(slots=True)
class _Candidate:
    ssrc: int
    sequence: int
    run: int = 1


class Latch:
    """Where one stream sends to and who may send to it. Times are monotonic seconds."""

    __slots__ = (
        "_candidates",
        "_former",
        "_former_until",
        "_heard",
        "_home",
        "_last",
        "_needed_elsewhere",
        "_until",
        "certain",
        "remote",
        "source",
    )

    def __init__(self) -> None:
        self.remote: Address | None = None
        self.source: Address | None = None
        self.certain = False  # whether ``source`` is more than provisional
        self._candidates: dict[Address, _Candidate] = {}
        self._until = 0.0
        self._heard = 0.0
        self._needed_elsewhere = PLAUSIBLE
        # The last source, and what SDP had named when the stream latched on it: hold does not make it forgotten.
        self._last: Address | None = None
        self._home: Address | None = None
        self._former: Address | None = None
        self._former_until = 0.0

    def direct(self, remote: Address | None, now: float, *, anew: bool) -> bool:
        """SDP says ``remote``. Returns whether a latch was dissolved by that: always when the address changed."""
        changed = remote != self.remote
        self.remote = remote
        if not anew and not changed:
            return False
        if remote is not None:
            self._needed_elsewhere = SURPRISING if ipaddress.ip_address(remote[0]).is_global else PLAUSIBLE
            if self._home is not None and remote != self._home:
                self._former, self._former_until = self._last, now + FORMER
        return self.forget()

    def forget(self) -> bool:
        """Look for the source anew. Returns whether there was one."""
        dissolved = self.source is not None
        self.source, self.certain = None, False
        self._candidates.clear()
        return dissolved

    def offer(self, source: Address, packet: Packet, now: float) -> Verdict:
        """``packet`` came from ``source``."""
        if self.certain:
            return Verdict.PEER if source == self.source else Verdict.REFUSED
        if source == self.remote:
            return self._latch(source, now, certain=True)
        if source == self.source:
            self._heard = now
            return self._latch(source, now, certain=True) if now >= self._until else Verdict.PEER
        if source == self._former and now < self._former_until:
            return Verdict.REFUSED
        if not self._convinces(source, packet):
            return Verdict.REFUSED
        if self.source is not None and now < self._heard + SILENT:
            return Verdict.REFUSED
        return self._latch(source, now, certain=False)

    def _latch(self, source: Address, now: float, *, certain: bool) -> Verdict:
        self.source, self.certain = source, certain
        self._last = source
        self._home = self.remote or self._home
        self._heard, self._until = now, now + PROVISIONAL
        self._candidates.clear()
        return Verdict.LATCHED if certain else Verdict.PROVISIONAL

    def _convinces(self, source: Address, packet: Packet) -> bool:
        """Probation: whether enough packets of one SSRC came from ``source``, each with the next number."""
        candidate = self._candidates.get(source)
        if candidate is None:
            if len(self._candidates) >= MAX_CANDIDATES:
                del self._candidates[next(iter(self._candidates))]
            self._candidates[source] = _Candidate(packet.ssrc, packet.sequence)
            return False
        follows = packet.ssrc == candidate.ssrc and sequence_delta(packet.sequence, candidate.sequence) == 1
        candidate.run = candidate.run + 1 if follows else 1
        candidate.ssrc, candidate.sequence = packet.ssrc, packet.sequence
        at_home = self.remote is None or source[0] == self.remote[0]
        return candidate.run >= (PLAUSIBLE if at_home else self._needed_elsewhere)

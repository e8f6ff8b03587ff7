"""One stream, as far as it is not a row in the arrays of the kernels."""

from __future__ import annotations

from dataclasses import dataclass, field

from media.codecs import PCMU, Codec, Decoder
from media.latch import Address, Latch
from media.reporting import Reporter
from media.rfc4733 import EventReceiver


@dataclass(slots=True)
class Stream:
    """What is rare or odd about a stream. It is *live* from its first :class:`~media.commands.Direct` on."""

    number: int
    slot: int
    phase: int
    reporter: Reporter
    cname: str
    latch: Latch = field(default_factory=Latch)
    events: EventReceiver = field(default_factory=EventReceiver)
    codec: Codec = PCMU
    sound_type: int = PCMU.payload_type
    """Payload type that sound is expected in."""
    sound_types: frozenset[int] = frozenset()
    """Payload types that sound may come in: that one, or both G.711 laws."""
    heard_type: int = PCMU.payload_type
    """The one of them that packets usually have."""
    decoder: Decoder | None = None
    """For sound in a codec other than G.711, which is decoded by table."""
    event_types: frozenset[int] = frozenset()
    """Payload types that telephone-events may come in."""
    live: bool = False
    may_send: bool = False
    may_receive: bool = False
    control: Address | None = None
    """Where RTCP goes."""
    control_port: int = 0
    reported_sent: int = 0
    ssrc: int | None = None
    """The source that is listened to."""
    candidate: tuple[int, int, int] | None = None
    """(SSRC, sequence number) of a packet from another source, and how many were received from this one before."""
    malformed: int = 0
    foreign: int = 0
    timeout: float = 0.0
    timeout_since: float = 0.0
    lost_reported: bool = False

    @property
    def peer(self) -> Address | None:
        """Where packets go: the latched source, else what SDP said."""
        return self.latch.source or self.latch.remote

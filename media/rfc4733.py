"""Keys as telephone events (RFC 4733), received and sent. No sockets, no clock.

A press is one event, told by its timestamp: all its packets carry the timestamp of its beginning and a
growing duration, and its last packet is sent three times. Any of them may be lost, doubled or come late, the
marker bit may be missing, and senders are not all alike; one press must stay one digit.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass

from media.rates import FRAME, RATE
from media.rtp import Packet, timestamp_delta

DIGITS = "0123456789*#ABCD"
"""Events 0 to 15 (RFC 4733 3.2)."""

PAYLOAD = struct.Struct("!BBH")
END = 0x80
VOLUME = 10
"""Level of the events that we send, in -dBm0 (RFC 4733 2.3.4)."""

LONGEST = 0xFFFF
"""Duration at which a long event goes on in a new segment (RFC 4733 2.5.1.3)."""

_REMEMBERED = 16
_STALE = 8 * RATE


@dataclass(slots=True)
class _Press:
    ssrc: int
    timestamp: int
    event: int
    duration: int
    ended: bool


class EventReceiver:
    """Turns the event packets of one stream into digits, each at the first packet seen of it."""

    __slots__ = ("_press", "_seen")

    def __init__(self) -> None:
        self._press: _Press | None = None
        self._seen: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)

    def receive(self, packet: Packet) -> str | None:
        """The digit that ``packet`` begins, if it begins one. Raises :class:`ValueError` on a cut-off payload."""
        if len(packet.payload) < PAYLOAD.size:
            raise ValueError("event payload cut off")
        event, flags, duration = PAYLOAD.unpack_from(packet.payload)
        if event >= len(DIGITS):
            return None
        ended = bool(flags & END)
        key = (packet.ssrc, packet.timestamp)
        press = self._press
        if key in self._seen:
            if press is not None and (press.ssrc, press.timestamp) == key:
                press.duration = max(press.duration, duration)
                press.ended |= ended
            return None
        if press is not None and press.ssrc == packet.ssrc:
            step = timestamp_delta(packet.timestamp, press.timestamp)
            if -_STALE < step < 0:
                return None  # a straggler of an event before the last one
            if self._continues(press, event, duration, step):
                self._remember(key, _Press(packet.ssrc, packet.timestamp, event, duration, ended))
                return None
        self._remember(key, _Press(packet.ssrc, packet.timestamp, event, duration, ended))
        return DIGITS[event]

    def _remember(self, key: tuple[int, int], press: _Press) -> None:
        self._press = press
        self._seen.append(key)

    @staticmethod
    def _continues(press: _Press, event: int, duration: int, step: int) -> bool:
        """Whether a new timestamp, ``step`` after that of ``press``, still belongs to the same press."""
        if event != press.event or press.ended:
            return False
        # RFC 4733 2.5.1.3: a segment begins exactly where the one before it ended, at the longest duration. Some
        # senders end it earlier, with a whole packet.
        if step in (LONGEST, press.duration):
            return True
        # Senders that move the timestamp with every packet let the duration grow all the same: it claims
        # more time than has passed since. A second press begins with a duration shorter than the way to it.
        return step <= duration and duration > press.duration


@dataclass(frozen=True, slots=True)
class EventPacket:
    """One event packet to send: ``timestamp`` is that of the beginning of its event."""

    payload: bytes
    timestamp: int
    marker: bool
    repeats: int
    """How often to send it again, 5 ms apart, each time with the next sequence number."""


class EventSender:
    """Presses keys on one stream: asked once per frame, it takes the place of the sound or leaves it alone.

    ``on_ms`` and ``off_ms`` are rounded up to whole frames; the duration that an event ends with is exact.
    """

    __slots__ = ("_begun", "_queue", "_segment", "_timestamp", "_wait")

    def __init__(self) -> None:
        self._queue: deque[tuple[int, int, int]] = deque()
        self._begun = 0
        self._segment = 0
        self._timestamp = 0
        self._wait = 0

    def press(self, digits: str, on_ms: int, off_ms: int) -> None:
        """Queue ``digits``; what is not a digit is left out."""
        on, off = max(1, on_ms) * RATE // 1000, max(0, off_ms) * RATE // 1000
        self._queue.extend((DIGITS.index(digit), on, off) for digit in digits.upper() if digit in DIGITS)

    @property
    def idle(self) -> bool:
        return not self._queue and self._wait <= 0

    @property
    def waiting(self) -> int:
        """Keys that have not ended."""
        return len(self._queue)

    def release(self) -> None:
        """Press none of the keys that wait; one that is down ends as it should."""
        while len(self._queue) > (self._begun > 0):
            self._queue.pop()

    def next(self, timestamp: int) -> EventPacket | None:
        """What to send in the frame that begins at ``timestamp``; ``None``: the sound."""
        if self._wait > 0:
            self._wait -= FRAME
            return None
        if not self._queue:
            return None
        event, length, pause = self._queue[0]
        if self._begun == 0:
            self._segment, self._timestamp = 0, timestamp
        first = self._begun == 0
        self._begun = min(self._begun + FRAME, length)
        if self._begun - self._segment > LONGEST:
            # RFC 4733 2.5.1.3: the longest duration, without E; the next packet begins a segment at its end.
            packet = EventPacket(PAYLOAD.pack(event, VOLUME, LONGEST), self._timestamp, first, 0)
            self._segment += LONGEST
            self._timestamp = (self._timestamp + LONGEST) & 0xFFFFFFFF
            return packet
        ended = self._begun == length
        payload = PAYLOAD.pack(event, VOLUME | (END if ended else 0), self._begun - self._segment)
        packet = EventPacket(payload, self._timestamp, first, 2 if ended else 0)
        if ended:
            self._queue.popleft()
            self._begun = 0
            self._wait = pause
        return packet

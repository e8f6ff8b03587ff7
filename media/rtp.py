"""RTP packets (RFC 3550 5): one at a time for whatever is out of the ordinary, in columns for all others.

:func:`parse` understands every legal packet. :class:`Columns` looks at a matrix whose rows begin with a
plain 12-byte header, which is how nearly all packets of a telephone call look, and reads or writes the
fields of many of them at once.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from media.frames import Octets

HEADER = struct.Struct("!BBHII")
HEADER_SIZE = HEADER.size
VERSION = 2
PLAIN = VERSION << 6
"""First octet without padding, extension or contributing sources."""

MARKER = 0x80
COMFORT_NOISE = 13
"""RFC 3389: sent instead of silence; tells that the far end is still there."""


class Malformed(ValueError):
    """Not an RTP or RTCP packet; counted and dropped."""


class Packet(NamedTuple):
    """An RTP packet; ``payload`` is a view of the datagram, without padding."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: memoryview


def parse(data: memoryview | bytes) -> Packet:
    """Understand one datagram. Raises :class:`Malformed`."""
    size = len(data)
    if size < HEADER_SIZE:
        raise Malformed("shorter than a header")
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
    if first >> 6 != VERSION:
        raise Malformed("not version 2")
    start = HEADER_SIZE + 4 * (first & 15)
    if first & 0x10:  # RFC 3550 5.3.1: profile (16 bits), length in words (16 bits)
        if size < start + 4:
            raise Malformed("extension cut off")
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    end = size
    if first & 0x20:  # RFC 3550 5.1: the last octet counts the padding, itself included
        padding = data[size - 1]
        if padding == 0:
            raise Malformed("padding of no octets")
        end -= padding
    if end < start:
        raise Malformed("header longer than the packet")
    return Packet(second & 0x7F, second >= MARKER, sequence, timestamp, ssrc, memoryview(data)[start:end])


def is_rtcp(data: memoryview | bytes) -> bool:
    """Whether a datagram on an RTP port is RTCP all the same (RFC 5761 4: packet types 192 to 223)."""
    return len(data) >= 2 and 192 <= data[1] <= 223


def sequence_delta(later: int, earlier: int) -> int:
    """``later - earlier`` in serial arithmetic modulo 2 ** 16: -32768 to 32767."""
    return ((later - earlier + 0x8000) & 0xFFFF) - 0x8000


def timestamp_delta(later: int, earlier: int) -> int:
    """``later - earlier`` in serial arithmetic modulo 2 ** 32."""
    return ((later - earlier + 0x80000000) & 0xFFFFFFFF) - 0x80000000


class Columns:
    """The header fields of packets that lie in the rows of a matrix, as writable arrays in network order."""

    def __init__(self, rows: Octets) -> None:
        self.first: Octets = rows[:, 0]
        self.second: Octets = rows[:, 1]
        self.sequence: NDArray[np.uint16] = rows[:, 2:4].view(">u2")[:, 0]
        self.timestamp: NDArray[np.uint32] = rows[:, 4:8].view(">u4")[:, 0]
        self.ssrc: NDArray[np.uint32] = rows[:, 8:12].view(">u4")[:, 0]

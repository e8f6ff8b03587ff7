"""Files of captured packets: RTP and RTCP of one stream as it was sent and received, with times and addresses.

A file is a row of records, :data:`HEAD` and as many octets as it says. Records of the kind :data:`WAY` are JSON
(:class:`Way`) and say between which addresses the packets with their number went that follow; :data:`END`
(:class:`End`) is the last one. What a kill cut short is left out by :func:`read`. What was encrypted (SRTP) is in it
decrypted.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import IO, NamedTuple

import msgspec

from media.latch import Address
from media.reports import CaptureEnd

SUFFIX = ".rtp"
"""How the names of files end."""

HEAD = struct.Struct("<BBHd")
"""Kind, number of the way, octets that follow, seconds since the epoch."""

WAY, RECEIVED, SENT, END = range(4)

DISORDER = 1.0
"""Seconds by which a packet may lie behind one that came later: what comes in is taken with the ticks of the worker,
and has the time at which the kernel got it.
"""


class Way(msgspec.Struct, frozen=True):
    """Where packets came from or went to, and what of them is understood: the payload types of telephone-events, and
    the codec of dynamic ones. ``control``: they are RTCP.
    """

    local: Address
    remote: Address
    control: bool = False
    events: tuple[int, ...] = ()
    codec: str = ""


class End(msgspec.Struct, frozen=True):
    """Why there are no more packets: the stream was ``closed``, ``limit`` octets were reached, or the disk ``failed``.
    ``lost``: packets that there was no time to write.
    """

    why: CaptureEnd
    lost: int = 0


class Packet(NamedTuple):
    """One packet: ``at`` in seconds since the epoch, when the kernel got it, or when it was handed to the kernel."""

    at: float
    kind: int
    way: Way
    data: bytes


_ways = msgspec.json.Decoder(Way)
_ends = msgspec.json.Decoder(End)


def record(kind: int, way: int, at: float, data: bytes | memoryview) -> bytes:
    """The octets of a record."""
    return HEAD.pack(kind, way, len(data), at) + data


def read(file: IO[bytes], ended: Callable[[End], None] = lambda end: None) -> Iterator[Packet]:
    """The packets of a file, about in order of time (:func:`in_order`), up to where it ends or was cut short."""
    ways: dict[int, Way] = {}
    while len(head := file.read(HEAD.size)) == HEAD.size:
        kind, number, length, at = HEAD.unpack(head)
        data = file.read(length)
        if len(data) < length:
            return
        try:
            match kind:
                case 0:
                    ways[number] = _ways.decode(data)
                case 1 | 2:
                    yield Packet(at, kind, ways[number], data)
                case 3:
                    ended(_ends.decode(data))
                case _:
                    return
        except (msgspec.MsgspecError, KeyError):
            return


def in_order(packets: Iterable[Packet], disorder: float = DISORDER) -> Iterator[Packet]:
    """``packets`` by time, of which none lies further than ``disorder`` behind a later one."""
    waiting: list[tuple[float, int, Packet]] = []
    for number, packet in enumerate(packets):
        heapq.heappush(waiting, (packet.at, number, packet))
        while waiting[0][0] < packet.at - disorder:
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]

"""A call as a capture file (the classic libpcap format), with IP and UDP or TCP headers made for what is in it.

The SIP messages are those that the daemon handled, not the packets of the wire: each is one packet, what travelled over
TLS too, and of a retransmission there is what was seen of it. RTP and RTCP packets are those of the wire, but
decrypted. Keys of SRTP, digits pressed by INFO, and those pressed in secret (:mod:`engine.captures.secrets`) are not in
it.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import merge

from engine.transport.tap import Seen
from media.latch import Address
from media.packetlog import RECEIVED, Packet

_MAGIC, _RAW = 0xA1B2C3D4, 101
"""Microseconds; LINKTYPE_RAW: each packet begins with an IP header."""

_LONGEST = 65_000
_UDP, _TCP = 17, 6
_SIGNAL = re.compile(rb"(?im)^(\s*signal\s*=\s*)[0-9A-D*#]+")
_DTMF = re.compile(rb"(?i)content-type[ \t]*:[ \t]*application/dtmf(-relay)?[ \t]*(;|\r?\n)")


def without_digits(data: bytes) -> bytes:
    """``data`` with an asterisk for every key in the body of an INFO (``application/dtmf``, ``…/dtmf-relay``)."""
    head, blank, body = data.partition(b"\r\n\r\n")
    if not body or _DTMF.search(head + b"\r\n") is None:
        return data
    hidden = _SIGNAL.sub(rb"\1*", body)
    return head + blank + (hidden if hidden != body else b"*" * len(body))


@dataclass(slots=True)
class _Streams:
    """Where each direction of each TCP connection stands, in octets."""

    sent: dict[tuple[Address, Address], int] = field(default_factory=dict)


def pcap(messages: Iterable[Seen], *streams: Iterable[Packet]) -> Iterator[bytes]:
    """The capture of ``messages``, and of ``streams`` whose packets come in order, by time: piece by piece."""
    flows = _Streams()
    yield struct.pack("<IHHiIII", _MAGIC, 2, 4, 0, 0, 0xFFFF, _RAW)
    said: Iterable[Seen | Packet] = sorted(messages, key=_at)
    for each in merge(said, *streams, key=_at):
        packet = _media(each) if isinstance(each, Packet) else _message(each, flows)
        seconds, micros = divmod(round(each.at * 1_000_000), 1_000_000)
        yield struct.pack("<IIII", seconds, micros, len(packet), len(packet))
        yield packet


def _at(each: Seen | Packet) -> float:
    return each.at


def _media(packet: Packet) -> bytes:
    way = packet.way
    source, target = (way.remote, way.local) if packet.kind == RECEIVED else (way.local, way.remote)
    return _datagram(source, target, packet.data)


def _message(seen: Seen, streams: _Streams) -> bytes:
    local, remote = seen.flow.local, seen.flow.remote
    source, target = (remote, local) if seen.direction == "in" else (local, remote)
    data = without_digits(seen.data)[:_LONGEST]
    if seen.flow.transport == "udp":
        return _datagram(source, target, data)
    place, other = streams.sent.get((source, target), 1), streams.sent.get((target, source), 1)
    streams.sent[source, target] = place + len(data)
    flags = 5 << 12 | 0x18  # PSH, ACK
    head = struct.pack("!HHIIHHHH", source[1], target[1], place & 0xFFFFFFFF, other & 0xFFFFFFFF, flags, 65_535, 0, 0)
    return _packet(source[0], target[0], _TCP, head, data)


def _datagram(source: Address, target: Address, data: bytes) -> bytes:
    data = data[:_LONGEST]
    return _packet(source[0], target[0], _UDP, struct.pack("!HHHH", source[1], target[1], 8 + len(data), 0), data)


def _packet(source: str, target: str, protocol: int, head: bytes, data: bytes) -> bytes:
    """``head`` and ``data`` with their checksum and an IP header."""
    version, ends = _ends(source, target)
    length = len(head) + len(data)
    pseudo = ends + struct.pack("!HBBH" if version == 4 else "!IHBB", *_pseudo(version, protocol, length))
    offset = 6 if protocol == _UDP else 16
    sum_ = checksum(pseudo + head + data) or 0xFFFF
    head = head[:offset] + struct.pack("!H", sum_) + head[offset + 2 :]
    if version == 6:
        return struct.pack("!IHBB", 6 << 28, length, protocol, 64) + ends + head + data
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, protocol, 0) + ends
    return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + head + data


def _pseudo(version: int, protocol: int, length: int) -> tuple[int, ...]:
    """What the checksum takes in of the IP header: RFC 768, RFC 9293 section 3.1, RFC 8200 section 8.1."""
    return (0, 0, protocol, length) if version == 4 else (length, 0, 0, protocol)


@lru_cache(maxsize=256)
def _ends(source: str, target: str) -> tuple[int, bytes]:
    """The version of IP, and both addresses. A name is not known as an address here: it is 0.0.0.0."""
    found = [_address(source), _address(target)]
    if any(each.version == 6 for each in found):
        return 6, b"".join(
            each.packed if each.version == 6 else b"\0" * 10 + b"\xff\xff" + each.packed for each in found
        )
    return 4, b"".join(each.packed for each in found)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ipaddress.IPv4Address(0)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071). A sum of 16-bit words in one's complement is what is left modulo 2^16 - 1."""
    number = int.from_bytes(data + b"\0" if len(data) % 2 else data)
    return 0xFFFF - (number % 0xFFFF or (0xFFFF if number else 0))

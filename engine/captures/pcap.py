"""SIP messages as a capture file (the classic libpcap format), with IP and UDP or TCP headers made for them.

The messages are those that the daemon handled, not the packets of the wire: each is one packet, what travelled over
TLS too, and of a retransmission there is what was seen of it. Keys and pressed digits are not in them.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.transport.tap import Seen

_MAGIC, _RAW = 0xA1B2C3D4, 101
"""Microseconds; LINKTYPE_RAW: each packet begins with an IP header."""

_LONGEST = 65_000
_UDP, _TCP = 17, 6
_SIGNAL = re.compile(rb"(?im)^(\s*signal\s*=\s*)[0-9A-D*#]+")
_DTMF = re.compile(rb"(?i)content-type[ \t]*:[ \t]*application/dtmf(-relay)?[ \t]*(;|\r?\n)")

Address = tuple[str, int]


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


def pcap(messages: Iterable[Seen]) -> bytes:
    """The capture of ``messages``, by time."""
    streams = _Streams()
    out = [struct.pack("<IHHiIII", _MAGIC, 2, 4, 0, 0, 0xFFFF, _RAW)]
    for seen in sorted(messages, key=lambda each: each.at):
        packet = _packet(seen, without_digits(seen.data), streams)
        seconds, micros = divmod(round(seen.at * 1_000_000), 1_000_000)
        out.append(struct.pack("<IIII", seconds, micros, len(packet), len(packet)))
        out.append(packet)
    return b"".join(out)


def _packet(seen: Seen, data: bytes, streams: _Streams) -> bytes:
    local, remote = seen.flow.local, seen.flow.remote
    source, target = (remote, local) if seen.direction == "in" else (local, remote)
    version, ends = _ends(source[0], target[0])
    data = data[:_LONGEST]
    if seen.flow.transport == "udp":
        protocol = _UDP
        head = struct.pack("!HHHH", source[1], target[1], 8 + len(data), 0)
    else:
        protocol = _TCP
        place, other = streams.sent.get((source, target), 1), streams.sent.get((target, source), 1)
        streams.sent[source, target] = place + len(data)
        flags = 5 << 12 | 0x18  # PSH, ACK
        head = struct.pack(
            "!HHIIHHHH", source[1], target[1], place & 0xFFFFFFFF, other & 0xFFFFFFFF, flags, 65_535, 0, 0
        )
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
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return socket.ntohs(socket.htons(~total & 0xFFFF))

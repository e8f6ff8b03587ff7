"""Captures as the daemon hands them out, read by a reader that shares no code with it."""

from __future__ import annotations

import io
import ipaddress
import json
import struct
import urllib.request
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from kit import sound
from kit.api import first_token
from kit.daemon import Daemon
from kit.sound import Samples

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Datagram:
    """A packet of a capture file: UDP, or one segment of TCP."""

    at: float
    source: Address
    target: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class Rtp:
    """An RTP packet of a capture file; without padding, extension and contributing sources."""

    at: float
    source: Address
    target: Address
    kind: int
    sequence: int
    timestamp: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture of a call: its packets, and its other documents by name."""

    datagrams: list[Datagram]
    about: dict[str, Any]
    record: dict[str, Any]

    def rtp(self, *, to: int = 0, source: int = 0) -> list[Rtp]:
        """RTP that went to a port, or came from it."""
        chosen = [
            each
            for each in self.datagrams
            if (not to or each.target[1] == to) and (not source or each.source[1] == source)
        ]
        return [_rtp(each) for each in chosen if each.data[0] >> 6 == 2 and not 192 <= each.data[1] <= 223]

    def ports(self) -> list[int]:
        """Our RTP ports, of legs that had any."""
        ways = [way for stream in self.about["streams"] for way in stream["ways"] if way["kind"] == "rtp"]
        return sorted({int(way["local"].rpartition(":")[2]) for way in ways})

    def says(self, text: bytes) -> bool:
        return any(text in each.data for each in self.datagrams)


def fetch(daemon: Daemon, call: str) -> Capture:
    """The capture of a call, over HTTP."""
    request = urllib.request.Request(f"http://127.0.0.1:{daemon.http_port}/api/v1/calls/{call}/capture")
    request.add_header("Authorization", f"Bearer {first_token(daemon)}")
    with urllib.request.urlopen(request, timeout=20) as answer:
        data = answer.read()
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert file.testzip() is None
        packets = file.read("call.pcap")
        return Capture(read_pcap(packets), json.loads(file.read("capture.json")), json.loads(file.read("record.json")))


def read_pcap(data: bytes) -> list[Datagram]:
    """The packets of a file of raw IP, which are in order of time."""
    magic, major, minor, _, _, _, link = struct.unpack_from("<IHHiIII", data)
    assert (magic, major, minor, link) == (0xA1B2C3D4, 2, 4, 101)
    found, place = [], 24
    while place < len(data):
        seconds, micros, length, whole = struct.unpack_from("<IIII", data, place)
        assert length == whole
        found.append(_datagram(seconds + micros / 1e6, data[place + 16 : place + 16 + length]))
        place += 16 + length
    assert [each.at for each in found] == sorted(each.at for each in found)
    return found


def _datagram(at: float, packet: bytes) -> Datagram:
    if packet[0] >> 4 == 6:
        protocol, source, target, start = packet[6], packet[8:24], packet[24:40], 40
    else:
        protocol, source, target, start = packet[9], packet[12:16], packet[16:20], 20
    near, far = struct.unpack_from("!HH", packet, start)
    head = 8 if protocol == 17 else (packet[start + 12] >> 4) * 4
    addresses = [str(ipaddress.ip_address(each)) for each in (source, target)]
    return Datagram(at, (addresses[0], near), (addresses[1], far), packet[start + head :])


def _rtp(packet: Datagram) -> Rtp:
    _, second, sequence, timestamp, _ = struct.unpack_from("!BBHII", packet.data)
    return Rtp(packet.at, packet.source, packet.target, second & 0x7F, sequence, timestamp, packet.data[12:])


def keys(packets: list[Rtp], event_type: int = 101) -> list[int]:
    """The events among ``packets``, one for each time that a key was pressed."""
    pressed = {each.timestamp: each.payload[0] for each in packets if each.kind == event_type}
    return list(pressed.values())


def heard(packets: list[Rtp], begin: float = 0.0, end: float = float("inf")) -> Samples:
    """The PCMU sound of what is between two times, by sequence numbers."""
    chosen = [each for each in packets if each.kind == 0 and begin <= each.at <= end]
    return np.concatenate([sound.silence(0), *(sound.from_ulaw(each.payload) for each in chosen)])

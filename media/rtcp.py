"""RTCP packets (RFC 3550 6.4 to 6.6): understood and made, without sockets or clock."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from media.reception import Block
from media.rtp import Malformed

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
BYE = 203
CNAME = 1
NTP_EPOCH = 2208988800
"""Seconds from 1900 to 1970."""

_HEADER = struct.Struct("!BBH")
_SENDER = struct.Struct("!QIII")
_BLOCK = struct.Struct("!IIIIII")
_VERSION_2 = 0x80


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What somebody received from ``ssrc``; times in units of 1/65536 s, jitter in timestamp units."""

    ssrc: int
    fraction_lost: int
    cumulative_lost: int
    highest: int
    jitter: int
    last_report: int
    delay: int


@dataclass(frozen=True, slots=True)
class Report:
    """A sender report, or with ``ntp`` None a receiver report."""

    ssrc: int
    ntp: int | None
    blocks: tuple[ReportBlock, ...]


def parse(data: bytes) -> list[Report]:
    """The reports of a compound packet; what is of other types is passed over. Raises :class:`Malformed`."""
    reports: list[Report] = []
    position = 0
    while position < len(data):
        if len(data) - position < _HEADER.size:
            raise Malformed("RTCP header cut off")
        first, kind, words = _HEADER.unpack_from(data, position)
        end = position + 4 + 4 * words
        if first >> 6 != 2 or end > len(data):
            raise Malformed("not an RTCP packet")
        if position == 0 and kind not in (SENDER_REPORT, RECEIVER_REPORT):
            raise Malformed("a compound packet begins with a report")  # RFC 3550 6.1
        if kind in (SENDER_REPORT, RECEIVER_REPORT):
            reports.append(_parse_report(data[position + 4 : end], first & 31, sender=kind == SENDER_REPORT))
        position = end
    return reports


def _parse_report(body: bytes, count: int, *, sender: bool) -> Report:
    start = 4 + (_SENDER.size if sender else 0)
    if len(body) < start + count * _BLOCK.size:
        raise Malformed("report cut off")
    ssrc = int.from_bytes(body[:4], "big")
    ntp = _SENDER.unpack_from(body, 4)[0] if sender else None
    blocks = []
    for index in range(count):
        source, lost, highest, jitter, last, delay = _BLOCK.unpack_from(body, start + index * _BLOCK.size)
        cumulative = ((lost & 0xFFFFFF) ^ 0x800000) - 0x800000
        blocks.append(ReportBlock(source, lost >> 24, cumulative, highest, jitter, last, delay))
    return Report(ssrc, ntp, tuple(blocks))


def ntp(wall: float) -> int:
    """Seconds since 1970 as a 64-bit NTP timestamp (RFC 3550 4)."""
    return int((wall + NTP_EPOCH) * 2**32) & (2**64 - 1)


def middle(timestamp: int) -> int:
    """The middle 32 bits of an NTP timestamp, in which reports refer to each other."""
    return timestamp >> 16 & 0xFFFFFFFF


def report(
    ssrc: int, *, sender: tuple[int, int, int, int] | None, about: tuple[int, Block, int, int] | None, cname: str
) -> bytes:
    """A compound packet: report and CNAME.

    ``sender``: NTP time, RTP timestamp, packets and octets sent, or ``None`` for a receiver report. ``about``: the
    peer's SSRC, what came from it, and the LSR and DLSR fields.
    """
    blocks = b""
    if about is not None:
        source, block, last, delay = about
        lost = block.fraction_lost << 24 | block.cumulative_lost & 0xFFFFFF
        blocks = _BLOCK.pack(source, lost, block.highest, block.jitter, last, min(delay, 0xFFFFFFFF))
    body = ssrc.to_bytes(4, "big") + (_SENDER.pack(*sender) if sender is not None else b"") + blocks
    kind = RECEIVER_REPORT if sender is None else SENDER_REPORT
    head = _HEADER.pack(_VERSION_2 | (about is not None), kind, len(body) // 4)
    return head + body + _description(ssrc, cname)


def _description(ssrc: int, cname: str) -> bytes:
    """RFC 3550 6.5: a chunk ends with one to four zero octets."""
    name = cname.encode()[:255]
    chunk = ssrc.to_bytes(4, "big") + bytes([CNAME, len(name)]) + name
    chunk += bytes(4 - len(chunk) % 4)
    return _HEADER.pack(_VERSION_2 | 1, SOURCE_DESCRIPTION, len(chunk) // 4) + chunk


def bye(ssrc: int) -> bytes:
    """The packet that says that ``ssrc`` is leaving; to be appended to a report."""
    return _HEADER.pack(_VERSION_2 | 1, BYE, 1) + ssrc.to_bytes(4, "big")

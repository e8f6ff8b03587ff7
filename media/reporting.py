"""The RTCP side of one stream: when to report, what the other side reported. No sockets, no clock."""

from __future__ import annotations

from random import Random

from media import rtcp
from media.rates import RATE
from media.reception import Block

INTERVAL = 5.0
"""Mean seconds between reports (RFC 3550 6.2), spread over half to one and a half of it."""

_UNITS = 65536
_DAY = 86400.0


class Reporter:
    """Reports of one stream, whose own source is ``ssrc``. ``wall`` is the wall clock minus the monotonic one."""

    __slots__ = (
        "_last_report",
        "_last_report_at",
        "_last_report_of",
        "_random",
        "_ssrc",
        "_wall",
        "due",
        "remote_jitter",
        "remote_lost",
        "round_trip",
    )

    def __init__(self, random: Random, ssrc: int, wall: float, now: float) -> None:
        self.remote_lost = 0
        self.remote_jitter = -1.0  # ms
        self.round_trip = -1.0  # ms
        self._random = random
        self._ssrc = ssrc
        self._wall = wall
        self._last_report = 0
        self._last_report_of = 0
        self._last_report_at = 0.0
        self.due = now + INTERVAL / 2 * random.uniform(0.5, 1.5)  # RFC 3550 6.2: the first one sooner

    def receive(self, data: bytes, now: float) -> None:
        """Take in a compound packet. Raises :class:`~media.rtp.Malformed`."""
        for report in rtcp.parse(data):
            if report.ntp is not None:
                self._last_report_of = report.ssrc
                self._last_report, self._last_report_at = rtcp.middle(report.ntp), now
            for block in report.blocks:
                if block.ssrc == self._ssrc:
                    self._note(block, now)

    def _note(self, block: rtcp.ReportBlock, now: float) -> None:
        self.remote_lost = max(0, block.cumulative_lost)
        self.remote_jitter = block.jitter * 1000 / RATE
        if block.last_report:  # RFC 3550 6.4.1: A - LSR - DLSR
            trip = (rtcp.middle(rtcp.ntp(now + self._wall)) - block.last_report - block.delay) & 0xFFFFFFFF
            if trip < 60 * _UNITS:
                self.round_trip = trip * 1000 / _UNITS

    def compose(
        self, now: float, *, sent: tuple[int, int, int] | None, peer: tuple[int, Block] | None, cname: str
    ) -> bytes:
        """The report that is due. ``sent``: RTP timestamp, packets, octets, if any since the last report. ``peer``:
        the source that is listened to, and what came from it.
        """
        self.due = now + INTERVAL * self._random.uniform(0.5, 1.5)
        about = None
        if peer is not None:
            # RFC 3550 6.4.1: LSR and DLSR are about the last report of that very source; zero before its first.
            last = self._last_report if self._last_report_of == peer[0] else 0
            delay = int(min(now - self._last_report_at, _DAY) * _UNITS) if last else 0
            about = (*peer, last, delay)
        sender = None
        if sent is not None:
            timestamp, packets, octets = sent
            sender = (rtcp.ntp(now + self._wall), timestamp, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF)
        return rtcp.report(self._ssrc, sender=sender, about=about, cname=cname)

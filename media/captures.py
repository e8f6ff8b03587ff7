"""Captures: the packets of streams of which somebody wants them, on their way from a worker to its writer.

A stream whose capture is off has no entry in :attr:`Captures.by_slot`: as long as that is empty, a batch of packets
costs one look at it. The others' packets are collected, and handed to the writer process about once a second. When it
does not take them, they are lost and counted; nothing waits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import numpy as np

from media import packetlog
from media.commands import Capture
from media.frames import Flags, Slots
from media.latch import Address
from media.reports import Captured, CaptureEnd, Report
from media.sockets import Sockets
from media.stream import Stream
from media.writer import Append, Appended

BATCH = 32 * 1024
"""Octets after which what was collected of a stream goes to the writer."""

EVERY = 1.0
"""Seconds after which it goes at the latest, with the next packet: what a kill may cost."""

MOST_PENDING = 4 * 1024 * 1024
"""Octets that the writer may lie behind; what comes then is lost."""

MOST_WAYS = 64
"""Pairs of addresses of one stream; packets from more than these are left out."""


class Scribe(Protocol):
    """What is needed of :class:`media.scribe.Scribe`."""

    @property
    def pending(self) -> int:
        """Octets that the writer has not taken."""

    def send(self, message: Append) -> bool:
        """Hand over; false when there is no writer."""


@dataclass(slots=True)
class _Budget:
    """Octets that the streams of one call may still take, and how many of them there are."""

    left: int
    streams: int = 0


@dataclass(slots=True)
class _Log:
    """The capture of one stream."""

    about: Capture
    stream: Stream
    budget: _Budget
    path: str
    collected: bytearray = field(default_factory=bytearray)
    packets: int = 0
    due: float = 0.0
    ways: dict[tuple[Address, bool], int] = field(default_factory=dict)
    octets: int = 0
    lost: int = 0


class Captures:
    """Those of a worker's streams. ``by_slot`` has what is captured; ``reports`` gets the end of each."""

    def __init__(self, sockets: Sockets, scribe: Scribe, reports: list[Report]) -> None:
        self.by_slot: dict[int, _Log] = {}
        self.reports = reports
        self._on: Flags = np.zeros(sockets.capacity, np.bool_)
        self._sockets = sockets
        self._scribe = scribe
        self._budgets: dict[str, _Budget] = {}
        self._closing: dict[str, Captured] = {}
        self._writers = 1

    @property
    def idle(self) -> bool:
        """Whether nothing is captured or being completed."""
        return not self.by_slot and not self._closing

    def start(self, stream: Stream, about: Capture) -> None:
        """Capture ``stream`` from now on, instead of what was captured of it."""
        self.stop(stream.slot)
        budget = self._budgets.setdefault(about.call, _Budget(about.limit))
        budget.streams += 1
        log = self.by_slot[stream.slot] = _Log(about, stream, budget, about.path)
        if (before := self._closing.pop(about.path, None)) is not None:  # it goes on
            log.octets = before.octets
            budget.left -= before.octets
        self._on[stream.slot] = True
        self._sockets.stamp(stream.slot, on=True)

    def stop(self, slot: int, why: CaptureEnd = "closed", reason: str = "") -> None:
        """Capture it no longer; :class:`~media.reports.Captured` follows when the file is complete."""
        log = self.by_slot.pop(slot, None)
        if log is None:
            return
        self._on[slot] = False
        self._sockets.stamp(slot, on=False)
        log.budget.streams -= 1
        if not log.budget.streams:
            self._budgets.pop(log.about.call, None)
        end = msgspec.json.encode(packetlog.End(why, log.lost))
        log.collected += packetlog.record(packetlog.END, 0, time.time(), end)
        ended = Captured(log.about.stream, log.about.call, log.octets, why, reason)
        if why == "failed":
            self.reports.append(ended)
        elif self._scribe.send(Append(log.path, bytes(log.collected), last=True)):
            self._closing[log.path] = ended
        else:
            self.reports.append(msgspec.structs.replace(ended, why="failed", reason="there is no writer"))

    def changed(self, slot: int) -> None:
        """What SDP agreed on, or where the stream is bound, is another: it is told anew with the next packet."""
        if (log := self.by_slot.get(slot)) is not None:
            log.ways.clear()

    def written(self, appended: Appended) -> None:
        """The writer is done with a file, or the disk refuses."""
        if (ended := self._closing.pop(appended.path, None)) is not None:
            why: CaptureEnd = "failed" if appended.reason else ended.why
            self.reports.append(msgspec.structs.replace(ended, why=why, reason=appended.reason))
        elif appended.reason:
            for slot, log in list(self.by_slot.items()):
                if log.path == appended.path:
                    self.stop(slot, "failed", appended.reason)

    def writer_lost(self) -> None:
        """It is another one from now on, which goes on in other files: the last records of those may be cut off."""
        for ended in self._closing.values():
            self.reports.append(msgspec.structs.replace(ended, why="failed", reason="the writer died"))
        self._closing.clear()
        self._writers += 1
        for log in self.by_slot.values():
            log.path = f"{log.about.path.removesuffix(packetlog.SUFFIX)}-{self._writers}{packetlog.SUFFIX}"
            log.ways.clear()

    # --- packets ------------------------------------------------------------------------

    def received(self, slots: Slots, places: Slots, lengths: Slots) -> None:
        """Packets of a round, one for each of ``slots``, in the rows ``places`` of the sockets."""
        sockets, now = self._sockets, time.time()
        for index in np.flatnonzero(self._on[slots]).tolist():
            slot, row = int(slots[index]), int(places[index])
            log = self.by_slot.get(slot)
            source = sockets.sources.get(row) or (log.stream.latch.source if log is not None else None)
            if log is not None and source is not None:
                at = float(sockets.stamps[row])
                at = at if at == at else now  # NaN: the kernel did not tell
                self._put(log, packetlog.RECEIVED, source, at, sockets.rows[row, : lengths[index]].tobytes())

    def sent(self, slots: Slots, refused: list[int]) -> None:
        """The rows of ``slots`` have been sent, but for those that the kernel ``refused``."""
        now = time.time()
        for slot in slots[self._on[slots]].tolist():
            if slot not in refused:
                self._sent(slot, now, self._sockets.out[slot].tobytes())

    def sent_one(self, slot: int, packet: bytes) -> None:
        """A packet of its own has."""
        self._sent(slot, time.time(), packet)

    def _sent(self, slot: int, at: float, packet: bytes) -> None:
        log = self.by_slot.get(slot)
        if log is not None and (peer := log.stream.peer) is not None:
            self._put(log, packetlog.SENT, peer, at, packet)

    def control(self, slot: int, packet: bytes, remote: Address, *, sent: bool) -> None:
        """RTCP that came from ``remote``, or has been sent there, on the port beside that of RTP."""
        log = self.by_slot.get(slot)
        if log is not None:
            self._put(log, packetlog.SENT if sent else packetlog.RECEIVED, remote, time.time(), packet, control=True)

    def _put(self, log: _Log, kind: int, remote: Address, at: float, packet: bytes, *, control: bool = False) -> None:
        way = log.ways.get((remote, control))
        about = b""
        if way is None:
            if len(log.ways) >= MOST_WAYS:
                return
            way = len(log.ways)
            about = packetlog.record(packetlog.WAY, way, at, msgspec.json.encode(self._way(log, remote, control)))
        size = len(about) + packetlog.HEAD.size + len(packet)
        if log.budget.left < size:
            self.stop(log.stream.slot, "limit")
            return
        log.budget.left -= size
        log.octets += size
        log.ways[remote, control] = way
        if not log.collected:
            log.due = at + EVERY
        log.packets += 1
        log.collected += about + packetlog.record(kind, way, at, packet)
        if len(log.collected) >= BATCH or at >= log.due:
            self._hand_over(log)

    def _way(self, log: _Log, remote: Address, control: bool) -> packetlog.Way:  # noqa: FBT001 - a part of the key
        stream = log.stream
        local = self._sockets.local(stream.slot, remote, control=control)
        return packetlog.Way(local, remote, control, tuple(sorted(stream.event_types)), stream.codec.name)

    def _hand_over(self, log: _Log) -> None:
        message = Append(log.path, bytes(log.collected))
        if self._scribe.pending > MOST_PENDING or not self._scribe.send(message):
            log.lost += log.packets
            log.ways.clear()  # perhaps the writer has never heard of them
        log.collected.clear()
        log.packets = 0

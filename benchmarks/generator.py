"""The far ends of all streams: one process that sends what callers say, and keeps what comes back.

Packets leave on eight phases of the 20 ms, one socket and one ``sendmmsg`` for each; the socket of the opposite
phase is emptied at the same time. Nothing is judged while it runs: headers, times and the payloads of some streams
are put down, and :mod:`benchmarks.checks` looks at them afterwards.
"""

from __future__ import annotations

import gc
import itertools
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks import checks
from benchmarks.callers import PERIOD, Schedule, make_bank
from benchmarks.helpers import Helper
from benchmarks.mmsg import Batch, datagram_socket, kernel_drops
from media import g711
from media.g711 import Law
from media.process import raise_priority
from media.rates import FRAME, FRAME_SECONDS

PHASES = 8
PHASE_SECONDS = FRAME_SECONDS / PHASES
BUFFER = 16 * 1024 * 1024
PACKET = 12 + FRAME
REPORT_FRAMES = 250
"""Frames from one RTCP report of a stream to the next: 5 s (RFC 3550 6.2)."""

_REPORT = struct.Struct("!BBHIQIII BBHI BB6s")
_PATIENCE = 60.0

Source = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Expected:
    """What ``stream`` should hear: in each loud second one of ``sources``, looped."""

    stream: int
    sources: list[Source]
    threshold: float = 0.9
    pauses: bool = False
    """Whether the sources have pauses of more than a second."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``schedule``: rows of the bank by stream and frame. ``seconds``: the longest time that is put down.

    Packets belong to the stream from whose port they come, or, when one socket sends all, whose number is their SSRC.
    """

    schedule: Schedule
    seconds: float
    expected: list[Expected] = field(default_factory=list)
    told_apart_by: Literal["port", "ssrc"] = "port"


@dataclass(frozen=True, slots=True)
class Heard:
    """The generator's account of the time that was put down."""

    reception: checks.Reception
    sent: int
    keys: int
    kernel_drops: int
    late_ms_p99: float
    """How late its own packets left."""
    late_ms_max: float


class Generator(Helper):
    """The process seen from outside."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("the load generator", _run, (plan,), patience=_PATIENCE)
        self._ports: list[int] = self.answer()

    def port(self, stream: int) -> int:
        """Where the packets of ``stream`` (0, 1, …) should go."""
        return self._ports[stream % PHASES]

    @property
    def control_port(self) -> int:
        """Where the RTCP packets of all streams should go."""
        return self._ports[PHASES]

    def start(self, ports: Sequence[int]) -> None:
        """Send, to ``ports`` of 127.0.0.1, by stream."""
        self.pipe.send(list(ports))

    def mark(self) -> None:
        """Put down what comes from now on."""
        self.pipe.send("mark")

    def stop(self) -> Heard:
        """Send no more; what was heard since :meth:`mark`."""
        self.pipe.send("stop")
        heard: Heard = self.answer()
        return heard


def _run(pipe: Connection, plan: Plan) -> None:
    raise_priority()  # as media workers do
    try:
        _FarEnds(pipe, plan).run()
    except Exception as error:  # noqa: BLE001 - whoever waits for an answer gets this one
        pipe.send(RuntimeError(f"the load generator died: {type(error).__name__}: {error}"))


class _Phase:
    """The streams of one phase: their packets, of which headers are brought up to date and payloads copied in."""

    def __init__(self, streams: NDArray[np.intp], schedule: Schedule) -> None:
        self.streams = streams
        self.socket = datagram_socket(buffer=BUFFER, timestamps=True)
        self.batch = Batch(max(1, streams.size), PACKET)
        self.rows: Schedule = np.ascontiguousarray(schedule[streams].T)
        packets = self.batch.packets
        packets[:, 0] = 0x80
        self.sequence = packets[:, 2:4].view(">u2")[:, 0]
        self.timestamp = packets[:, 4:8].view(">u4")[:, 0]
        packets[: streams.size, 8:12].view(">u4")[:, 0] = streams + 1


class _Reports:
    """RTCP: every stream sends a report every 5 s, a little more of them with every frame; what comes is taken in."""

    def __init__(self, streams: int) -> None:
        self.socket = datagram_socket(buffer=BUFFER)
        self._streams = streams
        self._ports: NDArray[np.int64] = np.zeros(streams, np.int64)
        self._batch = Batch(streams // REPORT_FRAMES + 1, _REPORT.size)
        self._incoming = Batch(256, 512)

    def to(self, ports: Sequence[int]) -> None:
        self._ports = np.array(ports) + 1

    def exchange(self, frame: int) -> None:
        batch = self._batch
        chosen = range(frame % REPORT_FRAMES, self._streams, REPORT_FRAMES)
        for row, stream in enumerate(chosen):
            # A sender report without blocks, and who sends it: RFC 3550 6.4.1, 6.5.
            report = (0x80, 200, 6, stream + 1, frame << 32, frame * FRAME, frame, frame * FRAME)
            packet = _REPORT.pack(*report, 0x81, 202, 3, stream + 1, 1, 5, b"bench\0")
            batch.packets[row] = np.frombuffer(packet, np.uint8)
            batch.ports[row] = self._ports[stream]
        batch.send(self.socket, len(chosen))
        while self._incoming.receive(self.socket) == self._incoming.capacity:
            pass


class _FarEnds:
    def __init__(self, pipe: Connection, plan: Plan) -> None:
        self._pipe = pipe
        self._plan = plan
        self._bank = make_bank()
        count = len(plan.schedule)
        self._streams = count
        self._phases = [_Phase(np.arange(phase, count, PHASES), plan.schedule) for phase in range(PHASES)]
        self._reports = _Reports(count)
        self._incoming = Batch(1024, 2048, timed=True)
        rows = self._incoming.packets
        self._in_sequence = rows[:, 2:4].view(">u2")[:, 0]
        self._in_timestamp = rows[:, 4:8].view(">u4")[:, 0]
        self._in_ssrc = rows[:, 8:12].view(">u4")[:, 0]
        self._by_port = np.full(65536, -1, np.int32)
        self._log = checks.Log.of(round((plan.seconds + 2) * 60 * count) + 1024)
        self._logged = 0
        self._logging = False
        self._kept = np.zeros(count, np.bool_)
        self._kept[[each.stream for each in plan.expected]] = True
        self._payloads: list[tuple[NDArray[np.int32], NDArray[np.uint32], NDArray[np.uint8]]] = []
        self._sent = self._keys = 0
        self._late: list[float] = []

    def run(self) -> None:
        sockets = [*(phase.socket for phase in self._phases), self._reports.socket]
        self._pipe.send([sock.getsockname()[1] for sock in sockets])
        try:
            ports = self._pipe.recv()
        except EOFError:  # the case came to an end before it began
            return
        self._by_port[ports] = np.arange(self._streams)
        self._reports.to(ports)
        for phase in self._phases:
            phase.batch.ports[: phase.streams.size] = np.array(ports, np.uint16)[phase.streams]
        gc.disable()
        begun = time.monotonic()
        for step in itertools.count():
            frame, phase = divmod(step, PHASES)
            if phase == 0:
                if not self._go_on():
                    break
                self._reports.exchange(frame)
            due = begun + step * PHASE_SECONDS
            if (left := due - time.monotonic()) > 0:
                time.sleep(left)
            if self._logging:
                self._late.append(time.monotonic() - due)
            self._transmit(self._phases[phase], frame)
            self._receive(self._phases[(phase + PHASES // 2) % PHASES])
        self._pipe.send(self._account())

    def _go_on(self) -> bool:
        """Do what the benchmark says; false when it has heard enough."""
        if self._pipe.poll():
            if self._pipe.recv() == "stop":
                return False
            self._logging = True
            self._drops_before = self._drops()
        return True

    def _transmit(self, phase: _Phase, frame: int) -> None:
        count = phase.streams.size
        if not count:
            return
        bank, batch = self._bank, phase.batch
        rows = phase.rows[frame % PERIOD]
        batch.packets[:, 12:] = bank.payload[rows]
        batch.packets[:, 1] = bank.second[rows]
        batch.lengths[:] = bank.length[rows] + 12
        phase.sequence[:] = frame & 0xFFFF
        phase.timestamp[:] = (np.uint32(frame & 0xFFFFFFFF) - bank.back[rows]) * np.uint32(FRAME)
        sent = batch.send(phase.socket, count)
        if self._logging:
            self._sent += sent
            self._keys += int((bank.second[rows] > 0x80).sum())  # the marker: a key goes down

    def _receive(self, phase: _Phase) -> None:
        while True:
            count = self._incoming.receive(phase.socket)
            if count and self._logging:
                self._put_down(count)
            if count < self._incoming.capacity:
                return

    def _put_down(self, count: int) -> None:
        incoming, log = self._incoming, self._log
        if self._plan.told_apart_by == "port":
            streams = self._by_port[incoming.ports[:count]]
        else:
            ssrc = self._in_ssrc[:count].astype(np.int64) - 1
            streams = np.where(ssrc < self._streams, ssrc, -1).astype(np.int32)
        if self._logged + count > len(log.stream):
            return  # far more than were to come; these count as lost
        place = slice(self._logged, self._logged + count)
        log.stream[place] = streams
        log.sequence[place] = self._in_sequence[:count]
        log.timestamp[place] = self._in_timestamp[:count]
        log.ssrc[place] = self._in_ssrc[:count]
        log.second[place] = incoming.packets[:count, 1]
        log.length[place] = incoming.received_lengths[:count]
        log.arrival[place] = incoming.arrivals(count)
        self._logged += count
        kept = np.flatnonzero(self._kept[streams] & (streams >= 0))
        if kept.size:
            self._payloads.append(
                (streams[kept], self._in_timestamp[kept].astype(np.uint32), incoming.packets[kept, 12:PACKET])
            )

    def _drops(self) -> int:
        return sum(kernel_drops(phase.socket) for phase in self._phases)

    def _account(self) -> Heard:
        log = self._log.first(self._logged)
        known = log.stream >= 0
        if not known.all():
            log = log.only(known)
        reception = checks.examine(log, self._streams)
        reception.sounds = [self._compare(each) for each in self._plan.expected]
        return Heard(
            reception=reception,
            sent=self._sent,
            keys=self._keys,
            kernel_drops=self._drops() - self._drops_before,
            late_ms_p99=1000 * float(np.percentile(self._late, 99)) if self._late else 0.0,
            late_ms_max=1000 * max(self._late, default=0.0),
        )

    def _compare(self, expected: Expected) -> checks.SoundVerdict:
        """The payloads of a stream, laid out by their timestamps, against what it should hear."""
        stamps, payloads = [], []
        for streams, timestamps, rows in self._payloads:
            chosen = streams == expected.stream
            stamps.append(timestamps[chosen])
            payloads.append(rows[chosen])
        times = np.concatenate([*stamps, np.zeros(0, np.uint32)])
        if not times.size:
            return checks.SoundVerdict(expected.stream, 0, 0, 0, 0.0)
        frames = (times - times[0]).astype(np.int32) // FRAME
        inside = (frames >= 0) & (frames < round((self._plan.seconds + 2) * 60))
        codes = np.full((int(frames[inside].max()) + 1, FRAME), 0xFF, np.uint8)
        codes[frames[inside]] = np.concatenate(payloads)[inside]
        present = np.zeros(len(codes), np.bool_)
        present[frames[inside]] = True
        heard = g711.decode(codes, Law.PCMU).reshape(-1)
        return checks.compare(
            expected.stream, heard, expected.sources, expected.threshold, present, pauses=expected.pauses
        )

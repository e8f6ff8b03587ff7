"""The worker as a process, over real loopback sockets."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import struct
import time
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from media import g711, protocol
from media.g711 import Law
from media.ipc import Child

PORTS = "23000-23998"


class Worker:
    def __init__(self) -> None:
        self.reports: asyncio.Queue[protocol.Report] = asyncio.Queue()
        self.kept: list[protocol.Report] = []
        self.child: Child[protocol.Report] = Child(
            "media.worker", protocol.Report, self.reports.put_nowait, arguments=["--ports", PORTS]
        )

    def send(self, message: protocol.Message) -> None:
        self.child.send(message)

    async def expect(self, kind: type, within: float = 3.0, **fields: object):
        """The next report of ``kind`` with ``fields``; others are kept in ``kept``."""

        async def look() -> object:
            while True:
                report = await self.reports.get()
                if isinstance(report, kind) and all(getattr(report, n) == v for n, v in fields.items()):
                    return report
                self.kept.append(report)

        return await asyncio.wait_for(look(), within)


class Phone:
    """A far end that speaks raw RTP."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]
        self.sequence, self.timestamp, self.ssrc = 1000, 50000, 0xABCD

    def send(self, to: int, payload: bytes, payload_type: int = 0, timestamp: int | None = None) -> None:
        stamp = self.timestamp if timestamp is None else timestamp
        header = struct.pack("!BBHII", 0x80, payload_type, self.sequence & 0xFFFF, stamp & 0xFFFFFFFF, self.ssrc)
        self.sock.sendto(header + payload, ("127.0.0.1", to))
        self.sequence += 1

    async def collect(self, seconds: float) -> list[tuple[float, bytes]]:
        """(arrival, packet) of all that comes in ``seconds``."""
        loop, packets = asyncio.get_running_loop(), []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                data = await asyncio.wait_for(loop.sock_recv(self.sock, 2048), left)
            except TimeoutError:
                break
            packets.append((time.monotonic(), data))
        return packets


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    made = Worker()
    await made.child.start()
    await made.expect(protocol.Ready, 10)
    yield made
    await made.child.close()


@pytest.fixture
def phone():
    made = Phone()
    yield made
    made.sock.close()


@pytest.fixture
def tone(tmp_path: Path):
    def make(hertz: float, seconds: float = 1.0) -> str:
        path = tmp_path / f"{hertz}-{seconds}.wav"
        sound = 8000 * np.sin(2 * np.pi * hertz * np.arange(int(8000 * seconds)) / 8000)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(sound.astype("<i2").tobytes())
        return str(path)

    return make


async def opened(worker: Worker, stream: int = 1) -> int:
    worker.send(protocol.Open(stream, "127.0.0.1"))
    return (await worker.expect(protocol.Opened, stream=stream)).port


def loudness(packet: bytes) -> float:
    samples = g711.decode(np.frombuffer(packet[12:], np.uint8), Law.PCMU).astype(float)
    return float(np.sqrt(np.mean(samples**2)))


async def test_plays_stops_and_closes(worker: Worker, phone: Phone, tone) -> None:
    await opened(worker)
    worker.send(protocol.Play(1, 7, [tone(440, 0.4)]))
    worker.send(protocol.Direct(1, "127.0.0.1", phone.port, phone.port + 1, 0, 101))
    packets = [data for _, data in await phone.collect(0.7)]
    ended = await worker.expect(protocol.PlayEnded)
    assert (ended.play, ended.complete) == (7, True)
    headers = [struct.unpack_from("!BBHII", data) for data in packets]
    assert headers[0][1] == 0x80
    assert all(header[1] == 0 for header in headers[1:])
    assert {(b[2] - a[2]) & 0xFFFF for a, b in itertools.pairwise(headers)} == {1}
    assert {(b[3] - a[3]) & 0xFFFFFFFF for a, b in itertools.pairwise(headers)} == {160}
    loud = [loudness(data) > 1000 for data in packets]
    assert sum(loud) == 20
    worker.send(protocol.Drop(1))
    closed = await worker.expect(protocol.Closed)
    assert closed.stats.sent >= len(packets)


async def test_barge_in_ends_the_prompt_within_a_frame(worker: Worker, phone: Phone, tone) -> None:
    port = await opened(worker)
    worker.send(protocol.Direct(1, "127.0.0.1", phone.port, phone.port + 1, 0, 101))
    worker.send(protocol.Play(1, 7, [tone(440, 3)]))
    await phone.collect(0.3)
    pressed = time.monotonic()
    for duration in (160, 320, 480):
        phone.send(port, struct.pack("!BBH", 5, 10, duration), 101)
    digit = await worker.expect(protocol.DigitHeard)
    assert (digit.digit, digit.method) == ("5", "rfc4733")
    assert digit.at - pressed < 0.015
    worker.send(protocol.Stop(1))
    packets = await phone.collect(0.2)
    last = max(at for at, data in packets if loudness(data) > 1000)
    assert last - pressed <= 0.06
    ended = await worker.expect(protocol.PlayEnded)
    assert (ended.complete, ended.reason) == (False, "stopped")
    with pytest.raises(TimeoutError):
        await worker.expect(protocol.DigitHeard, 0.1)


async def test_leaves_when_its_parent_is_gone(worker: Worker) -> None:
    pid = worker.child.pid
    assert worker.child._writer is not None
    worker.child._writer.close()
    assert await asyncio.wait_for(worker.child.exited, 1.0) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)

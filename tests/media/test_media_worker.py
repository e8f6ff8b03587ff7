"""The worker as a process, over real loopback sockets."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from media_studio import Phone, read_wav, rms, samples_of, sine, tone_power, voice

from media import commands, ipc, reports
from media.g711 import Law
from media.ipc import Child

PORTS = "30000-30998"
PATIENCE = 10.0


class Worker:
    def __init__(self) -> None:
        self.reports: asyncio.Queue[reports.Report] = asyncio.Queue()
        self.kept: list[reports.Report] = []
        self.child: Child[reports.Report] = Child(
            "media.worker", reports.Report, self.reports.put_nowait, arguments=["--ports", PORTS]
        )

    def send(self, message: ipc.Message) -> None:
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


async def collect(phone: Phone, seconds: float) -> list[tuple[float, bytes]]:
    """(arrival, packet) of all that comes in ``seconds``."""
    loop, packets = asyncio.get_running_loop(), []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            data = await asyncio.wait_for(loop.sock_recv(phone.sock, 2048), left)
        except TimeoutError:
            break
        packets.append((time.monotonic(), data))
    return packets


async def talk(phone: Phone, sound: np.ndarray) -> None:
    """Send ``sound`` packet by packet, in real time."""
    due = time.monotonic()
    for start in range(0, len(sound) // 160 * 160, 160):
        phone.raw(phone.sound(sound[start : start + 160]))
        due += 0.02
        await asyncio.sleep(max(0.0, due - time.monotonic()))


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    made = Worker()
    await made.child.start()
    await made.expect(ipc.Ready, 10)
    yield made
    await made.child.close()


async def opened(worker: Worker, stream: int = 1) -> int:
    worker.send(commands.Open(stream, "127.0.0.1"))
    return (await worker.expect(reports.Opened, stream=stream)).port


async def test_plays_stops_and_closes(worker: Worker, phone: Phone, tone) -> None:
    await opened(worker)
    worker.send(commands.Play(1, 7, [tone(440, 0.4)]))
    worker.send(commands.Direct(1, "127.0.0.1", phone.port, phone.port + 1, 0, 101))
    packets = [data for _, data in await collect(phone, 0.7)]
    ended = await worker.expect(reports.PlayEnded)
    assert (ended.play, ended.complete) == (7, True)
    headers = [struct.unpack_from("!BBHII", data) for data in packets]
    assert headers[0][1] == 0x80
    assert all(header[1] == 0 for header in headers[1:])
    assert {(b[2] - a[2]) & 0xFFFF for a, b in itertools.pairwise(headers)} == {1}
    assert {(b[3] - a[3]) & 0xFFFFFFFF for a, b in itertools.pairwise(headers)} == {160}
    loud = [rms(samples_of(data)) > 1000 for data in packets]
    assert sum(loud) == 20
    worker.send(commands.Drop(1))
    closed = await worker.expect(reports.Closed)
    assert closed.stats.sent >= len(packets)


async def test_barge_in_ends_the_prompt_within_a_frame(worker: Worker, phone: Phone, tone) -> None:
    phone.to = await opened(worker)
    worker.send(commands.Direct(1, "127.0.0.1", phone.port, phone.port + 1, 0, 101))
    worker.send(commands.Play(1, 7, [tone(440, 3)]))
    await collect(phone, 0.3)
    pressed = time.monotonic()
    for duration in (160, 320, 480):
        phone.raw(phone.event(5, duration, phone.timestamp))
    digit = await worker.expect(reports.DigitHeard)
    assert (digit.digit, digit.method) == ("5", "rfc4733")
    assert digit.at - pressed < 0.015
    worker.send(commands.Stop(1))
    packets = await collect(phone, 0.2)
    last = max(at for at, data in packets if rms(samples_of(data)) > 1000)
    assert last - pressed <= 0.06
    ended = await worker.expect(reports.PlayEnded)
    assert (ended.complete, ended.reason) == (False, "stopped")
    with pytest.raises(TimeoutError):
        await worker.expect(reports.DigitHeard, 0.1)


async def test_an_answering_machine_over_rtp(worker: Worker, phone: Phone) -> None:
    """Ringback as early media, an answer, a long greeting, and a beep, in A-law."""
    phone.law = Law.PCMA
    phone.to = await opened(worker)
    worker.send(commands.Direct(1, "127.0.0.1", phone.port, phone.port + 1, int(Law.PCMA), 101))
    worker.send(commands.DetectMachine(1, answered=False))
    await talk(phone, np.concatenate([np.zeros(2400), sine(425, 1.0, 3000), np.zeros(2400)]))
    assert (await worker.expect(reports.ToneHeard)).kind == "progress"
    worker.send(commands.DetectMachine(1, limits=commands.MachineLimits(greeting=1.5)))
    greeting = voice(2.2, dbfs=-20)
    await talk(phone, np.concatenate([np.zeros(4000), greeting, np.zeros(4000), sine(1000, 0.4, 4000), np.zeros(2400)]))
    verdict = await worker.expect(reports.MachineVerdict)
    assert (verdict.result, verdict.reason) == ("machine", "greeting")
    listens = await worker.expect(reports.MachineListens)
    assert listens.why == "beep"
    assert listens.hertz == pytest.approx(1000, abs=5)


async def test_a_person_over_rtp(worker: Worker, phone: Phone) -> None:
    phone.to = await opened(worker)
    worker.send(commands.Direct(1, "127.0.0.1", phone.port, phone.port + 1, 0, 101))
    worker.send(commands.DetectMachine(1))
    await talk(phone, np.concatenate([np.zeros(4000), voice(0.5, dbfs=-20, syllables=False), np.zeros(9600)]))
    assert (await worker.expect(reports.MachineVerdict)).result == "human"


async def test_reports_its_load_every_second(worker: Worker) -> None:
    first = await worker.expect(reports.WorkerLoad, 3)
    assert (first.streams, first.ring_drops, first.not_listening) == (0, 0, 0)
    await opened(worker)
    assert (await worker.expect(reports.WorkerLoad, 3, streams=1)).late_ms_p50 < 5


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(pid: int, within: float) -> None:
    """Wait until the process ``pid`` is gone."""
    async with asyncio.timeout(within):
        while is_running(pid):  # noqa: ASYNC110 - a process that is not ours to wait for
            await asyncio.sleep(0.01)


def writer_of(worker: Worker) -> int:
    """The process that the worker started."""
    pid = worker.child.pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


async def recording(worker: Worker, phone: Phone, path: Path, seconds: float) -> int:
    phone.to = await opened(worker)
    worker.send(commands.Direct(1, "127.0.0.1", phone.port, phone.port + 1, 0, 101))
    worker.send(commands.Record(1, 1, str(path)))
    await talk(phone, sine(1000, seconds))
    return phone.to


async def test_leaves_at_once_when_its_parent_is_gone(worker: Worker, phone: Phone, tmp_path: Path) -> None:
    port = await recording(worker, phone, tmp_path / "a.wav", 0.5)
    writer = writer_of(worker)
    assert worker.child._writer is not None
    worker.child._writer.close()
    assert await asyncio.wait_for(worker.child.exited, PATIENCE) == 0
    await gone(writer, PATIENCE)
    assert is_free(port)
    assert is_free(port + 1)
    assert len(read_wav(tmp_path / "a.wav")) / 8000 == pytest.approx(0.5, abs=0.1)


async def test_a_killed_worker_leaves_a_complete_recording(worker: Worker, phone: Phone, tmp_path: Path) -> None:
    port = await recording(worker, phone, tmp_path / "a.wav", 0.8)
    writer = writer_of(worker)
    worker.child.kill()
    await asyncio.wait_for(worker.child.exited, PATIENCE)
    await gone(writer, PATIENCE)
    assert is_free(port)
    left = read_wav(tmp_path / "a.wav")[:, 0]
    assert len(left) / 8000 == pytest.approx(0.8, abs=0.05)
    assert tone_power(left[800:5600], 1000) == pytest.approx(8000, rel=0.1)


async def test_a_kill_of_everything_leaves_a_readable_recording(worker: Worker, phone: Phone, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    await recording(worker, phone, path, 2.5)
    writer = writer_of(worker)
    async with asyncio.timeout(PATIENCE):
        while not path.exists() or path.stat().st_size < 1.2 * 32_000:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
    os.kill(writer, signal.SIGKILL)
    worker.child.kill()
    await asyncio.wait_for(worker.child.exited, PATIENCE)
    left = read_wav(path)[:, 0]
    assert 1.2 <= len(left) / 8000 <= 2.5
    assert tone_power(left[800:8000], 1000) == pytest.approx(8000, rel=0.1)


async def test_a_broken_message_ends_the_worker(worker: Worker) -> None:
    assert worker.child._writer is not None
    worker.child._writer.write(b"\0\0\0\3abc")
    assert await asyncio.wait_for(worker.child.exited, 2.0) != 0


async def test_impossible_ports_are_said_at_once() -> None:
    came: asyncio.Queue[reports.Report] = asyncio.Queue()
    child: Child[reports.Report] = Child("media.worker", reports.Report, came.put_nowait, arguments=["--ports", "9-9"])
    await child.start()
    failed = await asyncio.wait_for(came.get(), 10)
    assert isinstance(failed, ipc.Failed)
    assert "9-9" in failed.reason
    assert await asyncio.wait_for(child.exited, 2) == 1
    await child.close()

"""CPU of a media worker per call-second: every stream plays a prompt, receives speech-like sound, listens for keys.

    python benchmarks/media_plane.py --streams 200 --seconds 5 [--record]

Prints milliseconds of CPU (user + system) of the worker, and of its writer, per second of one call, how late its ticks
were, and what the other side received. The load comes from a process of its own, at 50 packets a second each way.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import select
import socket
import struct
import tempfile
import time
import wave
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from media import g711, protocol
from media.g711 import Law
from media.ipc import ONE_THREAD, Child
from media.rates import FRAME, RATE

TICKS = os.sysconf("SC_CLK_TCK")
PHASES = 20
PORTS = "30000-49998"


def sound(seconds: float) -> np.ndarray:
    """Noise with the envelope of speech, half of the time."""
    count = round(RATE * seconds)
    envelope = np.clip(np.sin(2 * np.pi * 1.3 * np.arange(count) / RATE), 0, 1)
    return (np.random.default_rng(1).normal(0, 3000, count) * envelope).astype(np.int16)


def load(pipe: Connection, streams: int, seconds: float) -> None:
    """The far ends: bound sockets first, then, told the worker's ports, packets in 20 phases of 1 ms."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(streams)]
    poll = select.epoll()
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        poll.register(sock, select.EPOLLIN)
    by_fd = {sock.fileno(): sock for sock in sockets}
    pipe.send([sock.getsockname()[1] for sock in sockets])
    for sock, port in zip(sockets, pipe.recv(), strict=True):
        sock.connect(("127.0.0.1", port))
    codes = g711.encode(sound(4.0), Law.PCMU).tobytes()
    payloads = [codes[at : at + FRAME] for at in range(0, len(codes), FRAME)]
    received, began, step = 0, time.monotonic(), 0
    while (now := time.monotonic()) < began + seconds:
        due = began + step * 0.02 / PHASES
        if now < due:
            time.sleep(due - now)
        frame, phase = divmod(step, PHASES)
        head = struct.pack("!BBHI", 0x80, 0, frame & 0xFFFF, frame * FRAME)
        for index in range(phase, streams, PHASES):
            packet = head + index.to_bytes(4, "big") + payloads[(frame + index) % len(payloads)]
            sockets[index].send(packet)
        for fd, _ in poll.poll(0):
            by_fd[fd].recv(2048)
            received += 1
        step += 1
    pipe.send(received)


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


async def measure(streams: int, seconds: float, folder: Path, *, record: bool) -> None:
    prompt = folder / "prompt.wav"
    with wave.open(str(prompt), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(sound(10).astype("<i2").tobytes())
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe()
    generator = context.Process(target=load, args=(far_end, streams, seconds))
    generator.start()
    far_ports = await asyncio.to_thread(pipe.recv)
    reports: asyncio.Queue[protocol.Report] = asyncio.Queue()
    child: Child[protocol.Report] = Child(
        "media.worker", protocol.Report, reports.put_nowait, arguments=["--ports", PORTS]
    )
    await child.start()
    ports: dict[int, int] = {}
    for stream in range(streams):
        child.send(protocol.Open(stream, "127.0.0.1"))
    while len(ports) < streams:
        report = await reports.get()
        if isinstance(report, protocol.Opened):
            ports[report.stream] = report.port
        elif isinstance(report, protocol.OpenFailed | protocol.Failed):
            raise SystemExit(report.reason)
        elif isinstance(report, protocol.Ready):
            print(report.about)
    for stream, far_port in enumerate(far_ports):
        child.send(protocol.Direct(stream, "127.0.0.1", far_port, 0, 0, 101))
        child.send(protocol.Play(stream, 1, [str(prompt)], loop=True))
        if record:
            child.send(protocol.Record(stream, 0, str(folder / f"{stream}.wav")))
    pid = child.pid
    assert pid is not None
    writer = child_of(pid)
    pipe.send([ports[stream] for stream in range(streams)])
    await asyncio.sleep(1.0)
    while not reports.empty():
        reports.get_nowait()
    before, began = (cpu(pid), cpu(writer)), time.monotonic()
    await asyncio.sleep(seconds - 1.5)
    took = (time.monotonic() - began) * streams / 1000
    own, written = cpu(pid) - before[0], cpu(writer) - before[1]
    loads = [report for report in list(reports._queue) if isinstance(report, protocol.WorkerLoad)]  # type: ignore[attr-defined]
    received = await asyncio.to_thread(pipe.recv)
    await child.close()
    generator.join()
    print(f"streams {streams}, recording {'on' if record else 'off'}")
    print(f"worker {own / took:.3f} ms, writer {written / took:.3f} ms of CPU per call-second")
    print(f"ticks late: p50 {max(r.late_ms_p50 for r in loads):.2f} ms, p99 {max(r.late_ms_p99 for r in loads):.2f} ms")
    print(f"kernel drops {loads[-1].kernel_drops}, ring drops {loads[-1].ring_drops}")
    print(f"far ends got {received} packets, {received / streams / seconds:.1f} per call-second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    os.environ.update(ONE_THREAD)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(arguments.streams, arguments.seconds, Path(folder), record=arguments.record))


if __name__ == "__main__":
    main()

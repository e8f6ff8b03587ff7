"""Other ways to play a prompt to many calls, each in a process of its own: what the media plane is compared with.

A function here sends the port of each call down ``pipe``, then plays ``prompt`` (µ-law, whole frames) to 127.0.0.1
and the ports ``far``, one for each call, without end, and takes what comes in.
"""

from __future__ import annotations

import asyncio
import functools
import struct
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import cast

import numpy as np

from benchmarks.helpers import Helper
from benchmarks.mmsg import Batch, datagram_socket
from media import g711
from media.g711 import Law
from media.process import raise_priority
from media.rates import FRAME, FRAME_SECONDS, PHASE_SECONDS, PHASES

_HEADER = struct.Struct("!BBHII")

Engine = Callable[[Connection, Sequence[int], bytes], None]


class EngineProcess(Helper):
    """One of the functions of this module, running."""

    def __init__(self, engine: Engine, far: Sequence[int], prompt: bytes) -> None:
        super().__init__("the engine", _run, (engine, far, prompt))
        self.ports: list[int] = self.answer()


def _run(pipe: Connection, engine: Engine, far: Sequence[int], prompt: bytes) -> None:
    raise_priority()  # as media workers do
    engine(pipe, far, prompt)


def _frames(prompt: bytes) -> list[bytes]:
    return [prompt[at : at + FRAME] for at in range(0, len(prompt), FRAME)]


# --- no engine at all -----------------------------------------------------------------------


def bare(pipe: Connection, far: Sequence[int], prompt: bytes) -> None:
    """One socket, ``sendmmsg`` on the phases of the media plane, ``recvmmsg``. The SSRC tells calls apart."""
    sock = datagram_socket(buffer=64 * 1024 * 1024)
    pipe.send([sock.getsockname()[1]] * len(far))
    payloads = np.frombuffer(prompt, np.uint8).reshape(-1, FRAME)
    batches: list[Batch] = []
    for phase in range(PHASES):
        calls = np.arange(phase, len(far), PHASES)
        batch = Batch(max(1, calls.size), 12 + FRAME)
        batch.packets[:, 0] = 0x80
        batch.packets[: calls.size, 8:12].view(">u4")[:, 0] = calls + 1
        batch.ports[: calls.size] = np.array(far, np.uint16)[calls]
        batches.append(batch)
    incoming = Batch(1024, 256)
    begun, step = time.monotonic(), 0
    while True:
        if (left := begun + step * PHASE_SECONDS - time.monotonic()) > 0:
            time.sleep(left)
        frame, phase = divmod(step, PHASES)
        step += 1
        while incoming.receive(sock) == incoming.capacity:
            pass
        batch = batches[phase]
        batch.packets[:, 2:4].view(">u2")[:, 0] = frame & 0xFFFF
        batch.packets[:, 4:8].view(">u4")[:, 0] = frame * FRAME
        batch.packets[:, 12:] = payloads[frame % len(payloads)]
        batch.send(sock, len(range(phase, len(far), PHASES)))


# --- the engine that everybody writes first -------------------------------------------------


class _NaiveCall(asyncio.DatagramProtocol):
    """A socket and a timer of its own."""

    def __init__(self, number: int, far: int, frames: list[bytes]) -> None:
        self.received = 0
        self._number, self._far, self._frames = number, far, frames
        self._frame = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            "asyncio.DatagramTransport", transport
        )  # that of the standard library is not one by type
        self._loop = asyncio.get_running_loop()

    def begin(self, at: float) -> None:
        self._due = at
        self._loop.call_at(at, self._send)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(data) >= 12:
            _, self._kind, self._sequence, self._timestamp, self._ssrc = _HEADER.unpack_from(data)
            self._last = data[12:]
            self.received += 1

    def _send(self) -> None:
        frame = self._frame
        head = _HEADER.pack(0x80, 0, frame & 0xFFFF, frame * FRAME & 0xFFFFFFFF, self._number)
        self._transport.sendto(head + self._frames[frame % len(self._frames)], ("127.0.0.1", self._far))
        self._frame += 1
        self._due += FRAME_SECONDS
        self._loop.call_at(self._due, self._send)


async def _naive(pipe: Connection, far: Sequence[int], prompt: bytes) -> None:
    loop = asyncio.get_running_loop()
    frames = _frames(prompt)
    ports, calls = [], []
    for number, port in enumerate(far):
        transport, call = await loop.create_datagram_endpoint(
            functools.partial(_NaiveCall, number + 1, port, frames), local_addr=("127.0.0.1", 0)
        )
        ports.append(transport.get_extra_info("sockname")[1])
        calls.append(call)
    pipe.send(ports)
    begin = loop.time() + 0.1
    for number, call in enumerate(calls):
        call.begin(begin + number * FRAME_SECONDS / len(calls))
    await asyncio.Event().wait()


def asyncio_engine(pipe: Connection, far: Sequence[int], prompt: bytes) -> None:
    """One DatagramProtocol and one deadline timer for each call, on the loop of the standard library."""
    asyncio.run(_naive(pipe, far, prompt))


def uvloop_engine(pipe: Connection, far: Sequence[int], prompt: bytes) -> None:
    """The same on uvloop."""
    import uvloop

    uvloop.run(_naive(pipe, far, prompt))


# --- pyVoIP ---------------------------------------------------------------------------------


def pyvoip_engine(pipe: Connection, far: Sequence[int], prompt: bytes) -> None:
    """pyVoIP's own RTP: two threads for each call. Its sound is unsigned 8-bit linear."""
    warnings.simplefilter("ignore")
    from pyVoIP.RTP import PayloadType, RTPClient, TransmitType

    linear = g711.decode(np.frombuffer(prompt, np.uint8), Law.PCMU)
    sound = ((linear.astype(np.int32) >> 8) + 128).astype(np.uint8).tobytes()
    ports = []
    for port in far:
        with datagram_socket() as probe:
            own = probe.getsockname()[1]
        client = RTPClient(
            {0: PayloadType.PCMU}, "127.0.0.1", own, "127.0.0.1", port, TransmitType.SENDRECV, lambda _: None
        )
        client.write(sound * 12)
        client.start()
        ports.append(own)
    pipe.send(ports)
    threading.Event().wait()

"""Small batched messages between processes: msgpack frames with a 4-byte length on a Unix stream socket.

:class:`Link` is the non-blocking end for loops of our own (media workers, recogniser);
:class:`Child` is the asyncio end, which also starts the process and sees it exit.
Children are spawned with :mod:`subprocess`, never forked, one BLAS thread each; they ignore
SIGINT and SIGTERM and leave when their socket ends. What each says of itself is :class:`Ready` or :class:`Failed`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

_log = logging.getLogger(__name__)

_LENGTH = struct.Struct("!I")
MAX_FRAME = 64 * 1024 * 1024

Received = TypeVar("Received")

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
"""Environment for every process that imports numpy: BLAS threads spin between ticks otherwise."""


class LinkClosed(Exception):
    """The other end is gone."""


class Message(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """Base of all messages."""


class Ready(Message, frozen=True):
    """The process is up; ``about`` says in words what it chose (I/O path, priority, model)."""

    pid: int
    about: str


class Failed(Message, frozen=True):
    """The process cannot work at all and is about to exit."""

    reason: str


class Framing(Generic[Received]):
    """Frames out of a byte stream and into it, for messages of one union of struct types."""

    def __init__(self, received_type: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[Received] = msgspec.msgpack.Decoder(received_type)
        self._encoder = msgspec.msgpack.Encoder()
        self._buffer = bytearray()

    def encode(self, message: msgspec.Struct) -> bytes:
        body = self._encoder.encode(message)
        return _LENGTH.pack(len(body)) + body

    def feed(self, data: bytes) -> list[Received]:
        """Messages completed by ``data``. Raises :class:`LinkClosed` on an impossible frame."""
        self._buffer += data
        messages: list[Received] = []
        position = 0
        while len(self._buffer) - position >= 4:
            (length,) = _LENGTH.unpack_from(self._buffer, position)
            if length > MAX_FRAME:
                raise LinkClosed(f"frame of {length} bytes")
            end = position + 4 + length
            if len(self._buffer) < end:
                break
            messages.append(self._decoder.decode(memoryview(self._buffer)[position + 4 : end]))
            position = end
        if position:
            del self._buffer[:position]
        return messages


class Link(Generic[Received]):
    """The end of a link in a loop of our own: nothing blocks; ``fileno`` is there to be polled."""

    def __init__(self, sock: socket.socket, received_type: Any) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._framing: Framing[Received] = Framing(received_type)
        self._out = bytearray()

    @classmethod
    def from_fd(cls, fd: int, received_type: Any) -> Link[Received]:
        return cls(socket.socket(fileno=fd), received_type)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def pending(self) -> int:
        """Bytes that the socket would not take yet."""
        return len(self._out)

    def send(self, message: msgspec.Struct) -> None:
        """Queue a message; it leaves with the next :meth:`flush`."""
        self._out += self._framing.encode(message)

    def flush(self) -> None:
        """Write what the socket takes now. Raises :class:`LinkClosed`."""
        while self._out:
            try:
                sent = self._socket.send(self._out)
            except BlockingIOError:
                return
            except OSError as error:
                raise LinkClosed(str(error)) from error
            del self._out[:sent]

    def receive(self) -> list[Received]:
        """All messages that are there now. Raises :class:`LinkClosed` at the end of the stream."""
        messages: list[Received] = []
        while True:
            try:
                data = self._socket.recv(262144)
            except BlockingIOError:
                return messages
            except OSError as error:
                raise LinkClosed(str(error)) from error
            if not data:
                if messages:
                    return messages
                raise LinkClosed("end of stream")
            messages += self._framing.feed(data)

    def close(self) -> None:
        self._socket.close()


def detach_from_terminal() -> None:
    """In a child: leave SIGINT and SIGTERM to the parent, whose socket's end is our signal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class Child(Generic[Received]):
    """A process of ours, seen from the asyncio side.

    ``on_message`` is called on the loop for each message, and what it raises is logged; ``exited`` completes
    with the exit status when the process is gone. A process that sends what cannot be read is killed.
    """

    def __init__(
        self,
        module: str,
        received_type: Any,
        on_message: Callable[[Received], None],
        *,
        arguments: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.module = module
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._arguments = arguments
        self._environment = environment or {}
        self._framing: Framing[Received] = Framing(received_type)
        self._on_message = on_message
        self._writer: asyncio.StreamWriter | None = None
        self._queued: list[bytes] = []
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Spawn ``python -m module --fd N …``; messages may be sent from then on."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self.module,
                "--fd",
                str(theirs.fileno()),
                *self._arguments,
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **ONE_THREAD, **self._environment},
            )
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self._tasks = [asyncio.create_task(self._read(reader)), asyncio.create_task(self._wait())]

    def send(self, message: msgspec.Struct) -> None:
        """Queue a message; silently dropped when the process is gone (``exited`` tells).

        What is queued in one turn of the loop leaves in one write at its end.
        """
        if self._writer is None or self._writer.is_closing():
            return
        if not self._queued:
            asyncio.get_running_loop().call_soon(self._flush)
        self._queued.append(self._framing.encode(message))

    def _flush(self) -> None:
        queued, self._queued = self._queued, []
        if self._writer is not None and not self._writer.is_closing():
            self._writer.writelines(queued)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(262144):
                    for message in self._framing.feed(data):
                        self._deliver(message)
        except (LinkClosed, msgspec.MsgspecError):
            _log.exception("%s sends what cannot be read: it is killed", self.module)
            self.kill()

    def _deliver(self, message: Received) -> None:
        try:
            self._on_message(message)
        except Exception:  # noqa: BLE001 - the messages after it are for others
            _log.exception("%s from %s could not be handled", type(message).__name__, self.module)

    async def _wait(self) -> None:
        assert self._process is not None
        status = await self._process.wait()
        if not self.exited.done():
            self.exited.set_result(status)

    def kill(self) -> None:
        """Kill the process at once."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def close(self, patience: float = 1.0) -> None:
        """End the socket, wait for the process to leave, kill it after ``patience`` seconds."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
        if self._process is not None:
            try:
                async with asyncio.timeout(patience):
                    await self._process.wait()
            except TimeoutError:
                self.kill()
                await self._process.wait()
        if self._tasks:
            self._tasks[0].cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

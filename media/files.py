"""Media files from anywhere into the prompt store: any WAV, MP3, Ogg or FLAC becomes 16-bit mono, at 16 kHz
if it has that much, else at 8 kHz.

Decoding is done by :mod:`media.decoder`, one short-lived process for each file, so that a hostile file
can at worst end that process. A file that is known already, by its content, is not decoded again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import msgspec

from media.ipc import Child, Message
from media.tts.store import PromptStore, content_key

MAX_BYTES = 64 * 1024 * 1024
"""Largest file that is read."""

MAX_SECONDS = 1800
"""Longest sound that is taken: half an hour."""

_TREATMENT = 2
"""Raised whenever decoded sound is treated differently: files are then taken in anew."""

_MODULE = "media.decoder"
_PATIENCE = 60.0


class MediaError(Exception):
    """A media file cannot be used; the message names the file and says why."""


class AsRecorded(msgspec.Struct, frozen=True):
    """Sound wanted as it is, not as a prompt: at ``rate`` Hz (0: 16 kHz if it has that much, else 8 kHz), of one
    ``channel`` (0: left) or mixed of all.
    """

    rate: int = 0
    channel: int | None = None


class Decode(Message, frozen=True):
    """Decode ``source``, whose content has the SHA-256 ``digest``, into the store as ``key``."""

    source: bytes
    digest: str
    key: str
    as_recorded: AsRecorded | None = None


class Decoded(Message, frozen=True):
    """The file is in the store and lasts ``seconds``."""

    seconds: float


class DecodeRefused(Message, frozen=True):
    """The file is not usable."""

    reason: str


FromDecoder = Decoded | DecodeRefused


class MediaImporter:
    """Takes media files into a store, ``at_once`` at a time."""

    def __init__(
        self, store: PromptStore, *, at_once: int = 2, module: str = _MODULE, patience: float = _PATIENCE
    ) -> None:
        """``patience``: seconds after which a decoder is killed."""
        self._store = store
        self._module = module
        self._patience = patience
        self._slots = asyncio.Semaphore(at_once)

    async def add(self, path: Path, *, name: str = "", as_recorded: AsRecorded | None = None) -> Path:
        """The stored prompt with the sound of ``path``, called ``name`` in errors; ``as_recorded`` if that is given.

        Raises :class:`MediaError`.
        """
        source = os.fsencode(path)
        try:
            async with self._slots:
                digest = await asyncio.to_thread(_digest, path)
                key = content_key("media", _TREATMENT, digest)
                if as_recorded is not None:
                    key = content_key("recorded", as_recorded.rate, str(as_recorded.channel), digest)
                if not self._store.has(key):
                    await self._decode(Decode(source, digest, key, as_recorded))
        except MediaError as error:
            raise MediaError(f"{name or path}: {error}") from error
        return self._store.path(key)

    async def _decode(self, request: Decode) -> None:
        answer: asyncio.Future[FromDecoder] = asyncio.get_running_loop().create_future()

        def receive(message: FromDecoder) -> None:
            if not answer.done():
                answer.set_result(message)

        child: Child[FromDecoder] = Child(
            self._module, FromDecoder, receive, arguments=("--store", str(self._store.folder.absolute()))
        )
        try:
            await child.start()
            child.send(request)
            either: set[asyncio.Future[Any]] = {answer, child.exited}
            done, _ = await asyncio.wait(either, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
        except OSError as error:
            raise MediaError(f"the decoder cannot be started: {error}") from error
        finally:
            child.kill()
            await child.close()
        if not answer.done():
            fate = f"ended with status {await child.exited}" if done else f"took more than {self._patience:.0f} s"
            raise MediaError(f"the decoder {fate} on this file")
        if isinstance(outcome := answer.result(), DecodeRefused):
            raise MediaError(outcome.reason)
        if not self._store.has(request.key):
            raise MediaError("the decoder delivered nothing")


async def import_media(path: Path, store: PromptStore, *, name: str = "") -> Path:
    """The stored prompt with the sound of the file ``path``, called ``name`` in errors. Raises :class:`MediaError`."""
    return await MediaImporter(store).add(path, name=name)


def _digest(path: Path) -> str:
    return hashlib.sha256(read_source(path)).hexdigest()


def read_source(path: Path) -> bytes:
    """The content of a regular file of at most :data:`MAX_BYTES`. Raises :class:`MediaError`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise MediaError("not a regular file")
            if status.st_size <= MAX_BYTES:
                content = file.read(MAX_BYTES + 1)
                if len(content) <= MAX_BYTES:
                    return content
    except (OSError, ValueError) as error:
        raise MediaError(getattr(error, "strerror", None) or str(error)) from error
    raise MediaError(f"larger than {MAX_BYTES // 1024 // 1024} MiB")

"""The content-addressed store of prompts: 16-bit mono WAV files of 8 or 16 kHz, named by what they say.

A file is complete or absent: it is written beside its place and renamed. Any number of
processes may read and write one store at a time; two that make the same prompt make the same file.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import tempfile
import time
import wave
from collections.abc import Collection
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from media.rates import RATE, WIDE_RATE

_KEY = re.compile(r"[0-9a-f]{64}\Z")
_HEADER = 44
_ABANDONED = 3600.0
"""Seconds after which a temporary file is one that a killed process left."""
_USED_ANEW = 60.0
"""Seconds after which it is put down anew that a prompt was asked for."""
GRACE = 600.0
"""Seconds in which a prompt that was asked for is not removed: somebody is about to play it."""


def content_key(*parts: str | int) -> str:
    """A store key: the SHA-256, in hex, of an unambiguous encoding of ``parts``."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def key_for_text(engine: str, version: str, voice: str, language: str, rate: int, text: str) -> str:
    """The key of a spoken text. ``rate`` is in words a minute."""
    return content_key("text", engine, version, voice, language, rate, text)


class PromptStore:
    """A folder of prompts, found by key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where the prompt ``key`` lies or will lie. Raises :class:`ValueError` on what is no key."""
        if not _KEY.match(key):
            raise ValueError(f"not a store key: {key!r}")
        return self.folder / key[:2] / f"{key}.wav"

    def has(self, key: str) -> bool:
        """Whether the prompt is there with at least one sample; it counts as used then."""
        path = self.path(key)
        try:
            known = path.stat()
            if time.time() - known.st_mtime > _USED_ANEW:
                os.utime(path)
        except OSError:
            return False
        return known.st_size > _HEADER

    def seconds(self, key: str) -> float:
        """How long a prompt lasts. Raises :class:`OSError` when it is not there."""
        with self.path(key).open("rb") as opened, wave.open(opened, "rb") as file:
            return file.getnframes() / file.getframerate()

    def put(self, key: str, samples: NDArray[np.int16], rate: int = RATE) -> Path:
        """Write a prompt of ``rate`` Hz (8000 or 16000), durably, at once or not at all.

        Raises :class:`OSError`, :class:`ValueError` if empty.
        """
        if rate not in (RATE, WIDE_RATE):
            raise ValueError(f"a prompt of {rate} Hz")
        if samples.dtype != np.int16 or samples.ndim != 1 or not samples.size:
            raise ValueError("a prompt is a non-empty row of 16-bit samples")
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(wav(samples, rate))
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)  # noqa: PTH105 (a name from mkstemp)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)  # noqa: PTH108
            raise
        return target

    def trim(self, most: int, held: Collection[Path] = ()) -> tuple[int, int]:
        """Have the prompts take no more than ``most`` octets: those that were asked for longest ago go first, down to
        nine tenths of it. Those in ``held`` stay, and those of the last :data:`GRACE` seconds. Takes its time.

        The octets that are left, and how many prompts went.
        """
        found: list[tuple[float, int, Path]] = []
        for path in self.folder.glob("??/*.wav"):
            with contextlib.suppress(OSError):
                known = path.stat()
                found.append((known.st_mtime, known.st_size, path))
        total, removed = sum(size for _, size, _ in found), 0
        if total <= most:
            return total, 0
        kept = {str(path) for path in held}
        for _, size, path in sorted(found):
            if total <= most * 0.9:
                break
            with contextlib.suppress(OSError):
                if str(path) not in kept and time.time() - path.stat().st_mtime > GRACE:  # as it is now
                    path.unlink()
                    total, removed = total - size, removed + 1
        return total, removed

    def sweep(self) -> int:
        """Remove temporary files that killed processes left; how many there were."""
        removed = 0
        for leftover in self.folder.glob("??/.*.tmp"):
            with contextlib.suppress(OSError):
                if time.time() - leftover.stat().st_mtime > _ABANDONED:
                    leftover.unlink()
                    removed += 1
        return removed


def wav(samples: NDArray[np.int16], rate: int) -> bytes:
    """A whole WAV file, 16-bit mono."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2", copy=False).tobytes())
    return buffer.getvalue()

"""A file that a recording goes into, whatever its format."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from abc import ABC, abstractmethod
from pathlib import Path

from media.frames import Samples


def open_regular(path: Path) -> int:
    """A descriptor of the regular file ``path``, made if need be with its folder. Raises :class:`OSError`."""
    # O_NONBLOCK: nobody waits for the reader of a pipe that lies there.
    how = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(path, how, 0o640)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, how, 0o640)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{path} is not a regular file")
    return fd


def in_use(path: Path) -> bool:
    """Whether a writer has ``path`` open. Raises :class:`OSError`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def put(fd: int, data: bytes | memoryview, place: int) -> None:
    """Write all of ``data`` (octets) at ``place``. Raises :class:`OSError`."""
    done = os.pwrite(fd, data, place)
    while done < len(data):  # say a full disk: the next try brings the error
        more = os.pwrite(fd, data[done:], place + done)
        if not more:
            raise OSError("the disk takes no more")
        done += more


class SoundFile(ABC):
    """A file being recorded into; takes over the descriptor ``fd`` of a regular file, and locks it while it is open.

    ``frames`` is how many frames of FRAME samples it holds. All methods raise :class:`OSError` when the disk refuses.
    """

    def __init__(self, fd: int, channels: int) -> None:
        with contextlib.suppress(OSError):  # a file system without locks, or a writer that a disk holds
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.fd = fd
        self.channels = channels
        self.frames = 0

    @abstractmethod
    def write(self, index: int, sound: Samples) -> None:
        """The frames from number ``index`` on: shape (n, channels, FRAME). What is left out between is silence."""

    @abstractmethod
    def state(self) -> None:
        """Let the file say itself how much it holds, for readers to come after a kill."""

    @abstractmethod
    def complete(self, frames: int) -> None:
        """Nothing follows: make the file ``frames`` long, with silence, or by cutting it off."""

    def check(self) -> None:
        """Raises :class:`OSError` if the file was removed from its folder: nobody will find what goes into it."""
        if not os.fstat(self.fd).st_nlink:
            raise FileNotFoundError("the file was removed while it was recorded into")

    def close(self, frames: int | None = None) -> None:
        """Complete the file at ``frames`` (as it is, without), and close it."""
        try:
            self.complete(self.frames if frames is None else frames)
            self.check()
        finally:
            os.close(self.fd)

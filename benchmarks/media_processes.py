"""A media worker, and what belongs to it, driven as the control process drives it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import processes
from media import commands, ipc, reports
from media.ipc import Child
from media.speech.messages import UtteranceEnded

PORTS = "32768-60998"
START_PATIENCE = 30.0
LEAVE_PATIENCE = 20.0
IO_PATHS = ("portable", "uring")


class ProcessError(Exception):
    """A process of the media plane does not do what it should; the text says which and what it said last."""


@contextlib.contextmanager
def _stderr_into(path: Path) -> Iterator[None]:
    """What processes started meanwhile complain of goes into a file."""
    kept = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class MediaProcesses:
    """One media worker, its writer and, if ``words``, a recogniser. ``cpu`` and ``memory`` are of all of them.

    Raises :class:`ProcessError` from every method that waits, when the worker fails or dies.
    """

    def __init__(
        self, folder: Path, *, io: str = "portable", words: bool = False, module: str = "media.worker"
    ) -> None:
        self.about = ""
        self.loads: list[reports.WorkerLoad] = []
        self.keys: Counter[str] = Counter()
        """Keys heard, by method."""
        self.utterances = 0
        self.not_recorded: list[str] = []
        self._folder = folder
        self._words = words
        self._complaints = folder / "complaints"
        self._worker: Child[reports.Report] = Child(
            module, reports.Report, self._take, arguments=["--ports", PORTS, "--io", io]
        )
        self._recogniser: Child[reports.Report] = Child(
            "media.speech.recogniser",
            reports.Report,
            self._take_recogniser,
            arguments=["--listen", str(folder / "ears"), "--max-listening", "1000"],
        )
        self._ready = asyncio.Event()
        self._hears = asyncio.Event()
        self._failure = ""
        self._ports: dict[int, int] = {}
        self._closed: list[reports.StreamStats] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        with _stderr_into(self._complaints):
            await self._worker.start()
            if self._words:
                await self._recogniser.start()
        try:
            await self._or_death(self._ready.wait(), START_PATIENCE)
            if self._words:
                await self._or_death(self._hears.wait(), START_PATIENCE)
                self.send(commands.UseRecogniser(str(self._folder / "ears")))
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        last = [] if self._worker.pid is None else processes.below(self._worker.pid)
        await self._worker.close()
        if self._words:
            await self._recogniser.close()
        # A writer that has much to write does so after its worker is gone.
        await asyncio.to_thread(processes.wait_until_gone, last, LEAVE_PATIENCE)

    def _take(self, report: reports.Report) -> None:
        match report:
            case ipc.Ready(about=about):
                self.about = about
                self._ready.set()
            case ipc.Failed(reason=reason) | reports.OpenFailed(reason=reason):
                self._failure = reason
            case reports.Opened(stream=stream, port=port):
                self._ports[stream] = port
            case reports.Closed(stats=stats):
                self._closed.append(stats)
            case reports.WorkerLoad():
                self.loads.append(report)
            case reports.DigitHeard(method=method):
                self.keys[method] += 1
            case UtteranceEnded():
                self.utterances += 1
            case reports.Recorded(reason=reason, lost=lost) if reason or lost:
                self.not_recorded.append(reason or f"{lost} samples lost")
            case reports.PlayEnded(reason=reason) if reason not in {"", "stopped", "closed", "replaced"}:
                self._failure = reason
            case _:
                pass
        self._changed.set()

    def _take_recogniser(self, report: reports.Report) -> None:
        match report:
            case ipc.Ready():
                self._hears.set()
            case ipc.Failed(reason=reason):
                self._failure = reason
            case _:
                pass

    def send(self, command: ipc.Message) -> None:
        self._worker.send(command)

    async def open(self, streams: int) -> list[int]:
        """Open streams 1, 2, … ``streams``; their ports."""
        for stream in range(1, streams + 1):
            self.send(commands.Open(stream, "127.0.0.1"))
        await self._until(lambda: len(self._ports) == streams)
        return [self._ports[stream] for stream in range(1, streams + 1)]

    async def drop_all(self) -> list[reports.StreamStats]:
        """Close all streams; what the worker says of each."""
        for stream in self._ports:
            self.send(commands.Drop(stream))
        await self._until(lambda: len(self._closed) == len(self._ports))
        return self._closed

    async def run(self, seconds: float) -> None:
        """Let time pass."""
        await self._or_death(asyncio.sleep(seconds), seconds + 60)

    def pids(self) -> dict[str, int]:
        """Process ids by what they do."""
        assert self._worker.pid is not None
        found = {"worker": self._worker.pid}
        found |= {processes.module(pid).rpartition(".")[2]: pid for pid in processes.below(self._worker.pid)}
        if self._words and self._recogniser.pid is not None:
            found["recogniser"] = self._recogniser.pid
        return found

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU by process."""
        try:
            return {name: processes.cpu(pid) for name, pid in self.pids().items()}
        except OSError as error:
            raise ProcessError(f"a process is gone: {self._last_words()}") from error

    def memory(self) -> int:
        """KiB of all processes."""
        return sum(processes.memory(pid) for pid in self.pids().values())

    async def _until(self, done) -> None:
        async def changes() -> None:
            while not done():
                self._changed.clear()
                if self._failure:
                    raise ProcessError(self._failure)
                await self._changed.wait()

        await self._or_death(changes(), 60.0)

    async def _or_death(self, work, patience: float) -> None:
        """Await ``work``; raises :class:`ProcessError` when the worker fails or dies first, or patience ends."""
        task = asyncio.ensure_future(work)
        deaths = [self._worker.exited] + ([self._recogniser.exited] if self._words else [])
        try:
            await asyncio.wait([task, *deaths], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if any(death.done() for death in deaths):
                raise ProcessError(f"a process died: {self._failure or self._last_words()}")
            if self._failure:
                raise ProcessError(self._failure)
            if not task.done():
                raise ProcessError(f"nothing within {patience:g} s: {self._last_words()}")
            await task
        finally:
            task.cancel()

    def _last_words(self) -> str:
        lines = self._complaints.read_text(errors="replace").strip().splitlines() if self._complaints.exists() else []
        return lines[-1] if lines else "it said nothing"


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for one measurement."""
    with tempfile.TemporaryDirectory(prefix="ivrea-bench-") as name:
        yield Path(name)

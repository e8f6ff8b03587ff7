"""Keeps the recogniser processes running and tells the media workers where they listen."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from engine import tasks
from engine.log import get_logger
from media import commands, ipc, reports
from media.ipc import Child
from media.speech.messages import RecogniserLoad

log = get_logger(__name__)

START_PATIENCE = 30.0
"""Seconds until the matcher must serve; a large vosk model may take :data:`VOSK_PATIENCE` to load."""

VOSK_PATIENCE = 180.0
RESTART_PAUSE = 1.0


class RecogniserError(Exception):
    """The recogniser cannot start: the model is missing or broken. The text says which and why."""


class Recognisers:
    """All recogniser processes. The matcher, which takes all calls together, has one; vosk ``vosk_processes``,
    each with its own copy of the model and its share of the calls.

    ``on_new`` is told of each new socket that one of them listens on.
    """

    def __init__(
        self,
        *,
        vosk_model: str,
        vosk_processes: int,
        max_listening: int,
        on_new: Callable[[commands.UseRecogniser], None],
    ) -> None:
        """``max_listening`` calls at a time, of all of them together."""
        self._on_new = on_new
        count = vosk_processes if vosk_model else 1
        self.processes = [
            RecogniserProcess(
                vosk_model=vosk_model,
                max_listening=-(-max_listening // count),
                on_path=partial(self._announce, number),
            )
            for number in range(count)
        ]

    def _announce(self, number: int, path: str) -> None:
        self._on_new(commands.UseRecogniser(path, number, len(self.processes)))

    @property
    def about(self) -> str:
        """What they recognise with, in words."""
        about = self.processes[0].about
        return about if len(self.processes) == 1 else f"{about}, {len(self.processes)} processes"

    async def start(self) -> None:
        """Start them and wait until all serve. Raises :class:`RecogniserError` and leaves none behind."""
        started = await asyncio.gather(*(process.start() for process in self.processes), return_exceptions=True)
        for outcome in started:
            if isinstance(outcome, BaseException):
                await self.close()
                raise outcome

    async def close(self) -> None:
        """End them all."""
        await asyncio.gather(*(process.close() for process in self.processes))


class RecogniserProcess:
    """One process that hears words; ``on_path`` gets each new socket that it listens on."""

    def __init__(self, *, vosk_model: str, max_listening: int, on_path: Callable[[str], None]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ivrea-ears-")
        self._limit = max_listening
        self._arguments = ["--max-listening", str(max_listening)]
        if vosk_model:
            self._arguments += ["--vosk-model", vosk_model]
        self._patience = VOSK_PATIENCE if vosk_model else START_PATIENCE
        self._on_path = on_path
        self._child: Child[reports.Report] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._failure = ""
        self.about = ""
        self.load: RecogniserLoad | None = None
        self.restarts = 0
        self.refused = 0
        """Utterances that were not heard because as many as ``max_listening`` were, over all restarts."""

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def outcomes(self) -> Iterator[tuple[str, int]]:
        """How many utterances it decided, refused over the limit, and cut short by overload, since it was started."""
        if self.load is not None:
            yield "decided", self.load.decided
            yield "refused", self.refused
            yield "cut", self.load.cut

    async def start(self) -> None:
        """Start it and wait until it serves. Raises :class:`RecogniserError`."""
        self._keeper = asyncio.create_task(self._keep())
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait([ready, self._keeper], timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not self._ready.is_set():
            await self.close()
            raise RecogniserError(self._failure or "the recogniser did not start")

    async def _keep(self) -> None:
        generation = 0
        while True:
            path = str(Path(self._folder.name) / str(generation))
            generation += 1
            self._child = Child(
                "media.speech.recogniser",
                reports.Report,
                partial(self._take, path),
                arguments=("--listen", path, *self._arguments),
            )
            try:
                await self._child.start()
            except OSError as error:  # no memory, no file descriptors: better later
                self._failure = error.strerror or str(error)
                log.error("recogniser_not_started", error=self._failure)
                if not self._ready.is_set():
                    return
                await asyncio.sleep(RESTART_PAUSE)
                continue
            status = await self._child.exited
            await self._child.close()
            if not self._ready.is_set():
                return
            self.restarts += 1
            self.load = None
            log.error("recogniser_died", status=status)
            await asyncio.sleep(RESTART_PAUSE)

    def _take(self, path: str, report: reports.Report) -> None:
        match report:
            case ipc.Ready(pid=pid, about=about):
                self.about = about
                self.load = None
                self._ready.set()
                log.info("recogniser_ready", pid=pid, about=about)
                self._on_path(path)
            case ipc.Failed(reason=reason):
                self._failure = reason
                log.error("recogniser_failed", reason=reason)
            case RecogniserLoad():
                self._note(report)
            case _:
                pass

    def _note(self, load: RecogniserLoad) -> None:
        """Count what was not heard over the limit; tell of it at most once a second, as often as load is told."""
        before = self.load.refused if self.load is not None else 0
        if load.refused > before:
            self.refused += load.refused - before
            log.warning(
                "words_not_heard",
                utterances=load.refused - before,
                reason="speech.max_listening",
                listening=load.utterances,
                limit=self._limit,
            )
        self.load = load

    async def close(self) -> None:
        if self._keeper is not None:
            await tasks.end([self._keeper])
        if self._child is not None:
            await self._child.close()
        self._folder.cleanup()

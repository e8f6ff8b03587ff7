"""Synthesis as the control process sees it: a text goes in, the path of a stored prompt comes out.

:class:`Synth` keeps one speaking process, gives it one prompt at a time, kills it when it takes too
long, and starts a fresh one. What is in the store already never reaches it. Nothing
of the speech engine is imported here.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from media.ipc import Child, Failed, Ready
from media.tts import text as texts
from media.tts import voices
from media.tts.messages import FromSpeaker, Render, Rendered, RenderFailed
from media.tts.store import PromptStore, key_for_text

log = structlog.get_logger()

ENGINE = "espeak-ng"
DEFAULT_RATE = 160
"""Words a minute: a little slower than the engine's own 175, for narrow-band ears."""
SLOWEST, FASTEST = 80, 450

_TREATMENT = 2
"""Raised whenever a prompt is treated differently (its rate, level, ends): old prompts are then made anew."""

_MODULE = "media.tts.espeak"
_ATTEMPTS = 2
_AT_ONCE = 4


class SynthError(Exception):
    """A text cannot be spoken; the message says why."""


class _Retry(Exception):
    """An attempt failed in a way that a fresh process may not."""


@dataclass(frozen=True, slots=True)
class Speech:
    """One thing to speak, as :meth:`Synth.render` takes it. ``rate`` in words a minute, 0 for the default."""

    text: str
    voice: str = "en"
    language: str = ""
    rate: int = 0


def missing_extra() -> str | None:
    """Why there is no speech synthesis on this machine, or ``None``. Imports nothing."""
    missing = [name for name in ("pyttsx3", "espeakng_loader") if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return f"speech synthesis is not installed ({', '.join(missing)} missing): pip install 'ivrea[tts]'"


class Synth:
    """Renders texts into a :class:`PromptStore`, each once."""

    def __init__(
        self,
        store: PromptStore,
        *,
        module: str = _MODULE,
        start_timeout: float = 20.0,
        render_timeout: float = 10.0,
    ) -> None:
        """``render_timeout`` is the seconds allowed for a short text; a long one gets more."""
        self._store = store
        self._module = module
        self._start_timeout = start_timeout
        self._render_timeout = render_timeout
        self._unavailable = missing_extra()
        self._version = "" if self._unavailable else _version()
        self._about = ""
        self._child: Child[FromSpeaker] | None = None
        self._turn = asyncio.Lock()
        self._jobs = itertools.count(1)
        self._waiting: tuple[int, asyncio.Future[FromSpeaker]] | None = None
        self._running: dict[str, asyncio.Task[Path]] = {}
        self._closed = False
        self.restarts = 0
        """Times that a speaking process had to be replaced."""

    @property
    def unavailable_reason(self) -> str | None:
        """Why nothing can be spoken, in words, or ``None``."""
        return self._unavailable

    def available(self) -> bool:
        """Whether texts can be spoken."""
        return self._unavailable is None

    @property
    def about(self) -> str:
        """The engine's name and version, once started."""
        return self._about

    @property
    def pid(self) -> int | None:
        """The speaking process, if there is one."""
        return self._child.pid if self._child is not None else None

    async def start(self) -> None:
        """Start the speaking process, so that a broken installation is known at once.

        Does nothing when the extra is not installed. Raises :class:`SynthError` when it is and does not work.
        """
        await asyncio.to_thread(self._store.sweep)
        if self.available():
            async with self._turn:
                try:
                    await self._process()
                except _Retry as error:
                    await self._discard()
                    raise SynthError(str(error)) from error

    async def render(self, text: str, *, voice: str = "en", language: str = "", rate: int = 0) -> Path:
        """The prompt that says ``text``: from the store, or spoken now. Raises :class:`SynthError`.

        Equal requests at the same time share one rendering, which goes on when one of them is cancelled.
        """
        if self._closed:
            raise SynthError("speech synthesis is closed")
        if self._unavailable:
            raise SynthError(self._unavailable)
        try:
            spoken = texts.clean(text)
            name = voices.resolve(voice, language)
        except (texts.Unspeakable, voices.UnknownVoice) as error:
            raise SynthError(str(error)) from error
        rate = rate or DEFAULT_RATE
        if not SLOWEST <= rate <= FASTEST:
            raise SynthError(f"a rate of {rate} words a minute: {SLOWEST} to {FASTEST} can be spoken")
        key = key_for_text(ENGINE, self._version, name, "", rate, spoken)
        if self._store.has(key):
            return self._store.path(key)
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._produce(Render(next(self._jobs), key, spoken, name, rate)))
            self._running[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if task.cancelled() and not (waiter and waiter.cancelling()):
                raise SynthError("speech synthesis was closed") from None
            raise

    async def close(self) -> None:
        """Give up what is being rendered and end the process."""
        self._closed = True
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._discard()

    def _forget(self, key: str, task: asyncio.Task[Path]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may be left to

    async def _produce(self, request: Render) -> Path:
        async with self._turn:
            reason = ""
            for _ in range(_ATTEMPTS):
                try:
                    return await self._attempt(request)
                except _Retry as error:
                    reason = str(error)
                    log.warning("speech_retried", reason=reason, characters=len(request.text))
                    await self._discard()
                except asyncio.CancelledError:
                    await self._discard()  # it is busy with a prompt that nobody wants
                    raise
        raise SynthError(reason)

    async def _attempt(self, request: Render) -> Path:
        child = await self._process()
        answer = await self._ask(child, request.job, self._render_timeout + len(request.text) / 100, request)
        if isinstance(answer, RenderFailed):
            if answer.final:
                raise SynthError(answer.reason)
            raise _Retry(answer.reason)
        if not isinstance(answer, Rendered) or not self._store.has(request.key):
            raise _Retry("the speaking process delivered no prompt")
        return self._store.path(request.key)

    async def _process(self) -> Child[FromSpeaker]:
        """The running process, started if there is none. Raises :class:`_Retry`, :class:`SynthError`."""
        if self._child is not None and not self._child.exited.done():
            return self._child
        await self._discard()
        self._child = Child(
            self._module, FromSpeaker, self._receive, arguments=("--store", str(self._store.folder.absolute()))
        )
        try:
            await self._child.start()
        except OSError as error:
            raise _Retry(f"the speaking process cannot be started: {error}") from error
        answer = await self._ask(self._child, 0, self._start_timeout)
        if isinstance(answer, Failed):
            self._unavailable = answer.reason
            raise SynthError(answer.reason)
        if isinstance(answer, Ready):
            self._about = answer.about
        return self._child

    async def _ask(
        self, child: Child[FromSpeaker], job: int, seconds: float, request: Render | None = None
    ) -> FromSpeaker:
        """Send ``request`` and wait for what answers ``job``. Raises :class:`_Retry`."""
        future: asyncio.Future[FromSpeaker] = asyncio.get_running_loop().create_future()
        self._waiting = (job, future)
        if request is not None:
            child.send(request)
        either: set[asyncio.Future[Any]] = {future, child.exited}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        if child.exited.done():
            raise _Retry(f"the speaking process ended with status {child.exited.result()}")
        raise _Retry(f"the speaking process gave no answer within {seconds:.0f} s")

    def _receive(self, message: FromSpeaker) -> None:
        if self._waiting is None:
            return
        job, future = self._waiting
        if not future.done() and (message.job if isinstance(message, Rendered | RenderFailed) else 0) == job:
            future.set_result(message)

    async def _discard(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if not self._closed:
            self.restarts += 1
        child.kill()
        with contextlib.suppress(OSError):
            await child.close()


async def render_all(synth: Synth, wanted: Iterable[Speech]) -> dict[Speech, Path | SynthError]:
    """Render everything, a few at a time so that others get their turn; each with its path or its error."""
    results: dict[Speech, Path | SynthError] = {}
    queue = iter(dict.fromkeys(wanted))

    async def work() -> None:
        for speech in queue:
            try:
                results[speech] = await synth.render(
                    speech.text, voice=speech.voice, language=speech.language, rate=speech.rate
                )
            except SynthError as error:
                results[speech] = error

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(work())
    return results


def _version() -> str:
    parts = [f"{name}-{importlib.metadata.version(name)}" for name in ("espeakng-loader", "pyttsx3")]
    return "+".join([*parts, f"treatment-{_TREATMENT}"])

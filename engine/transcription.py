"""Recordings to text: decoded by one process, transcribed by another, one recording at a time.

Neither touches a call: both are short-lived, limited, and stand behind everything else on the machine.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.log import get_logger
from media.files import AsRecorded, MediaError
from media.ipc import Child
from media.recordings import as_wave, read_wave
from media.speech.dictation import LanguageNotInstalled, TranscriptionError, model_for
from media.speech.messages import HeardWord
from media.speech.model import ModelError
from media.speech.transcriber import FromTranscriber, Transcribe, TranscriptionRefused
from media.speech.vosk_engine import check_model

__all__ = [
    "LanguageNotInstalled",
    "NotTranscribable",
    "Transcriber",
    "TranscriberFailed",
    "Transcript",
    "TranscriptionError",
]

log = get_logger(__name__)

PATIENCE = 60.0
"""Seconds that a recording may take whatever its length: a large model is long to load."""

PACE = 3.0
"""Seconds that each second of a recording may take on top of that."""

_MODULE = "media.speech.transcriber"


class NotTranscribable(TranscriptionError):
    """The recording cannot be used: no such file, no sound, too long, not decodable."""


class TranscriberFailed(TranscriptionError):
    """The engine cannot work, was killed, or took too long."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in ``seconds`` of recording; times of ``words`` are seconds from its beginning."""

    text: str
    words: tuple[HeardWord, ...]
    engine: str
    language: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """For ``ivrea transcribe --json``."""
        return {
            "text": self.text,
            "language": self.language,
            "engine": self.engine,
            "seconds": round(self.seconds, 2),
            "words": [
                {"word": word.word, "confidence": word.confidence, "start": word.start, "end": word.end}
                for word in self.words
            ],
        }


class Transcriber:
    """Transcribes recordings, ``at_once`` at a time; the others wait their turn."""

    def __init__(
        self,
        *,
        vosk_model: str = "",
        at_once: int = 1,
        patience: float = PATIENCE,
        pace: float = PACE,
        module: str = _MODULE,
    ) -> None:
        """``patience`` and ``pace``: see :data:`PATIENCE`, :data:`PACE`."""
        self._vosk_model = Path(vosk_model) if vosk_model else None
        self._slots = asyncio.Semaphore(at_once)
        self._patience = patience
        self._pace = pace
        self._module = module

    def check(self, language: str) -> None:
        """Raises :class:`LanguageNotInstalled`, or :class:`TranscriberFailed` for a broken vosk model."""
        self._model(language)

    async def transcribe(self, path: Path, language: str = "en", *, channel: int | None = None) -> Transcript:
        """The words of the recording ``path``: of one ``channel`` (0: left), or of all mixed.

        Raises :class:`TranscriptionError`: :class:`LanguageNotInstalled`, :class:`NotTranscribable` or
        :class:`TranscriberFailed`. When it is cancelled, its processes end and nothing is left behind.
        """
        model = self._model(language)
        async with self._slots:
            try:
                async with as_wave(path, AsRecorded(channel=channel)) as sound:
                    samples, rate = await asyncio.to_thread(read_wave, sound)
                    seconds = len(samples) / rate
                    answer = await self._ask(sound, model, seconds)
            except (MediaError, OSError) as error:
                raise NotTranscribable(str(error)) from error
        if isinstance(answer, TranscriptionRefused):
            raise TranscriberFailed(f"{path}: {answer.reason}")
        text = " ".join(word.word for word in answer.words)
        log.info("transcribed", path=str(path), seconds=round(seconds, 1), words=len(answer.words), by=answer.engine)
        return Transcript(text, tuple(answer.words), answer.engine, language, seconds)

    def _model(self, language: str) -> Path | None:
        model = model_for(language, self._vosk_model)
        if model is not None:
            try:
                check_model(model, with_grammar=False)
            except ModelError as error:
                raise TranscriberFailed(str(error)) from error
        return model

    async def _ask(self, sound: Path, model: Path | None, seconds: float) -> FromTranscriber:
        """What the process says. Raises :class:`TranscriberFailed` when it says nothing."""
        answer: asyncio.Future[FromTranscriber] = asyncio.get_running_loop().create_future()

        def receive(message: FromTranscriber) -> None:
            if not answer.done():
                answer.set_result(message)

        limit = self._patience + self._pace * seconds
        child: Child[FromTranscriber] = Child(
            self._module, FromTranscriber, receive, arguments=("--cpu-seconds", str(round(limit) + 1))
        )
        try:
            await child.start()
            child.send(Transcribe(os.fsencode(sound), os.fsencode(model) if model else b""))
            either: set[asyncio.Future[Any]] = {answer, child.exited}
            done, _ = await asyncio.wait(either, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        except OSError as error:
            raise TranscriberFailed(f"the transcriber cannot be started: {error}") from error
        finally:
            child.kill()
            await child.close()
        if answer.done():
            return answer.result()
        fate = f"ended with status {await child.exited}" if done else f"took more than {limit:.0f} s"
        raise TranscriberFailed(f"the transcriber {fate}")

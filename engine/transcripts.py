"""Transcriptions that were asked for, made one after the other in the background, and put down in the database.

What is to be done stands in the table ``transcriptions``: a restart goes on where it was. Those whom ``told`` knows are
owed their word in the transaction that changes a row.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from sqlalchemy import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.callbacks.rows import Row
from engine.log import get_logger
from engine.store import Store, transcriptions
from engine.store.models import Delivery
from engine.store.transcriptions import Status, Transcription
from engine.transcription import Transcriber, TranscriptionError

log = get_logger(__name__)

LOOK_EVERY = 2.0
"""Seconds between looks for what flows have asked for; what the API asks for is begun at once."""

PAUSE_AFTER_FAILURE = 2.0

_INSERT = insert(Delivery)


class Told(Protocol):
    """From a transcription, and whether it is new, to the rows of the outbox that are owed for it."""

    async def __call__(self, connection: AsyncConnection, changed: Transcription, *, new: bool) -> Sequence[Row]:
        """In the transaction that changes it."""


class Transcripts:
    """The one maker of transcriptions of a database. :meth:`run` is its task."""

    def __init__(self, store: Store, transcriber: Transcriber, owing: Callable[[], None]) -> None:
        """``owing`` is called when there is something new in the outbox."""
        self.told: list[Told] = []
        self._store = store
        self._transcriber = transcriber
        self._owing = owing
        self._wake = asyncio.Event()

    async def ask(self, account: str, call: str, recording: int, path: str, language: str) -> Transcription:
        """Have a recording transcribed, whose file is ``path``. Raises SQLAlchemy's errors."""
        async with self._store.writing() as connection:
            made = await transcriptions.add(connection, account, call, recording, path, language)
            await self._tell(connection, made, new=True)
        self._owing()
        self._wake.set()
        return made

    async def run(self) -> None:
        """Make what is asked for, until cancelled."""
        while True:
            self._wake.clear()
            try:
                async with self._store.reading() as connection:
                    wanted = await transcriptions.next_open(connection)
                if wanted is not None:
                    await self._make(wanted)
                    continue
            except (SQLAlchemyError, OSError) as error:
                log.warning("transcripts_without_database", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(PAUSE_AFTER_FAILURE)
                continue
            except Exception:  # a defect of ours: the others are made all the same
                log.exception("transcripts_broke")
                await asyncio.sleep(PAUSE_AFTER_FAILURE)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._wake.wait()

    async def _make(self, wanted: Transcription) -> None:
        if wanted.status != "transcribing":
            await self._move(wanted, "transcribing")
        try:
            made = await self._transcriber.transcribe(Path(wanted.path), wanted.language)
        except TranscriptionError as error:
            log.info("not_transcribed", call_id=wanted.call_id, path=wanted.path, why=str(error))
            await self._move(wanted, "failed", error=_without_path(str(error), wanted.path))
        except Exception as error:
            await self._move(wanted, "failed", error=f"an internal error: {type(error).__name__}")
            raise
        else:
            await self._move(wanted, "done", text=made.text)

    async def _move(self, wanted: Transcription, status: Status, *, text: str | None = None, error: str = "") -> None:
        async with self._store.writing() as connection:
            moved = await transcriptions.move(connection, wanted.id, status, text=text, error=error or None)
            if moved is not None:
                await self._tell(connection, moved, new=False)
        self._owing()

    async def _tell(self, connection: AsyncConnection, changed: Transcription, *, new: bool) -> None:
        for told in self.told:
            if rows := await told(connection, changed, new=new):
                await connection.execute(_INSERT, list(rows))


def _without_path(text: str, path: str) -> str:
    """Where files lie is nobody's business outside."""
    return text.replace(path, "the recording")

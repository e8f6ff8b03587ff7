"""Stored media: sounds that an account has uploaded, which its flows name without a URL.

The files are named by the SHA-256 of their content, in one folder for all accounts; the table says whose they are. The
same sound of two accounts is one file.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from engine.accounts import repository
from engine.accounts.entities import Media
from engine.accounts.repository import Taken, Unknown
from engine.calls.services import PromptError, Renderer
from engine.store import Store
from flows.prompts import Prompt


class MediaShelf:
    """The files of stored media, and who may hear which."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        self._store = store
        self._changing = asyncio.Lock()

    async def add(self, account: str, name: str, data: bytes, *, content_type: str) -> Media:
        """Keep a sound. Raises :class:`~engine.accounts.repository.Taken`, OSError and SQLAlchemy's errors."""
        digest = hashlib.sha256(data).hexdigest()
        async with self._changing:
            await asyncio.to_thread(_write, self.folder, digest, data)  # before anything waits for our transaction
            try:
                async with self._store.writing() as connection:
                    return await repository.add_media(
                        connection, account, name, content_type=content_type, digest=digest, size=len(data)
                    )
            except Taken:
                await self._clear(digest)
                raise

    async def clear(self, digest: str) -> None:
        """Delete a file that nobody has any more."""
        async with self._changing:
            await self._clear(digest)

    async def _clear(self, digest: str) -> None:
        async with self._store.reading() as connection:
            wanted = await repository.has_media(connection, digest)
        if not wanted:
            await asyncio.to_thread((self.folder / digest).unlink, missing_ok=True)

    def renderer(self, account: str, render: Callable[[Path | None], Renderer]) -> Renderer:
        """A renderer for flows of ``account`` that do not lie in a folder: URLs, and what the account has stored.

        ``render`` makes those for media in a folder, and for URLs alone.
        """
        stored, others = render(self.folder), render(None)

        async def make(prompt: Prompt) -> Path:
            if not prompt.media or urlsplit(prompt.media).scheme.lower() in ("http", "https"):
                return await others(prompt)
            try:
                async with self._store.reading() as connection:
                    found = await repository.get(connection, Media, account, prompt.media)
            except Unknown as error:
                raise PromptError(str(error)) from None
            except (SQLAlchemyError, OSError) as error:
                raise PromptError("the database is out of reach") from error
            return await stored(Prompt(media=found.digest))

        return make


def _write(folder: Path, name: str, data: bytes) -> None:
    """Whole or not at all."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    if path.exists():
        return
    unfinished = folder / f".{name}.{os.getpid()}"
    unfinished.write_bytes(data)
    unfinished.replace(path)

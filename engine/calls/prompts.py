"""Makes prompts: texts by synthesis, media by reading files or fetching URLs, all into one store."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import urlsplit

from engine.callbacks.fetch import Fetcher, FetchFailed
from engine.callbacks.urls import Refused
from engine.calls.services import PromptError, Renderer
from engine.log import get_logger
from flows.prompts import Prompt
from media.files import MediaError, MediaImporter
from media.tts.store import PromptStore
from media.tts.synth import Synth, SynthError

MAX_MEDIA_BYTES = 32 * 1024 * 1024
FETCH_SECONDS = 30.0
TRIM_EVERY = 300.0

log = get_logger(__name__)


class PromptTrimmer:
    """Keeps the prompts that are stored under a size; those that may be played without being asked for again stay."""

    def __init__(self, store: PromptStore, most: int, held: Callable[[], Collection[Path]]) -> None:
        """``most``: octets, 0 for any number; ``held``: the files that have to stay."""
        self._store = store
        self._most = most
        self._held = held
        self.octets = 0
        """What there was the last time."""

    async def run(self) -> None:
        """Until cancelled."""
        while self._most:
            await self.trim()
            await asyncio.sleep(TRIM_EVERY)

    async def trim(self) -> None:
        """Look once."""
        try:
            self.octets, removed = await asyncio.to_thread(self._store.trim, self._most, self._held())
        except OSError as error:
            log.warning("prompts_not_trimmed", error=str(error))
            return
        if removed:
            log.info("prompts_trimmed", removed=removed, octets=self.octets)
        elif self.octets > self._most:
            log.warning("prompts_too_large", octets=self.octets, reason="those that are left are in use")


class PromptMaker:
    """Renders any prompt of a flow into the prompt store."""

    def __init__(self, store: PromptStore, synth: Synth, fetcher: Fetcher) -> None:
        self._importer = MediaImporter(store)
        self._synth = synth
        self._fetcher = fetcher

    def for_flow(self, folder: Path | None, voice: str) -> Renderer:
        """A renderer for a flow that lies in ``folder`` and speaks with ``voice`` where it names none.

        Without a folder (the flow came over HTTP, or the name was made up on the call) only URLs can be played.
        """

        async def render(prompt: Prompt) -> Path:
            try:
                if prompt.media:
                    return await self._media(prompt.media, folder)
                return await self._synth.render(prompt.text, voice=prompt.voice or voice, language=prompt.language)
            except (SynthError, MediaError, FetchFailed, Refused) as error:
                raise PromptError(str(error)) from error

        return render

    async def _media(self, media: str, folder: Path | None) -> Path:
        if urlsplit(media).scheme.lower() not in ("http", "https"):
            if folder is None:
                raise PromptError("only what has a URL can be played here, no files")
            return await self._importer.add(folder / media)
        answer = await self._fetcher.fetch("GET", media, timeout=FETCH_SECONDS, body_limit=MAX_MEDIA_BYTES)
        if answer.status != 200:
            raise PromptError(f"the server answered {answer.status}")
        if not answer.complete:
            raise PromptError(f"larger than {MAX_MEDIA_BYTES >> 20} MiB")
        with tempfile.NamedTemporaryFile() as file:
            await asyncio.to_thread(file.write, answer.body)
            file.flush()
            return await self._importer.add(Path(file.name), name=media)

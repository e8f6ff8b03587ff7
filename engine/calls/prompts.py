"""Makes prompts: texts by synthesis, media by reading files or fetching URLs, all into one store."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from engine.callbacks.fetch import Fetcher, FetchError
from engine.calls.flowbook import PromptError, Renderer
from flows.call import Prompt
from media.files import MediaError, import_media
from media.tts.store import PromptStore
from media.tts.synth import Synth, SynthError

MAX_MEDIA_BYTES = 32 * 1024 * 1024


class PromptMaker:
    """Renders any prompt of a flow into the prompt store."""

    def __init__(self, store: PromptStore, synth: Synth, fetcher: Fetcher) -> None:
        self._store = store
        self._synth = synth
        self._fetcher = fetcher

    def for_flow(self, folder: Path, voice: str) -> Renderer:
        """A renderer for a flow that lies in ``folder`` and speaks with ``voice`` where it names none."""

        async def render(prompt: Prompt) -> Path:
            try:
                if prompt.media:
                    return await self._media(prompt.media, folder)
                return await self._synth.render(prompt.text, voice=prompt.voice or voice, language=prompt.language)
            except (SynthError, MediaError, FetchError) as error:
                raise PromptError(str(error)) from error

        return render

    async def _media(self, media: str, folder: Path) -> Path:
        if urlsplit(media).scheme.lower() not in ("http", "https"):
            return await import_media(folder / media, self._store)
        fetched = await self._fetcher.get(media, limit=MAX_MEDIA_BYTES)
        with tempfile.NamedTemporaryFile(suffix=Path(urlsplit(media).path).suffix) as file:
            await asyncio.to_thread(file.write, fetched.body)
            file.flush()
            return await import_media(Path(file.name), self._store)

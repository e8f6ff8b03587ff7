"""Talking with a caller by prompts and keys, and recording what they say. Without a voice, tones stand for words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.calls.taken import Taken, discard, take_down
from engine.calls.voicemail.wording import UNKNOWN_KEY
from flows.call import RecordingOrder
from flows.prompts import Prompt
from media.files import MediaError, MediaImporter
from media.tones import Tones

if TYPE_CHECKING:
    from engine.calls.live import LiveCall

Part = str | Path
"""What is said: words, or a sound file."""

ANSWER_PATIENCE = 5.0
"""Seconds that a caller has to press a key after a menu."""

TRIES = 3
"""How often a menu is told."""

SILENCE = 6.0
"""Seconds of silence that end a recording."""


@dataclass(slots=True)
class Talk:
    """With one caller. ``importer`` makes sound files playable; what it made for this call goes with :meth:`end`."""

    call: LiveCall
    tones: Tones
    importer: MediaImporter
    between_keys: float = 2.0
    _speechless: bool = False
    _made: set[Path] = field(default_factory=set)

    async def say(self, *parts: Part) -> None:
        """To the end; keys that are pressed meanwhile wait."""
        await self._begin(parts)
        await self.call.played()

    async def tell(self, *parts: Part) -> str:
        """Until a key is pressed, which is returned, or to the end."""
        await self._begin(parts)
        return await self._key(0.0)

    async def ask(self, *parts: Part, keys: str) -> str:
        """One of ``keys``, or empty when none was pressed for all our asking. Any key ends the words."""
        for _ in range(TRIES):
            await self._begin(parts)
            key = await self._key(ANSWER_PATIENCE)
            if key and key in keys:
                return key
            if key:
                await self.say(UNKNOWN_KEY)
        return ""

    async def enter(self, *parts: Part, most: int = 32) -> str:
        """Digits up to the hash key, as many as can be, or a pause between them; empty when there was none.

        A ``*`` clears what was entered before.
        """
        await self._begin(parts)
        entered = ""
        patience = ANSWER_PATIENCE
        while len(entered) < most:
            key = await self._key(patience)
            if key in ("", "#"):
                break
            entered = "" if key == "*" else entered + key
            patience = max(self.between_keys, 0.5)
        return entered

    async def record(self, path: Path, file_format: Literal["wav", "mp3"], limit: float) -> Taken:
        """After a beep, until ``#``, silence, ``limit`` seconds or the end of the call, which is not raised here."""
        order = RecordingOrder(file_format, "caller", limit, SILENCE, beep=True)
        return await take_down(self.call, path, order, keys="#")

    async def playable(self, path: Path) -> Path | None:
        """A file that can be played with the sound of ``path``; None if there is none."""
        if path.suffix == ".wav" and await asyncio.to_thread(path.is_file):
            return path
        try:
            made = await self.call.unless_over(self.importer.add(path))
        except MediaError as error:
            self.call.trouble(f"{path.name} is not heard: {error}")
            return None
        self._made.add(made)
        return made

    async def end(self) -> None:
        """Forget the sounds that were made for this call: messages are deleted when they are deleted."""
        made, self._made = self._made, set()
        for path in made:
            await discard(path)

    async def _begin(self, parts: Sequence[Part]) -> None:
        call = self.call
        words = [Prompt(text=part, language="en") for part in parts if isinstance(part, str)]
        sounds = {} if self._speechless else await call.sounds_of(words)
        files = [part if isinstance(part, Path) else sounds.get(Prompt(text=part, language="en")) for part in parts]
        if words and not sounds:
            self._speechless = True
            files.insert(0, self.tones.entry)
        call.play_files([file for file in files if file is not None])

    async def _key(self, patience: float) -> str:
        """The next key; empty when none came for ``patience`` seconds after the end of the words."""
        call = self.call
        until: float | None = None
        while True:
            if until is None and not call.playing:
                until = call.now() + patience
            key = await call.key_or_change(until)
            if key:
                call.stop()
                return key
            if until is not None and call.now() >= until:
                return ""

"""Names that callers say when they come into a conference, for those who are there to hear."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from engine.calls.taken import discard, take_down
from flows.call import RecordingOrder, Unsupported

if TYPE_CHECKING:
    from engine.calls.live import LiveCall

SAY_NAME = "Please say your name after the tone, and press any key."
HAS_COME = "has joined the conference."

ORDER = RecordingOrder(limit=5.0, silence=2.0, beep=True, trim=True)

LEAST = 0.2
"""Seconds below which it is no name."""

KEPT = 60.0
"""Seconds after its announcement in which the sound of a name may still be played."""


class Names:
    """Sounds of names, in a folder of their own; each is deleted when it was heard."""

    def __init__(self, folder: Path) -> None:
        """What an earlier life left in ``folder`` is deleted."""
        shutil.rmtree(folder, ignore_errors=True)
        self._folder = folder
        self._going: set[asyncio.Task[None]] = set()

    async def ask(self, call: LiveCall) -> Path | None:
        """The sound of the name that the caller says now, after a beep; ``None`` when none was said.

        Raises CallEnded and Replaced.
        """
        path = self._folder / f"{uuid.uuid4().hex}.wav"
        try:
            taken = await take_down(call, path, ORDER, keys="0123456789*#ABCD", listed=False)
        except Unsupported as error:
            call.trouble(f"no name is announced: {error}")
            return None
        if taken.ended is None and not taken.problem and taken.seconds >= LEAST:
            return path
        await discard(path)
        if taken.ended is not None:
            raise taken.ended
        if taken.problem:
            call.trouble(f"no name is announced: {taken.problem}")
        return None

    def let_go(self, path: Path) -> None:
        """Nobody is going to be told it again: it goes when whoever hears it now has heard it."""
        asyncio.get_running_loop().call_later(KEPT, self._discard, path)

    def _discard(self, path: Path) -> None:
        task = asyncio.ensure_future(discard(path))
        self._going.add(task)
        task.add_done_callback(self._going.discard)

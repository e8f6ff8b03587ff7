"""What a caller says into a file of ours: a message, a greeting, a name."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.call import CallEnded, Key, RecordingEnded, RecordingOrder, Replaced

if TYPE_CHECKING:
    from engine.calls.live import LiveCall

LEAST = 1.0
"""Seconds below which a recording is nothing."""

_ORDINARY = ("stopped", "limit", "silence", "closed", "")


@dataclass(frozen=True, slots=True)
class Taken:
    """A recording: ``seconds`` in the file, ``spoken`` without the silence that ended it. ``ended`` is set when the
    call was over before the caller pressed a key; ``problem`` when nothing could be recorded.
    """

    path: Path
    seconds: float
    spoken: float
    ended: CallEnded | None = None
    problem: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is long enough to be kept."""
        return not self.problem and self.spoken >= LEAST


async def take_down(call: LiveCall, path: Path, order: RecordingOrder, *, keys: str, listed: bool = True) -> Taken:
    """Record into ``path`` until one of ``keys``, what ``order`` says, or the end of the call, which is not raised.

    Keys pressed before do not count. Without ``listed`` it is none of the call's recordings to anybody else. Raises
    Replaced, and Unsupported when there is nothing to record.
    """
    call.stop()
    while await call.next(call.now()) is not None:
        pass  # keys that were pressed for what came before
    recording = call.signalling.begin_recording(order, path, listed=listed)
    over: CallEnded | None = None
    try:
        while True:
            heard = await call.next(None)
            if isinstance(heard, RecordingEnded) and heard.recording == recording:
                break
            if isinstance(heard, Key) and heard.digit in keys:
                break
    except CallEnded as ended:
        over = ended
    except Replaced:
        await asyncio.shield(call.signalling.complete_recording(recording))
        await discard(path)
        raise
    seconds, why = await asyncio.shield(call.signalling.complete_recording(recording))
    silent = 0.0 if order.trim or why != "silence" else order.silence
    return Taken(path, seconds, max(0.0, seconds - silent), over, "" if why in _ORDINARY else why)


async def discard(path: Path) -> None:
    """Delete a recording that nobody wants."""
    with contextlib.suppress(OSError):
        await asyncio.to_thread(path.unlink, missing_ok=True)

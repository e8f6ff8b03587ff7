"""Leaving a message: greeting, beep, the message, and a menu in which it can be heard, kept, said anew or dropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from engine.calls.taken import Taken, discard
from engine.calls.voicemail import spoken, wording
from engine.calls.voicemail.boxes import Box
from engine.calls.voicemail.talk import Part, Talk
from flows.call import CallEnded, Replaced

TAKES = 5
"""Recordings that one caller may make of one message."""

LOG_IN = "*"
"""Pressed during the greeting, the owner of the box comes to check it."""


async def greet(talk: Talk, box: Box) -> bool:
    """Let the greeting be heard, or what there is in its place; whether the caller pressed :data:`LOG_IN`."""
    parts: list[Part] = []
    if not box.skip_greeting:
        for name in (box.own_greeting, box.greeting):
            if name and (sound := await talk.playable(Path(name))) is not None:
                parts.append(sound)
                break
        else:
            parts += [wording.UNAVAILABLE, *spoken.digits(box.id), wording.IS_NOT]
    if not box.skip_instructions:
        parts.append(wording.HOW)
    return bool(parts) and await talk.tell(*parts) == LOG_IN


async def take(
    talk: Talk, new_file: Callable[[], Path], file_format: Literal["wav", "mp3"], limit: float, *, keep: bool
) -> Taken | None:
    """A recording that the caller has approved of; None if there is none. With ``keep``, who hangs up approves.

    Raises CallEnded, if ``keep`` only when nothing worth keeping was said.
    """
    for _ in range(TAKES):
        taken = await talk.record(new_file(), file_format, limit)
        if taken.ended is not None:
            if keep and taken.counts:
                return taken
            await discard(taken.path)
            raise taken.ended
        if not taken.counts:
            await discard(taken.path)
            await talk.say(wording.FAILED if taken.problem else wording.NOTHING)
            if taken.problem:
                return None
            continue
        try:
            choice = await review(talk, taken)
        except CallEnded as ended:
            if keep:
                return Taken(taken.path, taken.seconds, taken.spoken, ended)
            await discard(taken.path)
            raise
        except Replaced:
            await discard(taken.path)
            raise
        if choice == "keep":
            return taken
        await discard(taken.path)
        if choice == "cancel":
            await talk.say(wording.CANCELLED)
            return None
    return None


async def review(talk: Talk, taken: Taken) -> Literal["keep", "again", "cancel"]:
    """What is to become of a recording; who says nothing keeps it."""
    while True:
        match await talk.ask(wording.REVIEW, keys="1237#"):
            case "1":
                sound = await talk.playable(taken.path)
                if sound is not None and (key := await talk.tell(sound)) in ("2", "3", "7"):
                    return _CHOICES[key]
            case "3" | "7" as key:
                return _CHOICES[key]
            case _:
                return "keep"


_CHOICES: dict[str, Literal["keep", "again", "cancel"]] = {"2": "keep", "3": "again", "7": "cancel"}

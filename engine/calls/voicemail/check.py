"""Checking a mailbox: its messages one after the other, and its settings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.calls.taken import discard
from engine.calls.voicemail import compose, pins, spoken, wording
from engine.calls.voicemail.boxes import Box, Mailboxes, Message
from engine.calls.voicemail.talk import Part, Talk
from engine.store.mailboxes import NEW, SAVED

GREETING_LIMIT = 60.0
"""Seconds of a greeting."""

MORE_KEYS = "124567#"
"""Keys after a message."""


@dataclass(slots=True)
class Check:
    """One visit of the owner of ``box``."""

    talk: Talk
    boxes: Mailboxes
    box: Box
    heard: int = 0

    async def run(self) -> None:
        """Until the caller has enough. Raises CallEnded and MailboxError."""
        while True:
            messages = await self.boxes.messages(self.box)
            new = [message for message in messages if message.state == NEW]
            saved = [message for message in messages if message.state == SAVED]
            match await self._choose(new, saved):
                case "1" if new:
                    going_on = await self._listen(new)
                case "1" | "2":
                    going_on = await self._listen(saved)
                case "5":
                    going_on = await self._settings()
                case _:
                    return
            if not going_on:
                return

    async def _choose(self, new: Sequence[Message], saved: Sequence[Message]) -> str:
        parts: list[Part] = [wording.YOU_HAVE, spoken.count(len(new), "new message")]
        parts += [wording.AND, spoken.count(len(saved), "saved message")]
        if new:
            parts.append(wording.TO_HEAR_NEW)
        if saved:
            parts.append(wording.TO_HEAR_SAVED)
        return await self.talk.ask(*parts, wording.FOR_SETTINGS, keys="125#")

    # --- messages -----------------------------------------------------------------------

    async def _listen(self, messages: Sequence[Message]) -> bool:
        """One after the other; false when the caller wants to end."""
        index = 0
        while index < len(messages):
            match await self._hear(messages[index]):
                case "#" | "":
                    return False
                case "4" if index == 0:
                    await self.talk.say(wording.NONE_BEFORE)
                case "4":
                    index -= 1
                case _:
                    index += 1
        await self.talk.say(wording.NO_MORE)
        return True

    async def _hear(self, message: Message) -> str:
        """Let a message be heard as often as is wanted; the key that leads on: ``2``, ``4``, ``6``, ``7`` or ``#``."""
        self.heard += 1
        sound = await self.talk.playable(Path(message.path))
        about = _about(message, self.box)
        parts: list[Part] = [*about, sound or wording.GONE]
        while True:
            key = await self.talk.tell(*parts)
            if not key or key not in MORE_KEYS:
                key = await self.talk.ask(wording.OPTIONS, keys=MORE_KEYS)
            match key:
                case "1":
                    parts = [sound or wording.GONE]
                case "5":
                    parts = [*about, sound or wording.GONE]
                case "2":
                    self.boxes.mark(self.talk.call.id, self.box, message, "saved")
                    await self.talk.say(wording.SAVED)
                    return key
                case "7":
                    self.boxes.mark(self.talk.call.id, self.box, message, "deleted")
                    await self.talk.say(wording.DELETED)
                    return key
                case _:
                    return key

    # --- settings -----------------------------------------------------------------------

    async def _settings(self) -> bool:
        """Greeting and PIN; false when the caller has stopped answering."""
        while True:
            match await self.talk.ask(wording.SETTINGS, keys="123#"):
                case "1":
                    await self._record_greeting()
                case "2":
                    await self._use_greeting(None)
                    await self.talk.say(wording.USUAL_GREETING)
                case "3":
                    with self.talk.call.secret():
                        await self._change_pin()
                case "#":
                    return True
                case _:
                    return False

    async def _record_greeting(self) -> None:
        await self.talk.say(wording.SAY_GREETING)
        taken = await compose.take(
            self.talk, lambda: self.boxes.new_file(self.box, "wav"), "wav", GREETING_LIMIT, keep=False
        )
        if taken is not None:
            await self._use_greeting(taken.path)
            await self.talk.say(wording.GREETING_KEPT)

    async def _use_greeting(self, path: Path | None) -> None:
        before = self.box.own_greeting
        self.box = self.boxes.change_greeting(self.talk.call.id, self.box, path)
        if before:
            await discard(Path(before))

    async def _change_pin(self) -> None:
        pin = await self.talk.enter(wording.NEW_PIN, most=pins.LONGEST)
        if not pins.is_pin(pin):
            await self.talk.say(wording.NO_PIN)
            return
        if await self.talk.enter(wording.AGAIN, most=pins.LONGEST) != pin:
            await self.talk.say(wording.NOT_THE_SAME)
            return
        kept = await self.talk.call.unless_over(asyncio.to_thread(pins.hashed, pin))
        self.box = self.boxes.change_pin(self.talk.call.id, self.box, kept)
        await self.talk.say(wording.PIN_CHANGED)


def _about(message: Message, box: Box) -> list[Part]:
    """When a message came, and from whom."""
    who = spoken.digits(message.caller) or [wording.UNKNOWN_CALLER]
    return [wording.RECEIVED, *spoken.moment(message.created_at, time.time(), box.time_zone), wording.FROM, *who]

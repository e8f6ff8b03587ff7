"""Checking a mailbox: its messages one after the other, and its settings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.calls.voicemail import compose, pins, spoken
from engine.calls.voicemail.boxes import Box, Mailboxes, Message
from engine.calls.voicemail.talk import Part, Talk
from engine.store.mailboxes import NEW, SAVED

GREETING_LIMIT = 60.0
"""Seconds of a greeting."""

YOU_HAVE = "You have"
AND = "and"
TO_HEAR_NEW = "To hear the new messages, press one."
TO_HEAR_SAVED = "To hear the saved messages, press two."
FOR_SETTINGS = "To change your greeting or your PIN, press five. To end, press the hash key."

RECEIVED = "Received"
FROM = "from"
UNKNOWN_CALLER = "an unknown number"
OPTIONS = (
    "To hear it again, press one. To save it, press two. To hear when it came, press five. For the next message, "
    "press six, for the one before, press four. To delete it, press seven. To end, press the hash key."
)
SAVED_NOW = "Saved."
DELETED_NOW = "Deleted."
GONE = "The sound of this message is not there."
NO_MORE = "There are no more messages."
NONE_BEFORE = "This is the first message."
MORE_KEYS = "124567#"

SETTINGS = (
    "To record your greeting, press one. To use the usual greeting, press two. To change your PIN, press three. "
    "To go back, press the hash key."
)
SAY_GREETING = "Say your greeting after the tone. When you are done, press the hash key."
GREETING_KEPT = "Your greeting was kept."
USUAL_GREETING = "The usual greeting is used."
NEW_PIN = "Enter the new PIN, four to twelve digits, then press the hash key."
AGAIN = "Enter it again."
NO_PIN = "A PIN has four to twelve digits."
NOT_THE_SAME = "These were not the same."
PIN_CHANGED = "Your PIN was changed."


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
        parts: list[Part] = [YOU_HAVE, spoken.count(len(new), "new message")]
        parts += [AND, spoken.count(len(saved), "saved message")]
        if new:
            parts.append(TO_HEAR_NEW)
        if saved:
            parts.append(TO_HEAR_SAVED)
        return await self.talk.ask(*parts, FOR_SETTINGS, keys="125#")

    # --- messages -----------------------------------------------------------------------

    async def _listen(self, messages: Sequence[Message]) -> bool:
        """One after the other; false when the caller wants to end."""
        index = 0
        while index < len(messages):
            match await self._hear(messages[index]):
                case "#" | "":
                    return False
                case "4" if index == 0:
                    await self.talk.say(NONE_BEFORE)
                case "4":
                    index -= 1
                case _:
                    index += 1
        await self.talk.say(NO_MORE)
        return True

    async def _hear(self, message: Message) -> str:
        """Let a message be heard as often as is wanted; the key that leads on: ``2``, ``4``, ``6``, ``7`` or ``#``."""
        self.heard += 1
        sound = await self.talk.playable(Path(message.path))
        about = _about(message, self.box)
        parts: list[Part] = [*about, sound or GONE]
        while True:
            key = await self.talk.tell(*parts)
            if not key or key not in MORE_KEYS:
                key = await self.talk.ask(OPTIONS, keys=MORE_KEYS)
            match key:
                case "1":
                    parts = [sound or GONE]
                case "5":
                    parts = [*about, sound or GONE]
                case "2":
                    self.boxes.mark(self.talk.call.id, self.box, message, "saved")
                    await self.talk.say(SAVED_NOW)
                    return key
                case "7":
                    self.boxes.mark(self.talk.call.id, self.box, message, "deleted")
                    await self.talk.say(DELETED_NOW)
                    return key
                case _:
                    return key

    # --- settings -----------------------------------------------------------------------

    async def _settings(self) -> bool:
        """Greeting and PIN; false when the caller has stopped answering."""
        while True:
            match await self.talk.ask(SETTINGS, keys="123#"):
                case "1":
                    await self._record_greeting()
                case "2":
                    self.box = self.boxes.change_greeting(self.talk.call.id, self.box, None)
                    await self.talk.say(USUAL_GREETING)
                case "3":
                    await self._change_pin()
                case "#":
                    return True
                case _:
                    return False

    async def _record_greeting(self) -> None:
        await self.talk.say(SAY_GREETING)
        taken = await compose.take(
            self.talk, lambda: self.boxes.new_file(self.box, "wav"), "wav", GREETING_LIMIT, keep=False
        )
        if taken is not None:
            self.box = self.boxes.change_greeting(self.talk.call.id, self.box, taken.path)
            await self.talk.say(GREETING_KEPT)

    async def _change_pin(self) -> None:
        pin = await self.talk.enter(NEW_PIN, most=pins.LONGEST)
        if not pins.is_pin(pin):
            await self.talk.say(NO_PIN)
            return
        if await self.talk.enter(AGAIN, most=pins.LONGEST) != pin:
            await self.talk.say(NOT_THE_SAME)
            return
        kept = await self.talk.call.unless_over(asyncio.to_thread(pins.hashed, pin))
        self.box = self.boxes.change_pin(self.talk.call.id, self.box, kept)
        await self.talk.say(PIN_CHANGED)


def _about(message: Message, box: Box) -> list[Part]:
    """When a message came, and from whom."""
    who = spoken.digits(message.caller) or [UNKNOWN_CALLER]
    return [RECEIVED, *spoken.moment(message.created_at, time.time(), box.time_zone), FROM, *who]

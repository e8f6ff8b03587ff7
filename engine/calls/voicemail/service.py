"""Voicemail as calls use it: who may leave a message where, who may check which box, and who is told of it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engine.callbacks.records import MessageBegun
from engine.calls.media import MediaError
from engine.calls.services import PromptError, Renderer
from engine.calls.voicemail import pins, wording
from engine.calls.voicemail.boxes import Box, MailboxError, Mailboxes, Message
from engine.calls.voicemail.check import Check
from engine.calls.voicemail.compose import greet, take
from engine.calls.voicemail.notice import notice
from engine.calls.voicemail.talk import Talk
from engine.log import get_logger
from flows.call import Unsupported
from flows.orders import Outcome, Voicemail, failed
from flows.prompts import Prompt
from media.files import MediaImporter
from media.tones import Tones
from media.tts.store import PromptStore

if TYPE_CHECKING:
    from engine.calls.live import LiveCall

log = get_logger(__name__)

PIN_TRIES = 3
BOX_TRIES = 3


@dataclass(slots=True)
class VoicemailService:
    """One for all calls. ``importer`` keeps sounds of messages apart from prompts."""

    boxes: Mailboxes
    tones: Tones
    importer: MediaImporter
    users: Callable[[str], Mapping[str, tuple[str, ...]]]
    """By account: devices by user."""
    guesses: pins.Guesses = field(default_factory=pins.Guesses)

    async def serve(self, call: LiveCall, order: Voicemail) -> Outcome:
        """Carry out ``order``. Raises CallEnded."""
        talk = Talk(call, self.tones, self.importer, order.between_keys)
        try:
            if order.action == "compose":
                return await self._compose(talk, order)
            return await self._check(talk, order)
        except (MailboxError, MediaError, Unsupported) as error:
            log.error("voicemail_failed", call_id=call.id, box=str(order.box), error=str(error))
            await talk.say(wording.NOT_NOW)
            return failed(str(error))
        finally:
            await talk.end()

    # --- leaving a message --------------------------------------------------------------

    async def _compose(self, talk: Talk, order: Voicemail) -> Outcome:
        call = talk.call
        box = await self.boxes.find(_account(call), str(order.box))
        if box is None:
            return failed(f"there is no mailbox {order.box}")
        if box.max_messages and len(await self._messages(box)) >= box.max_messages:
            await talk.say(wording.FULL)
            return failed(f"the mailbox {box.id} is full")
        if await greet(talk, box):
            return await self._visit(talk, box)
        limits = [limit for limit in (order.limit, box.max_message_length) if limit]
        name = call.facts.get("call.caller_name", "")
        begun: list[MessageBegun] = []

        def new_file() -> Path:
            begun.append(self.boxes.begin(call.id, box, call.callee, call.caller, name))
            return Path(begun[-1].path)

        taken = await take(talk, new_file, box.format, min(limits, default=0.0), keep=True)
        if taken is None:
            return failed("no message was left")
        left = self.boxes.leave(box, begun[-1], taken.seconds)
        if (news := notice(begun[-1], left)) is not None:
            call.tell(news)  # durably: it goes out by the outbox
        log.info("message_left", call_id=call.id, box=box.id, message=left.message, seconds=round(taken.seconds, 1))
        if taken.ended is not None:
            raise taken.ended
        await talk.say(wording.KEPT)
        facts = {"status": "completed", "duration": str(int(taken.seconds))}
        return Outcome((), facts, f"left a message of {taken.seconds:.0f} s in {box.id}")

    async def _messages(self, box: Box) -> list[Message]:
        """What is in the box; nothing, if the database does not say: a message is worth more than the limit."""
        try:
            return await self.boxes.messages(box)
        except MailboxError:
            return []

    # --- checking a box -----------------------------------------------------------------

    async def _check(self, talk: Talk, order: Voicemail) -> Outcome:
        call = talk.call
        account = _account(call)
        box: Box | None = None
        if order.box:
            box = await self.boxes.find(account, str(order.box))
            if box is None:
                return failed(f"there is no mailbox {order.box}")
        elif order.login_by_caller_id:
            box = await self.boxes.find(account, call.caller)
        if box is None and order.single_login and not order.box:
            own = await self.boxes.owned_by(account, self._names(call))
            box = own[0] if len(own) == 1 else None
        if box is not None:
            return await self._visit(talk, box)
        for _ in range(BOX_TRIES):
            entered = await talk.enter(wording.ASK_BOX)
            if not entered:
                continue
            box = await self.boxes.find(account, entered)
            if await self._let_in(talk, box, (account, entered), tries=1):
                assert box is not None
                return await self._open(talk, box)
        await talk.say(wording.GOODBYE)
        return failed("nobody logged in")

    async def _visit(self, talk: Talk, box: Box) -> Outcome:
        """Of a box that is known already."""
        if await self._let_in(talk, box, box.key, tries=PIN_TRIES):
            return await self._open(talk, box)
        await talk.say(wording.GOODBYE)
        return failed(f"the PIN for {box.id} was wrong")

    async def _open(self, talk: Talk, box: Box) -> Outcome:
        began = talk.call.now()
        log.info("mailbox_checked", call_id=talk.call.id, box=box.id)
        check = Check(talk, self.boxes, box)
        await check.run()
        await talk.say(wording.GOODBYE)
        facts = {"status": "completed", "duration": str(int(talk.call.now() - began))}
        return Outcome((), facts, f"heard {check.heard} messages of {box.id}")

    async def _let_in(self, talk: Talk, box: Box | None, key: tuple[str, str], *, tries: int) -> bool:
        """Whether the caller may open the box; one that is not there is asked for a PIN all the same."""
        call = talk.call
        if box is not None and box.owner and box.owner in self._names(call) and not (box.pin and box.require_pin):
            return True
        with call.secret():
            return await self._knows_pin(talk, box, key, tries)

    async def _knows_pin(self, talk: Talk, box: Box | None, key: tuple[str, str], tries: int) -> bool:
        call = talk.call
        for _ in range(tries):
            pin = await talk.enter(wording.ASK_PIN, most=pins.LONGEST)
            kept = box.pin if box is not None else ""
            if self.guesses.may_try(key, call.now()):
                if await call.unless_over(asyncio.to_thread(pins.matches, pin, kept)):
                    self.guesses.right(key)
                    return True
                if pin:
                    self.guesses.wrong(key, call.now())
            else:
                log.warning("mailbox_locked", call_id=call.id, box=key[1])
            await talk.say(wording.WRONG)
        return False

    def _names(self, call: LiveCall) -> set[str]:
        """By what names boxes may be the caller's own: the device that calls, and the users who have it."""
        device = call.facts.get("call.user", "")
        return {device, *(user for user, devices in self.users(_account(call)).items() if device in devices)} - {""}


async def render_early(render: Renderer) -> None:
    """Make the sounds of all words that are always the same; without a voice, tones will do."""
    for words in wording.EVERY:
        try:
            await render(Prompt(text=words, language="en"))
        except PromptError as error:
            log.warning("voicemail_without_words", error=str(error))
            return


async def importer_of_messages(folder: Path) -> MediaImporter:
    """For the sounds of messages while they are heard; what a killed process left in ``folder`` is deleted."""
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    return MediaImporter(PromptStore(folder))


def _account(call: LiveCall) -> str:
    return call.facts.get("call.account", "")

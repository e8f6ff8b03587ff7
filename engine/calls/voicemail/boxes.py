"""Mailboxes and their messages as calls see them: read from the database, changed through the journal.

A call waits for the database when it reads, and for a while only; what it changes is in the journal at once and in
the database a moment later. What a reading does not have yet is added to it here (:class:`_Pending`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy.exc import SQLAlchemyError

from engine.callbacks import records
from engine.calls.voicemail import pins
from engine.calls.voicemail.notice import left_of
from engine.config import MailboxConfig
from engine.log import get_logger
from engine.store import Store, mailboxes
from engine.store.mailboxes import DELETED, NEW, State

log = get_logger(__name__)

PATIENCE = 3.0
"""Seconds that a caller waits for the database."""

PENDING = 900.0
"""Seconds for which a change is added to what the database says. It has long got it, unless it is gone."""

CLEAN_EVERY = 30.0
AT_ONCE = 100
"""Files of deleted messages that are deleted in one go."""

ACCOUNT = "default"
"""Whose boxes the configuration has."""


class MailboxError(Exception):
    """The mailboxes cannot be read now."""


@dataclass(frozen=True, slots=True)
class Box:
    """A mailbox: :class:`engine.store.mailboxes.Mailbox`."""

    account: str
    id: str
    owner: str = ""
    pin: str = ""
    require_pin: bool = True
    greeting: str = ""
    own_greeting: str = ""
    skip_greeting: bool = False
    skip_instructions: bool = False
    notify_url: str = ""
    notify_emails: str = ""
    time_zone: str = "UTC"
    format: Literal["wav", "mp3"] = "wav"
    oldest_first: bool = True
    transcribe: bool = False
    max_message_length: float = 0.0
    max_messages: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return self.account, self.id


@dataclass(frozen=True, slots=True)
class Message:
    """A message. ``created_at``: seconds since the epoch."""

    id: str
    path: str
    caller: str
    caller_name: str
    seconds: float
    created_at: float
    state: State = NEW


@dataclass(slots=True)
class _Pending:
    """What this process changed of one box and the database may not have yet, each with the time of the change."""

    messages: dict[str, tuple[float, Message | None, State]] = field(default_factory=dict)
    """By id; the message itself where it was left here."""
    settings: dict[str, tuple[float, str]] = field(default_factory=dict)

    def forget(self, before: float) -> bool:
        """Let old changes go; whether any is left."""
        self.messages = {key: change for key, change in self.messages.items() if change[0] >= before}
        self.settings = {key: change for key, change in self.settings.items() if change[0] >= before}
        return bool(self.messages or self.settings)


class Mailboxes:
    """All boxes of a database. Times on the wall clock."""

    def __init__(
        self,
        store: Store,
        append: Callable[[records.Record], None],
        recordings: Path,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``append`` writes into the journal; messages lie below ``recordings``, in ``voicemail/``."""
        self.folder = recordings / "voicemail"
        self._store = store
        self._append = append
        self._wall = wall
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._known: dict[tuple[str, str], Box] = {}
        self._deleted = asyncio.Event()

    # --- reading ------------------------------------------------------------------------

    async def take_over(self, boxes: Sequence[MailboxConfig]) -> None:
        """Have the boxes of the configuration in the database. Raises SQLAlchemy's errors."""
        async with self._store.reading() as connection:
            unset = await mailboxes.boxes_without_pin(connection, ACCOUNT)
            known = await mailboxes.ids_of(connection, ACCOUNT)
        rows = []
        for box in boxes:
            new = box.id not in known or box.id in unset
            pin = box.pin.get_secret_value()
            rows.append({**_row(box), "pin": await asyncio.to_thread(pins.hashed, pin) if new and pin else ""})
        async with self._store.writing() as connection:
            await mailboxes.take_over(connection, ACCOUNT, rows)
        self._known.clear()

    async def find(self, account: str, box: str) -> Box | None:
        """A box; as it was known last if the database does not say. Raises :class:`MailboxError`."""
        try:
            async with asyncio.timeout(PATIENCE), self._store.reading() as connection:
                row = await mailboxes.find_box(connection, account, box)
        except (SQLAlchemyError, OSError) as error:  # TimeoutError is an OSError
            known = self._known.get((account, box))
            if known is None:
                raise _unreadable(error) from error
            log.error("mailbox_not_read", box=box, error=f"{type(error).__name__}: {error}")
            return self._changed(known)
        if row is None:
            self._known.pop((account, box), None)
            return None
        found = self._known[account, box] = _box(row)
        return self._changed(found)

    async def owned_by(self, account: str, owners: Collection[str]) -> list[Box]:
        """The boxes that one of ``owners`` has. Raises :class:`MailboxError`."""
        try:
            async with asyncio.timeout(PATIENCE), self._store.reading() as connection:
                rows = await mailboxes.boxes_owned_by(connection, account, owners)
        except (SQLAlchemyError, OSError) as error:
            raise _unreadable(error) from error
        return [self._changed(_box(row)) for row in rows]

    async def messages(self, box: Box) -> list[Message]:
        """What is in a box, in the order in which its owner wants to hear it. Raises :class:`MailboxError`."""
        try:
            async with asyncio.timeout(PATIENCE), self._store.reading() as connection:
                rows = await mailboxes.messages_in(connection, *box.key)
        except (SQLAlchemyError, OSError) as error:
            raise _unreadable(error) from error
        found = {row["id"]: _message(row) for row in rows}
        pending = self._pending.get(box.key)
        for key, (_, left, state) in pending.messages.items() if pending is not None else ():
            message = found.get(key, left)
            if message is not None:
                found[key] = replace(message, state=state)
        there = [message for message in found.values() if message.state != DELETED]
        there.sort(key=lambda message: (message.created_at, message.id), reverse=not box.oldest_first)
        return there

    def _changed(self, box: Box) -> Box:
        """``box`` with what was changed here of late."""
        pending = self._pending.get(box.key)
        if pending is None:
            return box
        _, pin = pending.settings.get("pin", (0.0, box.pin))
        _, greeting = pending.settings.get("own_greeting", (0.0, box.own_greeting))
        return replace(box, pin=pin, own_greeting=greeting)

    # --- changing -----------------------------------------------------------------------

    def new_file(self, box: Box, extension: str) -> Path:
        """A name for a recording of the box that nothing has yet."""
        today = datetime.fromtimestamp(self._wall(), UTC).strftime("%Y/%m/%d")
        return self.folder / today / f"{uuid.uuid4().hex}.{extension}"

    def begin(self, call: str, box: Box, to: str, caller: str, caller_name: str) -> records.MessageBegun:
        """A message is about to be recorded: what is there of it when we are killed is left after the restart."""
        begun = records.MessageBegun(
            self._wall(),
            call=call,
            account=box.account,
            box=box.id,
            path=str(self.new_file(box, box.format)),
            caller=caller,
            caller_name=caller_name,
            to=to,
            notify_url=box.notify_url,
            notify_emails=box.notify_emails,
            transcribe=box.transcribe,
        )
        self._append(begun)
        return begun

    def leave(self, box: Box, begun: records.MessageBegun, seconds: float) -> records.MessageLeft:
        """Put a message into a box."""
        left = left_of(begun, Path(begun.path).stem, seconds, self._wall())
        self._append(left)
        message = Message(left.message, left.path, left.caller, left.caller_name, seconds, left.at)
        self._of(box).messages[message.id] = (left.at, message, NEW)
        return left

    def mark(self, call: str, box: Box, message: Message, state: State) -> Message:
        """Save or delete a message; the file of a deleted one goes later."""
        at = self._wall()
        self._append(
            records.MessageMarked(at, call=call, account=box.account, box=box.id, message=message.id, state=state)
        )
        changed = replace(message, state=state)
        self._of(box).messages[message.id] = (at, changed, state)
        if state == DELETED:
            self._deleted.set()
        return changed

    def change_pin(self, call: str, box: Box, kept: str) -> Box:
        """Give a box another PIN, hashed (:mod:`engine.calls.voicemail.pins`)."""
        at = self._wall()
        self._append(records.MailboxChanged(at, call=call, account=box.account, box=box.id, pin=kept))
        self._of(box).settings["pin"] = (at, kept)
        return replace(box, pin=kept)

    def change_greeting(self, call: str, box: Box, path: Path | None) -> Box:
        """Give a box a greeting of its owner's, or (None) the usual one again."""
        at, name = self._wall(), str(path or "")
        self._append(records.MailboxChanged(at, call=call, account=box.account, box=box.id, greeting=name))
        self._of(box).settings["own_greeting"] = (at, name)
        return replace(box, own_greeting=name)

    def _of(self, box: Box) -> _Pending:
        before = self._wall() - PENDING
        for key, pending in list(self._pending.items()):
            if not pending.forget(before):
                del self._pending[key]
        return self._pending.setdefault(box.key, _Pending())

    # --- what is left of deleted messages -----------------------------------------------

    async def keep_clean(self) -> None:
        """Delete the files of deleted messages once the database knows of it, until cancelled."""
        while True:
            try:
                cleaned = await self.clean()
            except (SQLAlchemyError, OSError) as error:
                log.error("mailboxes_not_cleaned", error=f"{type(error).__name__}: {error}")
                cleaned = 0
            if cleaned < AT_ONCE:
                self._deleted.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLEAN_EVERY):
                        await self._deleted.wait()
                await asyncio.sleep(1.0)  # the journal has to reach the database first

    async def clean(self) -> int:
        """Delete files of deleted messages, :data:`AT_ONCE` at most; how many it was. Raises SQLAlchemy's errors."""
        async with self._store.reading() as connection:
            due = await mailboxes.deleted_files(connection, AT_ONCE)
        if not due:
            return 0
        gone = await asyncio.to_thread(_delete, due)
        async with self._store.writing() as connection:
            await mailboxes.file_is_gone(connection, gone)
        return len(gone)


def _delete(files: Iterable[tuple[str, str]]) -> list[str]:
    gone = []
    for message, path in files:
        try:
            os.unlink(path)  # noqa: PTH108 - a path as it stands in the database
        except FileNotFoundError:
            pass
        except OSError as error:
            log.error("message_not_deleted", path=path, error=str(error))
            continue
        gone.append(message)
    return gone


def _row(box: MailboxConfig) -> dict[str, Any]:
    row = box.model_dump(exclude={"pin", "notify_emails"})
    return {**row, "notify_emails": ", ".join(box.notify_emails), "own_greeting": "", "from_file": True}


_BOX_FIELDS = frozenset(each.name for each in fields(Box))
_MESSAGE_FIELDS = frozenset(each.name for each in fields(Message))


def _box(row: Mapping[str, Any]) -> Box:
    return Box(**{name: value for name, value in row.items() if name in _BOX_FIELDS})


def _message(row: Mapping[str, Any]) -> Message:
    return Message(**{name: value for name, value in row.items() if name in _MESSAGE_FIELDS})


def _unreadable(error: BaseException) -> MailboxError:
    return MailboxError(f"the mailboxes cannot be read: {type(error).__name__}: {error}")

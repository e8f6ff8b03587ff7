"""The tables of voicemail, and what is asked of them. A box or a message is found by its account, never without one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, Literal, cast

from sqlalchemy import Index, String, Table, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.models import Base

State = Literal["new", "saved", "deleted"]
NEW: Final = "new"
SAVED: Final = "saved"
DELETED: Final = "deleted"


class Mailbox(Base):
    """A mailbox. ``owner``: a user or a device; ``pin`` is hashed; ``greeting`` is a sound file that was set up,
    ``own_greeting`` one that the owner recorded; ``notify_emails`` are separated by commas; seconds.
    """

    __tablename__ = "mailboxes"

    account: Mapped[str] = mapped_column(String(255), primary_key=True)
    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    owner: Mapped[str]
    pin: Mapped[str]
    require_pin: Mapped[bool]
    greeting: Mapped[str]
    own_greeting: Mapped[str]
    skip_greeting: Mapped[bool]
    skip_instructions: Mapped[bool]
    notify_url: Mapped[str]
    notify_emails: Mapped[str]
    time_zone: Mapped[str]
    format: Mapped[str] = mapped_column(String(8))
    oldest_first: Mapped[bool]
    transcribe: Mapped[bool]
    max_message_length: Mapped[float]
    max_messages: Mapped[int]
    from_file: Mapped[bool]
    """It stands in the configuration, and goes when it does not any more."""


class Message(Base):
    """A message in a box. ``path`` is empty once the file of a deleted one is gone; ``text`` is what was said, if that
    was wanted and could be told.
    """

    __tablename__ = "messages"
    __table_args__ = (Index("ix_messages_box", "account", "box", "created_at"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    account: Mapped[str] = mapped_column(String(255))
    box: Mapped[str] = mapped_column(String(255))
    call_id: Mapped[str] = mapped_column(String(255))
    path: Mapped[str]
    caller: Mapped[str]
    caller_name: Mapped[str]
    seconds: Mapped[float]
    created_at: Mapped[float]
    state: Mapped[str] = mapped_column(String(16))
    text: Mapped[str | None]


_BOXES, _MESSAGES = cast("Table", Mailbox.__table__), cast("Table", Message.__table__)
Row = dict[str, Any]

# What the journal brings (engine.callbacks.rows).
LEFT = insert(_MESSAGES)
MARKED = (
    update(_MESSAGES)
    .where(
        _MESSAGES.c.account == bindparam("of_account"),
        _MESSAGES.c.box == bindparam("of_box"),
        _MESSAGES.c.id == bindparam("message"),
    )
    .values(state=bindparam("mark"))
)
_BOX = (_BOXES.c.account == bindparam("of_account"), _BOXES.c.id == bindparam("of_box"))
PIN_CHANGED = update(_BOXES).where(*_BOX).values(pin=bindparam("hashed"))
GREETING_CHANGED = update(_BOXES).where(*_BOX).values(own_greeting=bindparam("file"))


async def find_box(connection: AsyncConnection, account: str, box: str) -> Row | None:
    """The row of a box, ``None`` if there is none."""
    found = await connection.execute(select(_BOXES).where(_BOXES.c.account == account, _BOXES.c.id == box))
    row = found.mappings().first()
    return dict(row) if row is not None else None


async def boxes_owned_by(connection: AsyncConnection, account: str, owners: Collection[str]) -> list[Row]:
    """The rows of the boxes that one of ``owners`` has."""
    found = await connection.execute(
        select(_BOXES).where(_BOXES.c.account == account, _BOXES.c.owner.in_(owners), _BOXES.c.owner != "")
    )
    return [dict(row) for row in found.mappings()]


async def messages_in(connection: AsyncConnection, account: str, box: str) -> list[Row]:
    """The rows of all messages of a box that are not deleted, the oldest first."""
    found = await connection.execute(
        select(_MESSAGES)
        .where(_MESSAGES.c.account == account, _MESSAGES.c.box == box, _MESSAGES.c.state != DELETED)
        .order_by(_MESSAGES.c.created_at, _MESSAGES.c.id)
    )
    return [dict(row) for row in found.mappings()]


async def take_over(connection: AsyncConnection, account: str, rows: Sequence[Row]) -> None:
    """Bring the boxes that come from the configuration up to date with it: those that are gone go, their messages stay.

    What was set by telephone stays too: the owner's own greeting, and the PIN unless ``rows`` have another.
    """
    ids = [row["id"] for row in rows]
    await connection.execute(
        delete(_BOXES).where(_BOXES.c.account == account, _BOXES.c.from_file, _BOXES.c.id.not_in(ids))
    )
    known = set((await connection.execute(select(_BOXES.c.id).where(_BOXES.c.account == account))).scalars())
    for row in rows:
        if row["id"] in known:
            taken = {key: value for key, value in row.items() if key not in ("pin", "own_greeting")}
            if row["pin"]:
                taken["pin"] = row["pin"]
            await connection.execute(
                update(_BOXES).where(_BOXES.c.account == account, _BOXES.c.id == row["id"]).values(taken)
            )
        else:
            await connection.execute(insert(_BOXES).values(account=account, **row))


async def boxes_without_pin(connection: AsyncConnection, account: str) -> set[str]:
    """Ids of the boxes whose PIN was not set yet."""
    found = await connection.execute(select(_BOXES.c.id).where(_BOXES.c.account == account, _BOXES.c.pin == ""))
    return set(found.scalars())


async def ids_of(connection: AsyncConnection, account: str) -> set[str]:
    """Ids of all boxes."""
    return set((await connection.execute(select(_BOXES.c.id).where(_BOXES.c.account == account))).scalars())


async def deleted_files(connection: AsyncConnection, most: int) -> list[tuple[str, str]]:
    """(id, path) of deleted messages whose file is still there."""
    found = await connection.execute(
        select(_MESSAGES.c.id, _MESSAGES.c.path)
        .where(_MESSAGES.c.state == DELETED, _MESSAGES.c.path != "")
        .order_by(_MESSAGES.c.created_at)
        .limit(most)
    )
    return [(row.id, row.path) for row in found]


async def file_is_gone(connection: AsyncConnection, ids: Collection[str]) -> None:
    """The files of these messages were deleted."""
    await connection.execute(update(_MESSAGES).where(_MESSAGES.c.id.in_(ids)).values(path=""))

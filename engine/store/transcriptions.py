"""Transcriptions of recordings: their rows, and what is done with them.

Every function runs in the caller's transaction and looks at the rows of the account that it is given; those for the
daemon itself say so.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import (
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.accounts import Account
from engine.store.models import Base, Call

Status = Literal["created", "transcribing", "done", "failed"]


class TranscriptionRow(Base):
    """The words of a recording, or why there are none.

    ``recording``: 0 for that of the whole call, N for the N-th that its flow made.
    """

    __tablename__ = "transcriptions"
    __table_args__ = (Index("ix_transcriptions_call_id", "call_id", "recording"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    call_id: Mapped[str] = mapped_column(String(255))
    recording: Mapped[int]
    path: Mapped[str]
    """The file of the recording."""
    language: Mapped[str]
    status: Mapped[str] = mapped_column(String(16), index=True)
    text: Mapped[str | None]
    error: Mapped[str | None]
    created_at: Mapped[float]
    updated_at: Mapped[float]


_TEXTS, _CALLS = cast("Table", TranscriptionRow.__table__), cast("Table", Call.__table__)
_ACCOUNTS = cast("Table", Account.__table__)

OWED = insert(_TEXTS).from_select(
    ["id", "account_id", "call_id", "recording", "path", "language", "status", "created_at", "updated_at"],
    select(
        bindparam("new_id", type_=String(32)),
        _CALLS.c.account_id,
        _CALLS.c.id,
        bindparam("number", type_=Integer()),
        bindparam("file", type_=Text()),
        bindparam("tongue", type_=Text()),
        literal("created", String(16)),
        bindparam("at", type_=Double()),
        bindparam("at", type_=Double()),
    )
    .join_from(_CALLS, _ACCOUNTS, _ACCOUNTS.c.id == _CALLS.c.account_id)  # which may have gone meanwhile
    .where(_CALLS.c.id == bindparam("of_call")),
)
"""One that a flow asked for, of a recording that is complete."""


@dataclass(frozen=True, slots=True)
class Transcription:
    """A row of ``transcriptions``."""

    id: str
    account_id: str
    call_id: str
    recording: int
    path: str
    language: str
    status: str
    text: str | None
    error: str | None
    created_at: float
    updated_at: float


async def add(
    connection: AsyncConnection, account_id: str, call_id: str, recording: int, path: str, language: str
) -> Transcription:
    """One that is still to be made."""
    now = time.time()
    made = Transcription(
        uuid.uuid4().hex, account_id, call_id, recording, path, language, "created", None, None, now, now
    )
    await connection.execute(insert(_TEXTS), {name: getattr(made, name) for name in Transcription.__dataclass_fields__})
    return made


async def all_of(connection: AsyncConnection, account_id: str, call_id: str, recording: int) -> list[Transcription]:
    """Those of a recording, the oldest first."""
    of_recording = (_TEXTS.c.account_id == account_id, _TEXTS.c.call_id == call_id, _TEXTS.c.recording == recording)
    query = select(_TEXTS).where(*of_recording).order_by(_TEXTS.c.created_at, _TEXTS.c.id)
    return [Transcription(**cast("Any", dict(row))) for row in (await connection.execute(query)).mappings()]


async def get(connection: AsyncConnection, account_id: str, wanted: str) -> Transcription | None:
    """One by its id; ``None`` when the account has none such."""
    query = select(_TEXTS).where(_TEXTS.c.id == wanted, _TEXTS.c.account_id == account_id)
    row = (await connection.execute(query)).mappings().first()
    return Transcription(**cast("Any", dict(row))) if row is not None else None


async def next_open(connection: AsyncConnection) -> Transcription | None:
    """The oldest of any account that is still to be made; for the daemon itself."""
    open_ones = _TEXTS.c.status.in_(("created", "transcribing"))
    query = select(_TEXTS).where(open_ones).order_by(_TEXTS.c.created_at, _TEXTS.c.id).limit(1)
    row = (await connection.execute(query)).mappings().first()
    return Transcription(**cast("Any", dict(row))) if row is not None else None


async def move(
    connection: AsyncConnection, wanted: str, status: Status, *, text: str | None = None, error: str | None = None
) -> Transcription | None:
    """Put down how far it is; ``None`` when it is not there any more. For the daemon itself."""
    values = {"status": status, "text": text, "error": error, "updated_at": time.time()}
    await connection.execute(update(_TEXTS).where(_TEXTS.c.id == wanted).values(**values))
    row = (await connection.execute(select(_TEXTS).where(_TEXTS.c.id == wanted))).mappings().first()
    return Transcription(**cast("Any", dict(row))) if row is not None else None


async def forget(connection: AsyncConnection, account_id: str, call_id: str, recording: int) -> None:
    """Delete those of a recording."""
    await connection.execute(
        delete(_TEXTS).where(
            _TEXTS.c.account_id == account_id, _TEXTS.c.call_id == call_id, _TEXTS.c.recording == recording
        )
    )

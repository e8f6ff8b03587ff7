"""The table of calls that are to be made (:mod:`engine.campaigns`)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.accounts import ID_LENGTH
from engine.store.models import KEY, Base


class QueuedCall(Base):
    """A call that somebody wants to be made. Times are seconds since the epoch.

    ``state``: ``queued`` until it is ``due_at``, ``active`` while an attempt is under way, then ``completed``,
    ``failed``, ``cancelled`` or ``expired``. ``call_id`` is that of the latest attempt, there before the call is.
    The flow is a stored one (``flow_id``) or a ``document``. ``wish`` has what the call is to be like, ``schedule`` is
    as :meth:`engine.campaigns.schedule.Schedule.as_data` writes it.
    """

    __tablename__ = "queued_calls"
    __table_args__ = (
        Index("ix_queued_calls_state", "state", "due_at"),
        Index("ix_queued_calls_account_id", "account_id", "id"),
        Index("ix_queued_calls_call_id", "call_id", unique=True),
    )

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    account_id: Mapped[str] = mapped_column(String(ID_LENGTH), ForeignKey("accounts.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(String(16))
    result: Mapped[str | None] = mapped_column(String(16))
    """How the latest attempt went: :data:`engine.campaigns.outcome.Result`."""
    address: Mapped[str]
    trunk: Mapped[str]
    flow_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    document: Mapped[str | None]
    dialect: Mapped[str] = mapped_column(String(16))
    wish: Mapped[dict[str, Any]]
    schedule: Mapped[dict[str, Any] | None]
    zone: Mapped[str] = mapped_column(String(64))
    not_before: Mapped[float | None]
    not_after: Mapped[float | None]
    due_at: Mapped[float]
    attempts: Mapped[int] = mapped_column(Integer)
    given_up: Mapped[bool]
    """It was cancelled while an attempt was under way: there will be no other one."""
    call_id: Mapped[str | None] = mapped_column(String(32))
    source: Mapped[str]
    """Who asked."""
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    """When the latest attempt began."""
    finished_at: Mapped[float | None]
    reason: Mapped[str | None]
    """Why it failed, in words."""
    sip_status: Mapped[int | None]

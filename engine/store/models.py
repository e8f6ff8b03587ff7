"""The tables. Times are wall-clock UTC in seconds since the epoch, as in the journal.

Rows of a call refer to it by ``call_id`` without a foreign key: each comes from a journal record
of its own, and one damaged record must not keep the others out.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Double, Index, Integer, MetaData, String, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

KEY = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER

PENDING, DELIVERED, DEAD = "pending", "delivered", "dead"


class Base(DeclarativeBase):
    """Base of all models. Constraints get the same names on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
        }
    )
    type_annotation_map = {float: Double, str: Text, dict[str, Any]: JSON, list[list[str]]: JSON}  # noqa: RUF012 - as SQLAlchemy declares it


class Call(Base):
    """One call, from its INVITE to its one end (``finished_at`` is null while it lives)."""

    __tablename__ = "calls"
    __table_args__ = (
        Index("ix_calls_started_at", "started_at"),
        Index("ix_calls_account_id", "account_id", "started_at"),
    )

    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    direction: Mapped[str] = mapped_column(String(16))
    caller: Mapped[str]
    callee: Mapped[str]
    sip_call_id: Mapped[str]
    flow: Mapped[str]
    source: Mapped[str]
    started_at: Mapped[float]
    answered_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    ended_by: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str | None]
    sip_status: Mapped[int | None]
    q850: Mapped[int | None]
    path: Mapped[str | None]
    duration: Mapped[float | None]
    stats: Mapped[dict[str, Any] | None]
    account_id: Mapped[str] = mapped_column(String(32), server_default="default")
    flow_version: Mapped[int] = mapped_column(server_default="0")
    """Of a stored flow; 0 for others."""
    sip_reason: Mapped[str | None]
    """The reason phrase that came with ``sip_status``."""
    cause: Mapped[str | None] = mapped_column(String(32))
    """A name of :data:`flows.causes.CAUSES`."""


class Leg(Base):
    """A leg that was dialled for a call, from its INVITE to its one end."""

    __tablename__ = "legs"
    __table_args__ = (Index("ix_legs_call_id", "call_id", "started_at"),)

    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    call_id: Mapped[str] = mapped_column(String(255))
    callee: Mapped[str]
    trunk: Mapped[str]
    started_at: Mapped[float]
    answered_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    ended_by: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str | None]
    sip_status: Mapped[int | None]
    q850: Mapped[int | None]
    duration: Mapped[float | None]
    stats: Mapped[dict[str, Any] | None]


class CallEvent(Base):
    """What happened in a call, in order of ``id``: a node entered, a prompt, a key, a URL reached."""

    __tablename__ = "call_events"
    __table_args__ = (Index("ix_call_events_call_id", "call_id", "id"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    call_id: Mapped[str] = mapped_column(String(255))
    at: Mapped[float]
    kind: Mapped[str] = mapped_column(String(32))
    detail: Mapped[dict[str, Any]]


class Recording(Base):
    """A recording; ``seconds`` is null while it runs, and stays so if its end was never seen."""

    __tablename__ = "recordings"
    __table_args__ = (Index("ix_recordings_call_id", "call_id"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    call_id: Mapped[str] = mapped_column(String(255))
    path: Mapped[str]
    started_at: Mapped[float]
    seconds: Mapped[float | None]
    lost: Mapped[int | None]
    reason: Mapped[str | None]


class Delivery(Base):
    """A request owed to a web server (the outbox).

    ``lane`` names call and URL: within a lane, deliveries go out one after the other in order of
    ``id``. ``host`` is the URL's network location, so that one server's slowness stays its own.
    ``url`` is as the flow has it; ``params`` are name and value pairs in order; ``encoding``: ``query``, ``form`` or
    ``json``. With a ``file`` its content is the body, with a ``body`` that text as ``content_type``.

    ``signer`` names a scheme of :mod:`engine.callbacks.signing`, which signs each attempt with ``secret``.
    ``subscription`` is the id of what asked for it, for whoever counts its failures. ``plan`` names the retries, empty:
    the usual ones.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        Index(
            "ix_deliveries_lane_pending",
            "lane",
            "id",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_deliveries_due_pending",
            "due_at",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_deliveries_settled_delivered",
            "settled_at",
            sqlite_where=text("state = 'delivered'"),
            postgresql_where=text("state = 'delivered'"),
        ),
        Index(
            "ix_deliveries_account_id",
            "account_id",
            "id",
            sqlite_where=text("account_id IS NOT NULL"),
            postgresql_where=text("account_id IS NOT NULL"),
        ),
        Index("ix_deliveries_call_id", "call_id", "id"),
        Index("ix_deliveries_subscription", "subscription", "id"),
    )

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    call_id: Mapped[str] = mapped_column(String(255))
    account_id: Mapped[str | None] = mapped_column(String(32))
    """Whose it is, where no call says so: a call that was never made has a name for its ``call_id``, and no row."""
    seq: Mapped[int | None]
    lane: Mapped[str] = mapped_column(String(32))
    host: Mapped[str]
    method: Mapped[str] = mapped_column(String(8))
    url: Mapped[str]
    params: Mapped[list[list[str]]]
    encoding: Mapped[str] = mapped_column(String(8), server_default="query")
    file: Mapped[str | None]
    body: Mapped[str | None]
    content_type: Mapped[str | None]
    signer: Mapped[str | None] = mapped_column(String(32))
    secret: Mapped[str | None]
    subscription: Mapped[str | None] = mapped_column(String(64))
    plan: Mapped[str] = mapped_column(String(16), server_default="")
    any_certificate: Mapped[bool] = mapped_column(server_default="0")
    """Whether the server's TLS certificate need not be one that we know: a self-signed one will do."""
    created_at: Mapped[float]
    due_at: Mapped[float]
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    status: Mapped[int | None]
    error: Mapped[str | None]
    settled_at: Mapped[float | None]


class JournalCheckpoint(Base):
    """How far a journal segment is in the database; moves in the transaction that stores its records."""

    __tablename__ = "journal_checkpoint"

    segment: Mapped[str] = mapped_column(String(64), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)

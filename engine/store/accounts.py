"""The tables of accounts and of what belongs to them. Ids are 32 hex digits, but for the account ``default``.

``origin`` says who made a row: ``file`` rows come from the configuration and go with it, ``api`` rows stay.
Everything that belongs to an account goes with it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Boolean, CheckConstraint, ForeignKey, Index, Integer, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.models import KEY, Base

DEFAULT_ACCOUNT = "default"
FILE, API, OF_NUMBER = "file", "api", "number"
"""Where a row comes from; a flow ``of number`` was made for a number that has a callflow elsewhere."""

ID_LENGTH = 32


def _id() -> Mapped[str]:
    return mapped_column(String(ID_LENGTH), primary_key=True)


def _of(table: str, *, nullable: bool = False, index: bool = False) -> Mapped[Any]:
    """A reference to a row of ``table`` that takes this row with it when it goes."""
    reference = ForeignKey(f"{table}.id", ondelete="CASCADE")
    return mapped_column(String(ID_LENGTH), reference, nullable=nullable, index=index)


class Account(Base):
    """Whom calls, numbers and flows belong to. ``max_calls``: at a time, 0 for no limit of its own."""

    __tablename__ = "accounts"
    __table_args__ = (UniqueConstraint("name"),)

    id: Mapped[str] = _id()
    name: Mapped[str]
    max_calls: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[float]
    allowed: Mapped[list[str]] = mapped_column(JSON, server_default="[]")
    calls_per_day: Mapped[int] = mapped_column(server_default="0")
    minutes_per_day: Mapped[int] = mapped_column(server_default="0")
    relay: Mapped[str] = mapped_column(String(8), server_default="trunks")
    assigned_numbers: Mapped[list[str]] = mapped_column(JSON, server_default="[]")
    assigned_addresses: Mapped[list[str]] = mapped_column(JSON, server_default="[]")


class User(Base):
    """A person: with telephones that ring for them, with a ``role`` in what they may ask of the API, or both.

    ``email`` is nobody else's, whatever the account; with a ``password`` (:mod:`engine.accounts.secrets`) they log in.
    """

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("account_id", "name"), Index("ix_users_email", "email", unique=True))

    id: Mapped[str] = _id()
    account_id: Mapped[str] = _of("accounts")
    name: Mapped[str]
    role: Mapped[str] = mapped_column(String(16))
    email: Mapped[str | None]
    """Casefolded."""
    password: Mapped[str | None]
    origin: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[float]


class ApiClient(Base):
    """A program that asks for tokens with an id and a secret (OAuth 2); only the secret's SHA-256 is kept.

    With a ``user_id`` it may have tokens in that user's name without asking anybody.
    """

    __tablename__ = "api_clients"

    id: Mapped[str] = _id()
    account_id: Mapped[str] = _of("accounts", index=True)
    user_id: Mapped[str | None] = _of("users", nullable=True, index=True)
    name: Mapped[str]
    hash: Mapped[str] = mapped_column(String(64))
    redirect_uris: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[float]


class ApiToken(Base):
    """A token of a user: only its SHA-256 is kept. ``expires_at`` null: never.

    ``kind``: ``bearer`` for our own API, else what the API that issued it calls it. ``client_id``: the program that
    has it.
    """

    __tablename__ = "api_tokens"
    __table_args__ = (UniqueConstraint("hash"),)

    id: Mapped[str] = _id()
    account_id: Mapped[str] = _of("accounts", index=True)
    user_id: Mapped[str] = _of("users", index=True)
    name: Mapped[str]
    hash: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16), server_default="bearer")
    client_id: Mapped[str | None] = mapped_column(String(ID_LENGTH), index=True)
    scopes: Mapped[list[str]] = mapped_column(JSON, server_default="[]")
    created_at: Mapped[float]
    expires_at: Mapped[float | None]


class Device(Base):
    """A telephone that may register; its name is its user name, and the only one of all accounts."""

    __tablename__ = "devices"
    __table_args__ = (UniqueConstraint("name"), Index("ix_devices_account_id", "account_id"))

    id: Mapped[str] = _id()
    account_id: Mapped[str] = _of("accounts")
    name: Mapped[str]
    settings: Mapped[dict[str, Any]]
    """The keys of ``[[devices]]`` but for the name."""
    origin: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[float]


class UserDevice(Base):
    """A telephone of a user; lower ``position`` first."""

    __tablename__ = "user_devices"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int]


class Group(Base):
    """Users and devices, by name, that ring together."""

    __tablename__ = "groups"
    __table_args__ = (UniqueConstraint("account_id", "name"),)

    id: Mapped[str] = _id()
    account_id: Mapped[str] = _of("accounts")
    name: Mapped[str]
    members: Mapped[list[str]] = mapped_column(JSON)
    origin: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[float]


class StoredFlow(Base):
    """A flow; ``version`` is the one that new calls get. ``source``: the file that it is read from, empty for others.

    What media it names without a URL lies beside that file, or among the account's stored media.
    """

    __tablename__ = "flows"
    __table_args__ = (UniqueConstraint("account_id", "name"),)

    id: Mapped[str] = _id()
    account_id: Mapped[str] = _of("accounts")
    name: Mapped[str]
    source: Mapped[str] = mapped_column(server_default="")
    dialect: Mapped[str] = mapped_column(String(16))
    """As asked for; empty: found out from the document."""
    version: Mapped[int]
    fallback: Mapped[bool] = mapped_column(Boolean, server_default=false())
    """Whether it answers the numbers of its account that have no flow; one of an account at most does."""
    origin: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[float]


class FlowVersion(Base):
    """A document that a flow has had; never changed."""

    __tablename__ = "flow_versions"

    flow_id: Mapped[str] = mapped_column(ForeignKey("flows.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    document: Mapped[str]
    created_at: Mapped[float]


class Number(Base):
    """A number (or a prefix with ``*``) that can be called from outside; it belongs to one account."""

    __tablename__ = "numbers"
    __table_args__ = (UniqueConstraint("number"), Index("ix_numbers_account_id", "account_id"))

    id: Mapped[str] = _id()
    account_id: Mapped[str] = _of("accounts")
    number: Mapped[str]
    flow_id: Mapped[str] = _of("flows", index=True)
    record: Mapped[bool] = mapped_column(Boolean)
    voice: Mapped[str]
    callflow: Mapped[dict[str, Any] | None]
    """Where the callflows of its calls come from (:mod:`engine.callflow`); ``flow_id`` is the flow made of that."""
    origin: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[float]


class Extension(Base):
    """A number within an account: it rings a user or a group, or runs a flow; one of the three."""

    __tablename__ = "extensions"
    __table_args__ = (
        UniqueConstraint("account_id", "number"),
        CheckConstraint(
            "(user_id IS NOT NULL AND group_id IS NULL AND flow_id IS NULL)"
            " OR (user_id IS NULL AND group_id IS NOT NULL AND flow_id IS NULL)"
            " OR (user_id IS NULL AND group_id IS NULL AND flow_id IS NOT NULL)",
            name="ck_extensions_one_target",
        ),
    )

    id: Mapped[str] = _id()
    account_id: Mapped[str] = _of("accounts")
    number: Mapped[str]
    user_id: Mapped[str | None] = _of("users", nullable=True, index=True)
    group_id: Mapped[str | None] = _of("groups", nullable=True, index=True)
    flow_id: Mapped[str | None] = _of("flows", nullable=True, index=True)
    origin: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[float]


class Trunk(Base):
    """A way in and out. ``shared``: numbers of all accounts come in by it, calls of all accounts may go out."""

    __tablename__ = "trunks"
    __table_args__ = (UniqueConstraint("account_id", "name"),)

    id: Mapped[str] = _id()
    account_id: Mapped[str] = _of("accounts")
    name: Mapped[str]
    shared: Mapped[bool] = mapped_column(Boolean)
    settings: Mapped[dict[str, Any]]
    """The other keys of ``[[trunks]]``."""
    origin: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[float]


class Media(Base):
    """A stored sound; ``digest`` (SHA-256, hex) is the name of its file."""

    __tablename__ = "media"
    __table_args__ = (UniqueConstraint("account_id", "name"),)

    id: Mapped[str] = _id()
    account_id: Mapped[str] = _of("accounts")
    name: Mapped[str]
    content_type: Mapped[str]
    digest: Mapped[str] = mapped_column(String(64))
    size: Mapped[int]
    """Octets."""
    origin: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[float]


class AuditEntry(Base):
    """Who changed what by the API. Nothing refers to it, and it stays when the account goes."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_account_id", "account_id", "id"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    account_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    at: Mapped[float]
    user: Mapped[str]
    """The name that the user had."""
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(255))
    """The id of what it was done to."""
    detail: Mapped[dict[str, Any]]

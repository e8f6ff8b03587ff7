"""The tables of projects: what belongs to them are flows, schedules, and contacts with their variables.

Ids are integers here, also those that trunks, flows and calls go by beside their own (:class:`Numbered`,
:class:`NumberedCall`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.accounts import ID_LENGTH
from engine.store.models import KEY, Base


def _key() -> Mapped[int]:
    return mapped_column(KEY, primary_key=True)


def _account() -> Mapped[str]:
    return mapped_column(String(ID_LENGTH), ForeignKey("accounts.id", ondelete="CASCADE"))


def _project(*, index: bool = False) -> Mapped[int]:
    return mapped_column(BigInteger, ForeignKey("projects.id", ondelete="CASCADE"), index=index)


class Project(Base):
    """``status_url`` is told of the states of its calls, with ``status_user`` and ``status_password`` if there are."""

    __tablename__ = "projects"
    __table_args__ = (UniqueConstraint("account_id", "name"),)

    id: Mapped[int] = _key()
    account_id: Mapped[str] = _account()
    name: Mapped[str]
    time_zone: Mapped[str] = mapped_column(String(64))
    status_url: Mapped[str]
    status_user: Mapped[str]
    status_password: Mapped[str]
    created_at: Mapped[float]


class ProjectFlow(Base):
    """Which project a flow belongs to. Flows without a row belong to the oldest project of their account."""

    __tablename__ = "project_flows"

    flow_id: Mapped[str] = mapped_column(
        String(ID_LENGTH), ForeignKey("flows.id", ondelete="CASCADE"), primary_key=True
    )
    project_id: Mapped[int] = _project(index=True)


class ProjectVariable(Base):
    """A variable that contacts of a project may have."""

    __tablename__ = "project_variables"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[int] = _key()
    project_id: Mapped[int] = _project()
    name: Mapped[str]


class ProjectSchedule(Base):
    """``data``: :meth:`engine.campaigns.schedule.Schedule.as_data`; ``retries`` and ``weekdays`` are as given.

    No two of a project have names that differ in case only: ``folded`` is the name casefolded.
    """

    __tablename__ = "project_schedules"
    __table_args__ = (UniqueConstraint("project_id", "folded"),)

    id: Mapped[int] = _key()
    project_id: Mapped[int] = _project()
    name: Mapped[str]
    folded: Mapped[str]
    retries: Mapped[str]
    weekdays: Mapped[str]
    data: Mapped[dict[str, Any]]


class Contact(Base):
    """Somebody who was called or has called."""

    __tablename__ = "contacts"

    id: Mapped[int] = _key()
    project_id: Mapped[int] = _project(index=True)
    created_at: Mapped[float]


class ContactAddress(Base):
    """A number or SIP address of a contact; nobody else in the project has it."""

    __tablename__ = "contact_addresses"
    __table_args__ = (UniqueConstraint("project_id", "address"),)

    id: Mapped[int] = _key()
    project_id: Mapped[int] = _project()
    contact_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("contacts.id", ondelete="CASCADE"), index=True)
    address: Mapped[str] = mapped_column(String(255))


class ContactVariable(Base):
    """The value of a variable of a project for a contact."""

    __tablename__ = "contact_variables"

    contact_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("contacts.id", ondelete="CASCADE"), primary_key=True)
    variable_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("project_variables.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    value: Mapped[str]


class Channel(Base):
    """What a trunk is beside being one: the flow of calls that name none, whether calls may be put into its queue."""

    __tablename__ = "channels"

    trunk_id: Mapped[str] = mapped_column(
        String(ID_LENGTH), ForeignKey("trunks.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(String(32))
    flow_id: Mapped[str | None] = mapped_column(String(ID_LENGTH), ForeignKey("flows.id", ondelete="SET NULL"))
    enabled: Mapped[bool]


class Numbered(Base):
    """The integer by which a row with an id of hex digits goes. ``kind``: ``trunk`` or ``flow``."""

    __tablename__ = "numbered"
    __table_args__ = (UniqueConstraint("kind", "target"),)

    number: Mapped[int] = _key()
    account_id: Mapped[str] = _account()
    kind: Mapped[str] = mapped_column(String(16))
    target: Mapped[str] = mapped_column(String(ID_LENGTH))


class NumberedCall(Base):
    """The integer by which a call goes: one that was put into the queue (``queued_id``), whatever its attempts, or
    another one (``call_id``). What it refers to may be gone.
    """

    __tablename__ = "numbered_calls"
    __table_args__ = (
        UniqueConstraint("queued_id"),
        UniqueConstraint("call_id"),
        Index("ix_numbered_calls_account_id", "account_id", "id"),
    )

    id: Mapped[int] = _key()
    account_id: Mapped[str] = _account()
    queued_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("queued_calls.id", ondelete="CASCADE"))
    call_id: Mapped[str | None] = mapped_column(String(32))
    project_id: Mapped[int] = mapped_column(BigInteger)
    contact_id: Mapped[int | None] = mapped_column(BigInteger)
    address: Mapped[str]
    trunk: Mapped[str]
    flow_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    schedule_id: Mapped[int | None] = mapped_column(BigInteger)
    status_url: Mapped[str]
    """Told of its states; empty: that of the project."""
    params: Mapped[dict[str, Any]] = mapped_column(JSON)
    """Parameters of its callbacks."""

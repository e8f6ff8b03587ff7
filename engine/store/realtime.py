"""The tables of the Realtime API: codes of OAuth 2, subscriptions to events, the numbers that users chose to show."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.accounts import ID_LENGTH
from engine.store.models import Base

DELIVERED_AS = "realtime:"


def delivered_as(subscription_id: str) -> str:
    """What the outbox calls a subscription of these."""
    return f"{DELIVERED_AS}{subscription_id}"


def _of(table: str, *, primary_key: bool = False) -> Mapped[str]:
    """A reference to a row of ``table`` that takes this row with it when it goes."""
    return mapped_column(String(ID_LENGTH), ForeignKey(f"{table}.id", ondelete="CASCADE"), primary_key=primary_key)


class OAuthCode(Base):
    """An authorization code: only its SHA-256 is kept, for a while after its use too."""

    __tablename__ = "oauth_codes"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[str] = _of("accounts")
    user_id: Mapped[str] = _of("users")
    client_id: Mapped[str] = _of("api_clients")
    redirect_uri: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(JSON)
    challenge: Mapped[str]
    state: Mapped[str | None]
    expires_at: Mapped[float]
    used_at: Mapped[float | None]


class SpentToken(Base):
    """A refresh token that was used, until it would have ended: only its SHA-256 is kept."""

    __tablename__ = "oauth_spent"
    __table_args__ = (Index("ix_oauth_spent_expires_at", "expires_at"),)

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = _of("users")
    client_id: Mapped[str] = _of("api_clients")
    spent_at: Mapped[float]
    expires_at: Mapped[float]


class EventSubscription(Base):
    """Who wants to be told what of an account's calls.

    ``reach`` is what the scope allowed: ``company``, ``presence``, ``personal``. ``failures``: events in a row that
    could not be delivered; from ``suspended_at`` on it gets no more.
    """

    __tablename__ = "event_subscriptions"
    __table_args__ = (Index("ix_event_subscriptions_account_id", "account_id"),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    account_id: Mapped[str] = _of("accounts")
    user_id: Mapped[str] = _of("users")
    client_id: Mapped[str] = _of("api_clients")
    event_types: Mapped[list[str]] = mapped_column(JSON)
    agents: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    mode: Mapped[str] = mapped_column(String(16))
    reach: Mapped[str] = mapped_column(String(16))
    callback_url: Mapped[str]
    failures: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None]
    suspended_at: Mapped[float | None]
    created_at: Mapped[float]


class ShownNumber(Base):
    """The number of the account that a user shows when calling outside."""

    __tablename__ = "shown_numbers"

    user_id: Mapped[str] = _of("users", primary_key=True)
    number_id: Mapped[str] = _of("numbers")

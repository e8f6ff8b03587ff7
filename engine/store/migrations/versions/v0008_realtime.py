"""The Realtime API: codes of OAuth 2, subscriptions to events, numbers that users show.

Revision ID: 0008
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _to(table: str, column: str, other: str) -> tuple[Any, ...]:
    """A reference from ``table`` to ``other``."""
    return (
        sa.Column(column, sa.String(32), nullable=False),
        sa.ForeignKeyConstraint([column], [f"{other}.id"], f"fk_{table}_{column}", ondelete="CASCADE"),
    )


def _owner(table: str) -> tuple[Any, ...]:
    return (
        *_to(table, "account_id", "accounts"),
        *_to(table, "user_id", "users"),
        *_to(table, "client_id", "api_clients"),
    )


def upgrade() -> None:
    op.create_table(
        "oauth_codes",
        sa.Column("hash", sa.String(64), nullable=False),
        *_owner("oauth_codes"),
        sa.Column("redirect_uri", sa.Text, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("challenge", sa.Text, nullable=False),
        sa.Column("state", sa.Text),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("used_at", sa.Double),
        sa.PrimaryKeyConstraint("hash", name="pk_oauth_codes"),
    )
    op.create_table(
        "event_subscriptions",
        sa.Column("id", sa.String(32), nullable=False),
        *_owner("event_subscriptions"),
        sa.Column("event_types", sa.JSON, nullable=False),
        sa.Column("agents", sa.JSON, nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("reach", sa.String(16), nullable=False),
        sa.Column("callback_url", sa.Text, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error", sa.Text),
        sa.Column("suspended_at", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_event_subscriptions"),
    )
    op.create_index("ix_event_subscriptions_account_id", "event_subscriptions", ["account_id"])
    op.create_table(
        "shown_numbers",
        *_to("shown_numbers", "user_id", "users"),
        *_to("shown_numbers", "number_id", "numbers"),
        sa.PrimaryKeyConstraint("user_id", name="pk_shown_numbers"),
    )


def downgrade() -> None:
    for table in ("shown_numbers", "event_subscriptions", "oauth_codes"):
        op.drop_table(table)

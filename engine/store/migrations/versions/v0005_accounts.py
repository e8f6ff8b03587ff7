"""Accounts and what belongs to them; calls have an account and a cause, dialled legs are rows.

Revision ID: 0005
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _table(name: str, *parts: Any) -> None:
    """A table whose rows have an id."""
    op.create_table(
        name,
        sa.Column("id", sa.String(32), nullable=False),
        *parts,
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
    )


def _of_account(table: str) -> tuple[Any, ...]:
    """The account of a row."""
    return (
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], f"fk_{table}_account_id", ondelete="CASCADE"),
    )


def _to(table: str, column: str, other: str, *, nullable: bool = False) -> tuple[Any, ...]:
    """A reference from ``table`` to ``other``."""
    return (
        sa.Column(column, sa.String(32), nullable=nullable),
        sa.ForeignKeyConstraint([column], [f"{other}.id"], f"fk_{table}_{column}", ondelete="CASCADE"),
    )


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=False)


def _made() -> tuple[sa.Column[Any], ...]:
    """Who made a row, and when."""
    return sa.Column("origin", sa.String(8), nullable=False), sa.Column("created_at", sa.Double, nullable=False)


def upgrade() -> None:
    """Calls of before belong to the account ``default``."""
    _table(
        "accounts",
        _text("name"),
        sa.Column("max_calls", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("name", name="uq_accounts_name"),
    )
    _people()
    _flows()
    _table(
        "trunks",
        *_of_account("trunks"),
        _text("name"),
        sa.Column("shared", sa.Boolean, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        *_made(),
        sa.UniqueConstraint("account_id", "name", name="uq_trunks_account_id"),
    )
    _table(
        "media",
        *_of_account("media"),
        _text("name"),
        _text("content_type"),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        *_made(),
        sa.UniqueConstraint("account_id", "name", name="uq_media_account_id"),
    )
    _calls()


def _people() -> None:
    _table(
        "users",
        *_of_account("users"),
        _text("name"),
        sa.Column("role", sa.String(16), nullable=False),
        *_made(),
        sa.UniqueConstraint("account_id", "name", name="uq_users_account_id"),
    )
    _table(
        "api_tokens",
        *_of_account("api_tokens"),
        *_to("api_tokens", "user_id", "users"),
        _text("name"),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.UniqueConstraint("hash", name="uq_api_tokens_hash"),
    )
    op.create_index("ix_api_tokens_account_id", "api_tokens", ["account_id"])
    op.create_index("ix_api_tokens_user_id", "api_tokens", ["user_id"])
    _table(
        "devices",
        *_of_account("devices"),
        _text("name"),
        sa.Column("settings", sa.JSON, nullable=False),
        *_made(),
        sa.UniqueConstraint("name", name="uq_devices_name"),
    )
    op.create_index("ix_devices_account_id", "devices", ["account_id"])
    op.create_table(
        "user_devices",
        *_to("user_devices", "user_id", "users"),
        *_to("user_devices", "device_id", "devices"),
        sa.Column("position", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", name="pk_user_devices"),
    )
    _table(
        "groups",
        *_of_account("groups"),
        _text("name"),
        sa.Column("members", sa.JSON, nullable=False),
        *_made(),
        sa.UniqueConstraint("account_id", "name", name="uq_groups_account_id"),
    )


def _flows() -> None:
    _table(
        "flows",
        *_of_account("flows"),
        _text("name"),
        sa.Column("source", sa.Text, nullable=False, server_default=""),
        sa.Column("dialect", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        *_made(),
        sa.UniqueConstraint("account_id", "name", name="uq_flows_account_id"),
    )
    op.create_table(
        "flow_versions",
        *_to("flow_versions", "flow_id", "flows"),
        sa.Column("number", sa.Integer, nullable=False),
        _text("document"),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("flow_id", "number", name="pk_flow_versions"),
    )
    _table(
        "numbers",
        *_of_account("numbers"),
        _text("number"),
        *_to("numbers", "flow_id", "flows"),
        sa.Column("record", sa.Boolean, nullable=False),
        _text("voice"),
        *_made(),
        sa.UniqueConstraint("number", name="uq_numbers_number"),
    )
    op.create_index("ix_numbers_account_id", "numbers", ["account_id"])
    op.create_index("ix_numbers_flow_id", "numbers", ["flow_id"])
    _table(
        "extensions",
        *_of_account("extensions"),
        _text("number"),
        *_to("extensions", "user_id", "users", nullable=True),
        *_to("extensions", "group_id", "groups", nullable=True),
        *_to("extensions", "flow_id", "flows", nullable=True),
        *_made(),
        sa.UniqueConstraint("account_id", "number", name="uq_extensions_account_id"),
        sa.CheckConstraint(
            "(user_id IS NOT NULL AND group_id IS NULL AND flow_id IS NULL)"
            " OR (user_id IS NULL AND group_id IS NOT NULL AND flow_id IS NULL)"
            " OR (user_id IS NULL AND group_id IS NULL AND flow_id IS NOT NULL)",
            name="ck_extensions_one_target",
        ),
    )
    for column in ("user_id", "group_id", "flow_id"):
        op.create_index(f"ix_extensions_{column}", "extensions", [column])


def _calls() -> None:
    op.add_column("calls", sa.Column("account_id", sa.String(32), nullable=False, server_default="default"))
    op.add_column("calls", sa.Column("flow_version", sa.Integer, nullable=False, server_default="0"))
    op.add_column("calls", sa.Column("sip_reason", sa.Text))
    op.add_column("calls", sa.Column("cause", sa.String(32)))
    op.create_index("ix_calls_account_id", "calls", ["account_id", "started_at"])
    op.create_table(
        "legs",
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("call_id", sa.String(255), nullable=False),
        _text("callee"),
        _text("trunk"),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("answered_at", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.Column("ended_by", sa.String(16)),
        sa.Column("reason", sa.Text),
        sa.Column("sip_status", sa.Integer),
        sa.Column("q850", sa.Integer),
        sa.Column("duration", sa.Double),
        sa.Column("stats", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_legs"),
    )
    op.create_index("ix_legs_call_id", "legs", ["call_id", "started_at"])


_TABLES = (
    *("legs", "media", "trunks", "extensions", "numbers", "flow_versions", "flows"),
    *("groups", "user_devices", "devices", "api_tokens", "users", "accounts"),
)


def downgrade() -> None:
    """Back to one account, which has no name."""
    op.drop_index("ix_calls_account_id", "calls")
    for column in ("cause", "sip_reason", "flow_version", "account_id"):
        op.drop_column("calls", column)
    for table in _TABLES:
        op.drop_table(table)

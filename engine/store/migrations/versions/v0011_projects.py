"""Projects with schedules, contacts and their variables; channels; integers by which rows go.

Revision ID: 0011
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _to(table: str, column: str, other: str, target: str = "id", *, on_delete: str = "CASCADE") -> Any:
    return sa.ForeignKeyConstraint([column], [f"{other}.{target}"], f"fk_{table}_{column}", ondelete=on_delete)


def _numbered(table: str, *parts: Any, key: str = "id") -> None:
    """A table whose rows have an integer."""
    op.create_table(
        table, sa.Column(key, _KEY, nullable=False), *parts, sa.PrimaryKeyConstraint(key, name=f"pk_{table}")
    )


def _text(name: str) -> Any:
    return sa.Column(name, sa.Text, nullable=False)


def _of_project(table: str) -> tuple[Any, ...]:
    return sa.Column("project_id", sa.BigInteger, nullable=False), _to(table, "project_id", "projects")


def _of_account(table: str) -> tuple[Any, ...]:
    return sa.Column("account_id", sa.String(32), nullable=False), _to(table, "account_id", "accounts")


def upgrade() -> None:
    """Nobody had a project."""
    _numbered(
        "projects",
        *_of_account("projects"),
        _text("name"),
        sa.Column("time_zone", sa.String(64), nullable=False),
        _text("status_url"),
        _text("status_user"),
        _text("status_password"),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("account_id", "name", name="uq_projects_account_id"),
    )
    op.create_table(
        "project_flows",
        sa.Column("flow_id", sa.String(32), nullable=False),
        _to("project_flows", "flow_id", "flows"),
        *_of_project("project_flows"),
        sa.PrimaryKeyConstraint("flow_id", name="pk_project_flows"),
    )
    op.create_index("ix_project_flows_project_id", "project_flows", ["project_id"])
    _numbered(
        "project_variables",
        *_of_project("project_variables"),
        _text("name"),
        sa.UniqueConstraint("project_id", "name", name="uq_project_variables_project_id"),
    )
    _numbered(
        "project_schedules",
        *_of_project("project_schedules"),
        _text("name"),
        _text("folded"),
        _text("retries"),
        _text("weekdays"),
        sa.Column("data", sa.JSON, nullable=False),
        sa.UniqueConstraint("project_id", "folded", name="uq_project_schedules_project_id"),
    )
    _contacts()
    op.create_table(
        "channels",
        sa.Column("trunk_id", sa.String(32), nullable=False),
        _to("channels", "trunk_id", "trunks"),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("flow_id", sa.String(32)),
        _to("channels", "flow_id", "flows", on_delete="SET NULL"),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("trunk_id", name="pk_channels"),
    )
    _numbered(
        "numbered",
        *_of_account("numbered"),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("target", sa.String(32), nullable=False),
        sa.UniqueConstraint("kind", "target", name="uq_numbered_kind"),
        key="number",
    )
    _numbered(
        "numbered_calls",
        *_of_account("numbered_calls"),
        sa.Column("queued_id", sa.BigInteger),
        _to("numbered_calls", "queued_id", "queued_calls"),
        sa.Column("call_id", sa.String(32)),
        sa.Column("project_id", sa.BigInteger, nullable=False),
        sa.Column("contact_id", sa.BigInteger),
        _text("address"),
        _text("trunk"),
        sa.Column("flow_id", sa.String(32)),
        sa.Column("schedule_id", sa.BigInteger),
        _text("status_url"),
        sa.Column("params", sa.JSON, nullable=False),
        sa.UniqueConstraint("queued_id", name="uq_numbered_calls_queued_id"),
        sa.UniqueConstraint("call_id", name="uq_numbered_calls_call_id"),
    )
    op.create_index("ix_numbered_calls_account_id", "numbered_calls", ["account_id", "id"])


def _contacts() -> None:
    _numbered("contacts", *_of_project("contacts"), sa.Column("created_at", sa.Double, nullable=False))
    op.create_index("ix_contacts_project_id", "contacts", ["project_id"])
    _numbered(
        "contact_addresses",
        *_of_project("contact_addresses"),
        sa.Column("contact_id", sa.BigInteger, nullable=False),
        _to("contact_addresses", "contact_id", "contacts"),
        sa.Column("address", sa.String(255), nullable=False),
        sa.UniqueConstraint("project_id", "address", name="uq_contact_addresses_project_id"),
    )
    op.create_index("ix_contact_addresses_contact_id", "contact_addresses", ["contact_id"])
    op.create_table(
        "contact_variables",
        sa.Column("contact_id", sa.BigInteger, nullable=False),
        _to("contact_variables", "contact_id", "contacts"),
        sa.Column("variable_id", sa.BigInteger, nullable=False),
        _to("contact_variables", "variable_id", "project_variables"),
        _text("value"),
        sa.PrimaryKeyConstraint("contact_id", "variable_id", name="pk_contact_variables"),
    )
    op.create_index("ix_contact_variables_variable_id", "contact_variables", ["variable_id"])


def downgrade() -> None:
    """Back to flows that belong to an account alone."""
    for table in (
        *("numbered_calls", "numbered", "channels", "contact_variables", "contact_addresses", "contacts"),
        *("project_schedules", "project_variables", "project_flows", "projects"),
    ):
        op.drop_table(table)

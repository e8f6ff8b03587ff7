"""Deliveries about calls that were never made say whose they are.

Revision ID: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_WHERE = sa.text("account_id IS NOT NULL")


def upgrade() -> None:
    """Only the queue knew it."""
    op.add_column("deliveries", sa.Column("account_id", sa.String(32)))
    op.execute(
        "UPDATE deliveries SET account_id = queued_calls.account_id FROM queued_calls "
        "WHERE deliveries.call_id = 'queued-' || queued_calls.id"
    )
    op.create_index(
        "ix_deliveries_account_id",
        "deliveries",
        ["account_id", "id"],
        sqlite_where=_WHERE,
        postgresql_where=_WHERE,
    )


def downgrade() -> None:
    """Back to that."""
    op.drop_index("ix_deliveries_account_id", table_name="deliveries")
    op.drop_column("deliveries", "account_id")

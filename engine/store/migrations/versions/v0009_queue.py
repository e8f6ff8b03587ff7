"""Calls that are to be made.

Revision ID: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Nothing was queued before."""
    op.create_table(
        "queued_calls",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], "fk_queued_calls_account_id", ondelete="CASCADE"),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("result", sa.String(16)),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("trunk", sa.Text, nullable=False),
        sa.Column("flow_id", sa.String(32)),
        sa.Column("document", sa.Text),
        sa.Column("dialect", sa.String(16), nullable=False),
        sa.Column("wish", sa.JSON, nullable=False),
        sa.Column("schedule", sa.JSON),
        sa.Column("zone", sa.String(64), nullable=False),
        sa.Column("not_before", sa.Double),
        sa.Column("not_after", sa.Double),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("given_up", sa.Boolean, nullable=False),
        sa.Column("call_id", sa.String(32)),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.Column("reason", sa.Text),
        sa.Column("sip_status", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="pk_queued_calls"),
    )
    op.create_index("ix_queued_calls_state", "queued_calls", ["state", "due_at"])
    op.create_index("ix_queued_calls_account_id", "queued_calls", ["account_id", "id"])
    op.create_index("ix_queued_calls_call_id", "queued_calls", ["call_id"], unique=True)


def downgrade() -> None:
    """They are not made any more."""
    op.drop_table("queued_calls")

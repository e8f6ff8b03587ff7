"""Callflows of numbers that a web server tells; what accounts may do.

Revision ID: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Numbers had flows only; accounts could call whom they liked."""
    op.add_column("numbers", sa.Column("callflow", sa.JSON))
    op.add_column("accounts", sa.Column("allowed", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("accounts", sa.Column("calls_per_day", sa.Integer, nullable=False, server_default="0"))
    op.add_column("accounts", sa.Column("minutes_per_day", sa.Integer, nullable=False, server_default="0"))
    op.add_column("accounts", sa.Column("relay", sa.String(8), nullable=False, server_default="trunks"))


def downgrade() -> None:
    """Back to flows only, and to whomever they like."""
    for column in ("relay", "minutes_per_day", "calls_per_day", "allowed"):
        op.drop_column("accounts", column)
    op.drop_column("numbers", "callflow")

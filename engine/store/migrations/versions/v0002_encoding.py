"""Deliveries say how their parameters are sent.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Those before were GETs with a query."""
    op.add_column("deliveries", sa.Column("encoding", sa.String(8), nullable=False, server_default="query"))


def downgrade() -> None:
    """Back to where every POST was a form."""
    op.drop_column("deliveries", "encoding")

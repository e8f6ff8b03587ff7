"""Deliveries may send a file; recordings say why they failed.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing was uploaded before, and no failure kept."""
    op.add_column("deliveries", sa.Column("file", sa.Text))
    op.add_column("recordings", sa.Column("reason", sa.Text))


def downgrade() -> None:
    """Back to the journal as the only place that knows."""
    op.drop_column("recordings", "reason")
    op.drop_column("deliveries", "file")

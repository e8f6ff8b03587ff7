"""Delivered requests are found by when they were settled, to be deleted after a while.

Revision ID: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_WHERE = sa.text("state = 'delivered'")


def upgrade() -> None:
    op.create_index(
        "ix_deliveries_settled_delivered",
        "deliveries",
        ["settled_at"],
        sqlite_where=_WHERE,
        postgresql_where=_WHERE,
    )


def downgrade() -> None:
    op.drop_index("ix_deliveries_settled_delivered", table_name="deliveries")

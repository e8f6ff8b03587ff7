"""Numbers and addresses that are assigned to accounts.

Revision ID: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Accounts took what was free."""
    for column in ("assigned_numbers", "assigned_addresses"):
        op.add_column("accounts", sa.Column(column, sa.JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    """Back to that."""
    for column in ("assigned_addresses", "assigned_numbers"):
        op.drop_column("accounts", column)

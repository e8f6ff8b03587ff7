"""Refresh tokens that were used: one that comes a second time was stolen.

Revision ID: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """They were forgotten."""
    op.create_table(
        "oauth_spent",
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(32), nullable=False),
        sa.Column("client_id", sa.String(32), nullable=False),
        sa.Column("spent_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_oauth_spent"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_oauth_spent_user_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["client_id"], ["api_clients.id"], name="fk_oauth_spent_client_id", ondelete="CASCADE"),
    )
    op.create_index("ix_oauth_spent_expires_at", "oauth_spent", ["expires_at"])


def downgrade() -> None:
    """Forget them."""
    op.drop_table("oauth_spent")

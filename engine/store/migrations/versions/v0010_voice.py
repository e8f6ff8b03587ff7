"""Transcriptions and webhooks for calls; a flow for numbers that have none.

Revision ID: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def _times() -> tuple[sa.Column[float], sa.Column[float]]:
    return sa.Column("created_at", sa.Double, nullable=False), sa.Column("updated_at", sa.Double, nullable=False)


def upgrade() -> None:
    """There were none."""
    op.add_column("flows", sa.Column("fallback", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "transcriptions",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("call_id", sa.String(255), nullable=False),
        sa.Column("recording", sa.Integer, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("error", sa.Text),
        *_times(),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], "fk_transcriptions_account_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_transcriptions"),
    )
    op.create_index("ix_transcriptions_account_id", "transcriptions", ["account_id"])
    op.create_index("ix_transcriptions_call_id", "transcriptions", ["call_id", "recording"])
    op.create_index("ix_transcriptions_status", "transcriptions", ["status"])
    op.create_table(
        "voice_webhooks",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], "fk_voice_webhooks_account_id", ondelete="CASCADE"),
        sa.Column("call_id", sa.String(255)),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("id", name="pk_voice_webhooks"),
    )
    op.create_index("ix_voice_webhooks_account_id", "voice_webhooks", ["account_id", "call_id"])
    op.create_index("ix_voice_webhooks_call_id", "voice_webhooks", ["call_id"])


def downgrade() -> None:
    """Nobody is told, nothing is transcribed."""
    op.drop_table("voice_webhooks")
    op.drop_table("transcriptions")
    op.drop_column("flows", "fallback")

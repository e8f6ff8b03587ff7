"""Mailboxes and the messages in them.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody had a mailbox before."""
    op.create_table(
        "mailboxes",
        sa.Column("account", sa.String(255), nullable=False),
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("pin", sa.Text, nullable=False),
        sa.Column("require_pin", sa.Boolean, nullable=False),
        sa.Column("greeting", sa.Text, nullable=False),
        sa.Column("own_greeting", sa.Text, nullable=False),
        sa.Column("skip_greeting", sa.Boolean, nullable=False),
        sa.Column("skip_instructions", sa.Boolean, nullable=False),
        sa.Column("notify_url", sa.Text, nullable=False),
        sa.Column("notify_emails", sa.Text, nullable=False),
        sa.Column("time_zone", sa.Text, nullable=False),
        sa.Column("format", sa.String(8), nullable=False),
        sa.Column("oldest_first", sa.Boolean, nullable=False),
        sa.Column("transcribe", sa.Boolean, nullable=False),
        sa.Column("max_message_length", sa.Double, nullable=False),
        sa.Column("max_messages", sa.Integer, nullable=False),
        sa.Column("from_file", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("account", "id", name="pk_mailboxes"),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("account", sa.String(255), nullable=False),
        sa.Column("box", sa.String(255), nullable=False),
        sa.Column("call_id", sa.String(255), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("caller_name", sa.Text, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("text", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
    )
    op.create_index("ix_messages_box", "messages", ["account", "box", "created_at"])


def downgrade() -> None:
    """The sound files of messages stay where they are."""
    op.drop_table("messages")
    op.drop_table("mailboxes")

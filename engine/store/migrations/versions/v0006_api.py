"""People log in, programs have ids and secrets, tokens have kinds; deliveries have bodies, signatures, other retries.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], f"fk_{table}_{column}", ondelete="CASCADE")


def upgrade() -> None:
    """Nobody had a password; every token was for our own API."""
    op.add_column("users", sa.Column("email", sa.Text))
    op.add_column("users", sa.Column("password", sa.Text))
    op.create_index("ix_users_email", "users", ["email"], unique=True)
    op.create_table(
        "api_clients",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("account_id", sa.String(32), nullable=False),
        _reference("api_clients", "account_id", "accounts"),
        sa.Column("user_id", sa.String(32)),
        _reference("api_clients", "user_id", "users"),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("redirect_uris", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_clients"),
    )
    for column in ("account_id", "user_id"):
        op.create_index(f"ix_api_clients_{column}", "api_clients", [column])
    op.add_column("api_tokens", sa.Column("kind", sa.String(16), nullable=False, server_default="bearer"))
    op.add_column("api_tokens", sa.Column("client_id", sa.String(32)))
    op.add_column("api_tokens", sa.Column("scopes", sa.JSON, nullable=False, server_default="[]"))
    op.create_index("ix_api_tokens_client_id", "api_tokens", ["client_id"])
    for name, kind in _OF_DELIVERIES.items():
        op.add_column("deliveries", sa.Column(name, kind))
    op.add_column("deliveries", sa.Column("plan", sa.String(16), nullable=False, server_default=""))
    op.add_column("deliveries", sa.Column("any_certificate", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("ix_deliveries_subscription", "deliveries", ["subscription", "id"])


_OF_DELIVERIES: dict[str, sa.types.TypeEngine[str]] = {
    "body": sa.Text(),
    "content_type": sa.Text(),
    "signer": sa.String(32),
    "secret": sa.Text(),
    "subscription": sa.String(64),
}


def downgrade() -> None:
    """Back to tokens that somebody has to hand out."""
    op.drop_index("ix_deliveries_subscription", "deliveries")
    for name in ("any_certificate", "plan", *reversed(_OF_DELIVERIES)):
        op.drop_column("deliveries", name)
    op.drop_index("ix_api_tokens_client_id", "api_tokens")
    for name in ("scopes", "client_id", "kind"):
        op.drop_column("api_tokens", name)
    op.drop_table("api_clients")
    op.drop_index("ix_users_email", "users")
    for name in ("password", "email"):
        op.drop_column("users", name)

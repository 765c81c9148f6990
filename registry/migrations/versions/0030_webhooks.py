"""Addresses that are told of events, and an outbox for them; warnings of budgets go through it too.

Revision ID: 0030
Revises: 0029
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

UNDELIVERED = sa.text("delivered_at_ms IS NULL")


def upgrade() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("tenant", sa.String(63), sa.ForeignKey("tenants.name", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("url", sa.String(2_000), nullable=False),
        sa.Column("event_types", sa.JSON(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.String(32), nullable=False),
        sa.Column("old_secret", sa.LargeBinary(), nullable=True),
        sa.Column("old_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("tried_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("fault", sa.String(200), nullable=True),
    )
    op.create_index("ix_webhook_endpoints_tenant", "webhook_endpoints", ["tenant"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("event_id", sa.String(40), nullable=False),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column(
            "endpoint_id", sa.String(40), sa.ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), nullable=True
        ),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("give_up_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at_ms", sa.BigInteger(), nullable=True),
    )
    _index("webhook_deliveries", "ix_webhook_deliveries_due")
    op.create_index("ix_webhook_deliveries_endpoint_id", "webhook_deliveries", ["endpoint_id"])
    op.create_index("ix_webhook_deliveries_give_up_at_ms", "webhook_deliveries", ["give_up_at_ms"])
    op.drop_index("ix_budget_warnings_undelivered", "budget_warnings")
    for column in ("attempts", "due_at_ms", "delivered_at_ms"):
        op.drop_column("budget_warnings", column)


def _index(table: str, name: str) -> None:
    op.create_index(name, table, ["due_at_ms"], sqlite_where=UNDELIVERED, postgresql_where=UNDELIVERED)


def downgrade() -> None:
    for column, default in (("attempts", "0"), ("due_at_ms", "0")):
        op.add_column("budget_warnings", sa.Column(column, sa.BigInteger(), nullable=False, server_default=default))
    op.add_column("budget_warnings", sa.Column("delivered_at_ms", sa.BigInteger(), nullable=True))
    _index("budget_warnings", "ix_budget_warnings_undelivered")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhook_endpoints")

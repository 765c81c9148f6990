"""Limits have a percentage at which a budget warns, and every warning is a row until it is delivered and after.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("limits", sa.Column("warn_percent", sa.BigInteger(), nullable=True))
    op.create_table(
        "budget_warnings",
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("starts_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("budget", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("warn_percent", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ends_ms", sa.BigInteger(), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("noted_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("due_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint(
            "scope", "kind", "starts_ms", "budget", "warn_percent", name=op.f("pk_budget_warnings")
        ),
    )
    op.create_index(
        "ix_budget_warnings_undelivered",
        "budget_warnings",
        ["due_at_ms"],
        sqlite_where=sa.text("delivered_at_ms IS NULL"),
        postgresql_where=sa.text("delivered_at_ms IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("budget_warnings")
    op.drop_column("limits", "warn_percent")

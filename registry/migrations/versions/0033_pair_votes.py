"""Votes of people on pairs of answers.

Revision ID: 0033
Revises: 0032
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pair_votes",
        sa.Column("tenant", sa.String(63), sa.ForeignKey("tenants.name", ondelete="CASCADE"), nullable=False),
        sa.Column("comparison", sa.String(64), nullable=False),
        sa.Column("pair", sa.String(64), nullable=False),
        sa.Column("voter", sa.String(100), nullable=False),
        sa.Column("winner", sa.String(3), nullable=False),
        sa.Column("left_side", sa.String(1), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "comparison", "pair", "voter"),
    )


def downgrade() -> None:
    op.drop_table("pair_votes")

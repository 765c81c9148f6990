"""Ballots: pairs of answers that are put up for people to vote on.

Revision ID: 0053
Revises: 0052
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ballots",
        _tenant(),
        sa.Column("comparison", sa.String(64), nullable=False),
        sa.Column("a", sa.String(200), nullable=False),
        sa.Column("b", sa.String(200), nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("put_up_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "comparison", name="pk_ballots"),
    )
    op.create_table(
        "ballot_pairs",
        _tenant(),
        sa.Column("comparison", sa.String(64), nullable=False),
        sa.Column("pair", sa.String(64), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("left_side", sa.String(1), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "comparison", "pair", name="pk_ballot_pairs"),
    )


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.String(63), sa.ForeignKey("tenants.name", ondelete="CASCADE"), nullable=False)


def downgrade() -> None:
    op.drop_table("ballot_pairs")
    op.drop_table("ballots")

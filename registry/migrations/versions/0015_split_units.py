"""Workers note how a split's traffic is spread over units.

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "split_units",
        sa.Column("split_id", sa.BigInteger(), primary_key=True),
        sa.Column("worker", sa.String(length=120), primary_key=True),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("of_one_unit", sa.BigInteger(), nullable=False),
        sa.Column("noted_at_ms", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("split_units")

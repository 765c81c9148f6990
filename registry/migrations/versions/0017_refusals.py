"""Requests that were refused, added up by day and reason.

Revision ID: 0017
Revises: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "refusals",
        sa.Column("day", sa.Integer(), primary_key=True),
        sa.Column("tenant", sa.String(length=63), primary_key=True),
        sa.Column("key_id", sa.String(length=32), primary_key=True),
        sa.Column("model", sa.String(length=200), primary_key=True),
        sa.Column("scope", sa.String(length=200), primary_key=True),
        sa.Column("reason", sa.String(length=60), primary_key=True),
        sa.Column("refused", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("refusals")

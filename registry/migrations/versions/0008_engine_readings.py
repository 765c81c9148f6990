"""Engines' own counts of tokens are kept, and usage rows say how often an engine read the prompt.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("usage", sa.Column("n", sa.Integer(), nullable=True))
    op.create_table(
        "engine_readings",
        sa.Column("engine", sa.String(length=200), nullable=False),
        sa.Column("boot_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("asked_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("answered_ms", sa.BigInteger(), nullable=False),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("generation_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("engine", "boot_ms", "asked_ms", name=op.f("pk_engine_readings")),
    )


def downgrade() -> None:
    op.drop_table("engine_readings")
    op.drop_column("usage", "n")

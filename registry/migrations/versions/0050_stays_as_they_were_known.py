"""Stays of engines say since when they are known; those that were there before count as if they always had been.

Revision ID: 0050
Revises: 0049
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("engine_spans", sa.Column("known_at_ms", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("engine_spans", "known_at_ms")

"""Segment entries have a digest of their usage rows.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("usage_segments", sa.Column("rows_digest", sa.String(16), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("usage_segments", "rows_digest")

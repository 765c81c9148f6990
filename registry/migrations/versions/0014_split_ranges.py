"""A split remembers which buckets are whose, so that a change of weights moves as few units as it can.

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("splits", sa.Column("ranges", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("splits", "ranges")

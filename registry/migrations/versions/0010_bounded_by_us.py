"""Usage rows say whether an answer's bound was its client's or ours.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("usage", sa.Column("bounded_by_us", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("usage", "bounded_by_us")

"""Usage rows say which version served, who counted, and how soon the answer began; outcomes have clearer names.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("usage", sa.Column("version_digest", sa.String(length=80), nullable=True))
    op.add_column("usage", sa.Column("usage_source", sa.String(length=20), nullable=True))
    op.add_column("usage", sa.Column("ttft_ms", sa.Float(), nullable=True))


def downgrade() -> None:
    for column in ("version_digest", "usage_source", "ttft_ms"):
        op.drop_column("usage", column)

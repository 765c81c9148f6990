"""Tenants' keys may have an end.

Revision ID: 0054
Revises: 0053
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("expires_at_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "expires_at_ms")

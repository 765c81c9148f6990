"""Tenants that are deleted.

Revision ID: 0043
Revises: 0042
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenants", sa.Column("deleted_at_ms", sa.BigInteger(), nullable=True))
    op.add_column("tenants", sa.Column("emptied_at_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("tenants", "emptied_at_ms")
    op.drop_column("tenants", "deleted_at_ms")

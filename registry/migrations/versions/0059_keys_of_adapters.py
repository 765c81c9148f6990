"""Tenants' keys may be for some adapters alone.

Revision ID: 0059
Revises: 0058
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("adapters", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "adapters")

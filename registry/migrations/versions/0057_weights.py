"""Tenants have a weight: their share of engines that are full.

Revision ID: 0057
Revises: 0056
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0057"
down_revision = "0056"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenants", sa.Column("weight", sa.BigInteger(), nullable=False, server_default="1"))


def downgrade() -> None:
    op.drop_column("tenants", "weight")

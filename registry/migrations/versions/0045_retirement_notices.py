"""Which tenants were warned of which model's end.

Revision ID: 0045
Revises: 0044
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retirement_notices",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("ends_at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("told_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", "ends_at_ms", name=op.f("pk_retirement_notices")),
    )


def downgrade() -> None:
    op.drop_table("retirement_notices")

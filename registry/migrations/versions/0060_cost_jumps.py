"""Days on which a tenant cost much more than usual are kept as they were found.

Revision ID: 0060
Revises: 0059
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cost_jumps",
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("said", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("day", "tenant", name=op.f("pk_cost_jumps")),
    )
    op.add_column("jump_looks", sa.Column("keeps", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("jump_looks", "keeps")
    op.drop_table("cost_jumps")

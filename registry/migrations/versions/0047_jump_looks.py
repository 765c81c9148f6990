"""How far a day that is over has been looked at for tenants that cost much more than usual.

Revision ID: 0047
Revises: 0046
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "jump_looks",
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("looked_until", sa.String(length=63), nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_jump_looks")),
    )


def downgrade() -> None:
    op.drop_table("jump_looks")

"""When a worker took a job last.

Revision ID: 0044
Revises: 0043
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

TABLE, INDEX = "training_jobs", "ix_training_jobs_tenant_taken"


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("taken_at_ms", sa.BigInteger(), nullable=True))
    op.create_index(INDEX, TABLE, ["tenant", "taken_at_ms"])


def downgrade() -> None:
    op.drop_index(INDEX, TABLE)
    op.drop_column(TABLE, "taken_at_ms")

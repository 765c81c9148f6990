"""What is looked for in an adapter's answers.

Revision ID: 0036
Revises: 0035
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("adapters", sa.Column("answer_checks", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("adapters", "answer_checks")

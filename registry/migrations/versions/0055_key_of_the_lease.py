"""The controller's lease has a key, by which its holder and its workers know each other.

Revision ID: 0055
Revises: 0054
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("controller_lease", sa.Column("key", sa.String(length=64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("controller_lease", "key")

"""Effect proofs by manifest: those published with a version, and those measured afterwards.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "version_proofs",
        sa.Column("manifest_digest", sa.String(length=80), nullable=False),
        sa.Column("blob_digest", sa.String(length=80), nullable=False),
        sa.Column("attached", sa.Boolean(), nullable=False),
        sa.Column("largest_effect", sa.Float(), nullable=False),
        sa.Column("noise", sa.Float(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("manifest_digest", name=op.f("pk_version_proofs")),
    )


def downgrade() -> None:
    op.drop_table("version_proofs")

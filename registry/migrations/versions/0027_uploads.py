"""Uploads that become files of tenants, and from when on the sweep removes a part.

Revision ID: 0027
Revises: 0026
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

TENANT, ID = sa.String(63), sa.String(40)


def upgrade() -> None:
    op.create_table(
        "tenant_uploads",
        sa.Column("tenant", TENANT, sa.ForeignKey("tenants.name", ondelete="CASCADE"), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("purpose", sa.String(40), nullable=False),
        sa.Column("about", sa.LargeBinary(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("file_expires_after_s", sa.BigInteger(), nullable=True),
        sa.Column("file_id", ID, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_tenant_uploads"),
    )
    op.create_index("ix_tenant_uploads_expires", "tenant_uploads", ["expires_at_ms"])
    op.add_column("tenant_file_parts", sa.Column("removable_from_ms", sa.BigInteger(), nullable=True))
    op.create_index("ix_tenant_file_parts_removable", "tenant_file_parts", ["removable_from_ms"])
    op.execute("UPDATE tenant_file_parts SET removable_from_ms = created_at_ms + 7200000 WHERE pieces IS NULL")


def downgrade() -> None:
    op.drop_index("ix_tenant_file_parts_removable", "tenant_file_parts")
    op.drop_column("tenant_file_parts", "removable_from_ms")
    op.drop_table("tenant_uploads")

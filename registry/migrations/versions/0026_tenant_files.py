"""Files of tenants, and the parts that they are made of.

Revision ID: 0026
Revises: 0025
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

TENANT, ID = sa.String(63), sa.String(40)


def upgrade() -> None:
    op.create_table(
        "tenant_files",
        sa.Column("tenant", TENANT, sa.ForeignKey("tenants.name", ondelete="CASCADE"), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.String(40), nullable=False),
        sa.Column("about", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_tenant_files"),
    )
    op.create_index("ix_tenant_files_tenant_created", "tenant_files", ["tenant", "created_at_ms", "id"])
    op.create_index("ix_tenant_files_expires", "tenant_files", ["expires_at_ms"])
    op.create_table(
        "tenant_file_parts",
        sa.Column("id", ID, nullable=False),
        sa.Column("tenant", TENANT, nullable=False),
        sa.Column("owner", ID, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("pieces", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_tenant_file_parts"),
    )
    op.create_index("ix_tenant_file_parts_owner", "tenant_file_parts", ["owner", "position"])
    op.create_index("ix_tenant_file_parts_tenant", "tenant_file_parts", ["tenant", "bytes"])


def downgrade() -> None:
    op.drop_table("tenant_file_parts")
    op.drop_table("tenant_files")

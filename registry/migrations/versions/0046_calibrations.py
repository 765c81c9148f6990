"""How many tokens a baseline counts for each of ours.

Revision ID: 0046
Revises: 0045
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "calibrations",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("baseline", sa.String(length=200), nullable=False),
        sa.Column("own_model", sa.String(length=200), nullable=False),
        sa.Column("asked_model", sa.String(length=200), nullable=False),
        sa.Column("asked_at", sa.String(length=500), nullable=False),
        sa.Column("prompts", sa.String(length=500), nullable=False),
        sa.Column("pairs", sa.BigInteger(), nullable=False),
        sa.Column("ratios", sa.JSON(), nullable=False),
        sa.Column("spent_nano", sa.BigInteger(), nullable=False),
        sa.Column("stopped", sa.String(length=20), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("made_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibrations")),
        sa.ForeignKeyConstraint(
            ["tenant"], ["tenants.name"], name=op.f("fk_calibrations_tenant_tenants"), ondelete="CASCADE"
        ),
    )
    op.create_index(op.f("ix_calibrations_tenant"), "calibrations", ["tenant"])


def downgrade() -> None:
    op.drop_table("calibrations")

"""Shadows: copies of requests to a candidate version, their pairs, and tenants' consent to them.

Revision ID: 0032
Revises: 0031
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

RUNNING = sa.text("ended_at_ms IS NULL")
BIG = sa.BigInteger()
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("tenants", sa.Column("shadow_consent", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("tenants", sa.Column("pair_days", BIG, nullable=True))
    op.create_table(
        "shadows",
        sa.Column("id", ID, primary_key=True),
        sa.Column("adapter_id", ID, sa.ForeignKey("adapters.id"), nullable=False),
        sa.Column("alias", sa.String(63), nullable=False),
        sa.Column("version_id", ID, sa.ForeignKey("versions.id"), nullable=False),
        sa.Column("share", BIG, nullable=False),
        sa.Column("requests_per_day", BIG, nullable=False),
        sa.Column("budget_nano", BIG, nullable=True),
        sa.Column("until_ms", BIG, nullable=False),
        sa.Column("experiment_id", BIG, nullable=True),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("started_at_ms", BIG, nullable=False),
        sa.Column("ended_at_ms", BIG, nullable=True),
        sa.Column("ended_why", sa.String(200), nullable=True),
    )
    op.create_index("ix_shadows_adapter_id", "shadows", ["adapter_id"])
    op.create_index(
        "uq_shadows_running",
        "shadows",
        ["adapter_id", "alias"],
        unique=True,
        sqlite_where=RUNNING,
        postgresql_where=RUNNING,
    )
    op.create_table(
        "shadow_days",
        _shadow(),
        sa.Column("day", BIG, primary_key=True, autoincrement=False),
        sa.Column("taken", BIG, nullable=False),
        sa.Column("spent_nano", BIG, nullable=False),
    )
    op.create_table(
        "shadow_counts",
        _shadow(),
        sa.Column("cause", sa.String(40), primary_key=True),
        sa.Column("number", BIG, nullable=False),
    )
    op.create_table(
        "shadow_pairs",
        _shadow(),
        sa.Column("request_id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(63), sa.ForeignKey("tenants.name", ondelete="CASCADE"), nullable=False),
        sa.Column("at_ms", BIG, nullable=False),
        sa.Column("endpoint", sa.String(40), nullable=False),
        sa.Column("cause", sa.String(40), nullable=True),
        sa.Column("control", sa.JSON(), nullable=False),
        sa.Column("candidate", sa.JSON(), nullable=False),
        sa.Column("diff", sa.JSON(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("content_bytes", BIG, nullable=False),
    )
    op.create_index("ix_shadow_pairs_tenant_at", "shadow_pairs", ["tenant", "at_ms", "content_bytes"])
    op.create_table(
        "pair_verdicts",
        _shadow(),
        sa.Column("request_id", sa.String(64), primary_key=True),
        sa.Column("judge", sa.String(200), primary_key=True),
        sa.Column("at_ms", BIG, nullable=False),
        sa.Column("candidate_first", sa.String(10), nullable=False),
        sa.Column("control_first", sa.String(10), nullable=False),
        sa.Column("verdict", sa.String(10), nullable=False),
    )


def _shadow() -> sa.Column[int]:
    return sa.Column(
        "shadow_id", ID, sa.ForeignKey("shadows.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )


def downgrade() -> None:
    for table in ("pair_verdicts", "shadow_pairs", "shadow_counts", "shadow_days", "shadows"):
        op.drop_table(table)
    op.drop_column("tenants", "pair_days")
    op.drop_column("tenants", "shadow_consent")

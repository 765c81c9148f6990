"""Fine-tuning jobs, their events and their checkpoints.

Revision ID: 0025
Revises: 0024
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UNFINISHED = sa.text("finished_at_ms IS NULL")


def upgrade() -> None:
    op.create_table(
        "training_jobs",
        sa.Column("number", NUMBER, primary_key=True),
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("tenant", sa.String(63), sa.ForeignKey("tenants.name"), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("pauses", sa.Boolean(), nullable=False),
        sa.Column("ordered", sa.JSON(), nullable=False),
        sa.Column("order_digest", sa.String(80), nullable=False),
        sa.Column("idempotency_key", sa.String(255), nullable=True),
        sa.Column("has_metadata", sa.Boolean(), nullable=False),
        sa.Column("worker", sa.String(140), nullable=True),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("estimated_finish_ms", sa.BigInteger(), nullable=True),
        sa.Column("hyperparameters", sa.JSON(), nullable=False),
        sa.Column("trained_tokens", sa.BigInteger(), nullable=True),
        sa.Column("fine_tuned_model", sa.String(256), nullable=True),
        sa.Column("version_id", sa.BigInteger(), nullable=True),
        sa.Column("result_files", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.UniqueConstraint("id", name="uq_training_jobs_id"),
        sa.UniqueConstraint("tenant", "idempotency_key", name="uq_training_jobs_tenant_idempotency_key"),
    )
    op.create_index("ix_training_jobs_tenant_number", "training_jobs", ["tenant", "number"])
    op.create_index(
        "ix_training_jobs_unfinished",
        "training_jobs",
        ["tenant"],
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    )
    op.create_table(
        "training_metadata",
        _job(primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("value", sa.String(512), nullable=False),
    )
    op.create_table(
        "training_events",
        sa.Column("number", NUMBER, primary_key=True),
        sa.Column("id", sa.String(40), nullable=False),
        _job(),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.String(10), nullable=False),
        sa.Column("message", sa.String(2_000), nullable=False),
        sa.Column("type", sa.String(10), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.UniqueConstraint("id", name="uq_training_events_id"),
    )
    op.create_index("ix_training_events_job_number", "training_events", ["job_number", "number"])
    op.create_table(
        "training_checkpoints",
        sa.Column("number", NUMBER, primary_key=True),
        sa.Column("id", sa.String(40), nullable=False),
        _job(),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("blob", sa.String(200), nullable=True),
        sa.UniqueConstraint("id", name="uq_training_checkpoints_id"),
        sa.UniqueConstraint("job_number", "step", name="uq_training_checkpoints_job_number_step"),
    )
    op.create_index("ix_training_checkpoints_blob", "training_checkpoints", ["blob"])


def _job(**more: bool) -> sa.Column[int]:
    return sa.Column(
        "job_number", NUMBER, sa.ForeignKey("training_jobs.number", ondelete="CASCADE"), nullable=False, **more
    )


def downgrade() -> None:
    for table in ("training_checkpoints", "training_events", "training_metadata", "training_jobs"):
        op.drop_table(table)

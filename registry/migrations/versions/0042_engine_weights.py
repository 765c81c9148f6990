"""What engines count while they work, how much a token is of it, and what loads of adapters took.

Revision ID: 0042
Revises: 0041
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

SAMPLES, WEIGHTS, LOADS = "engine_samples", "engine_weights", "engine_load_days"
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        SAMPLES,
        sa.Column("engine_id", sa.String(length=200), nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("base_digest", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("busy_ms", sa.BigInteger(), nullable=False),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("uncached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("engine_id", "ended_at_ms", name=f"pk_{SAMPLES}"),
    )
    op.create_index("ix_engine_samples_ended_at_ms", SAMPLES, ["ended_at_ms"])
    op.create_table(
        WEIGHTS,
        sa.Column("id", ID, primary_key=True),
        sa.Column("base_digest", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("uncached_ps", sa.BigInteger(), nullable=False),
        sa.Column("completion_ps", sa.BigInteger(), nullable=False),
        sa.Column("step_ps", sa.BigInteger(), nullable=False),
        sa.Column("residual", sa.Float(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("made_at_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        LOADS,
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("engine_id", sa.String(length=200), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("served_model", sa.String(length=200), nullable=False),
        sa.Column("loads", sa.BigInteger(), nullable=False),
        sa.Column("load_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "engine_id", "tenant", "served_model", name=f"pk_{LOADS}"),
    )
    _append_only(WEIGHTS)


def downgrade() -> None:
    op.drop_table(LOADS)
    op.drop_table(WEIGHTS)
    op.drop_table(SAMPLES)
    if op.get_bind().dialect.name != "sqlite":
        op.execute(f"DROP FUNCTION {WEIGHTS}_append_only()")


def _append_only(table: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {table}_append_only()"
    )

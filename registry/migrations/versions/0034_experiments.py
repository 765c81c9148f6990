"""Experiments, their decisions and units; a split may be one of an experiment.

Revision ID: 0034
Revises: 0033
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

DECISIONS = "experiment_decisions"
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", ID, primary_key=True),
        sa.Column("adapter_id", ID, sa.ForeignKey("adapters.id"), nullable=False),
        sa.Column("alias", sa.String(63), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("stepped_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("decisions", sa.Integer(), nullable=False),
        sa.Column("swap_id", sa.BigInteger(), nullable=True),
        sa.Column("standing", sa.JSON(), nullable=True),
        sa.Column("standing_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_at_ms", sa.BigInteger(), nullable=True),
        sa.UniqueConstraint("adapter_id", "name", name="uq_experiments_adapter_id_name"),
    )
    op.create_index("ix_experiments_state", "experiments", ["state"])
    op.create_table(
        DECISIONS,
        _experiment(),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("from_state", sa.String(20), nullable=False),
        sa.Column("to_state", sa.String(20), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("swap_id", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "seq", name=f"pk_{DECISIONS}"),
    )
    _append_only()
    op.create_table(
        "experiment_units",
        _experiment(),
        sa.Column("unit_hash", sa.String(32), nullable=False),
        sa.Column("arm", sa.String(20), nullable=False),
        sa.Column("propensity", sa.Float(), nullable=False),
        sa.Column("unit_source", sa.String(40), nullable=False),
        sa.Column("first_served_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("split_id", sa.BigInteger(), nullable=False),
        sa.Column("served_arm", sa.String(20), nullable=False),
        sa.Column("exposed_seq", sa.Integer(), nullable=False),
        sa.Column("failed_seq", sa.Integer(), nullable=True),
        sa.Column("failed_arm", sa.String(20), nullable=True),
        sa.Column("failed_split_id", sa.BigInteger(), nullable=True),
        sa.Column("folded_seq", sa.Integer(), nullable=True),
        sa.Column("metrics", sa.JSON(), nullable=True),
        sa.Column("valued_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("censored_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("experiment_id", "unit_hash", name="pk_experiment_units"),
    )
    op.create_index(
        "ix_experiment_units_served", "experiment_units", ["experiment_id", "first_served_at_ms", "unit_hash"]
    )
    op.add_column("splits", sa.Column("experiment_id", sa.BigInteger(), nullable=True))
    op.create_index("ix_splits_experiment_id", "splits", ["experiment_id"])


def _experiment() -> sa.Column[int]:
    return sa.Column("experiment_id", ID, sa.ForeignKey("experiments.id"), nullable=False)


def _append_only() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {DECISIONS}_no_{verb.lower()} BEFORE {verb} ON {DECISIONS} "
                f"BEGIN SELECT RAISE(ABORT, '{DECISIONS} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {DECISIONS}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{DECISIONS} is append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {DECISIONS}_append_only BEFORE UPDATE OR DELETE ON {DECISIONS} "
        f"FOR EACH ROW EXECUTE FUNCTION {DECISIONS}_append_only()"
    )


def downgrade() -> None:
    op.drop_index("ix_splits_experiment_id", "splits")
    op.drop_column("splits", "experiment_id")
    op.drop_table("experiment_units")
    op.drop_table(DECISIONS)
    if op.get_bind().dialect.name != "sqlite":
        op.execute(f"DROP FUNCTION {DECISIONS}_append_only()")
    op.drop_table("experiments")

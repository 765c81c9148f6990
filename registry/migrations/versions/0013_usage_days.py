"""Usage added up by day, by the database itself, which reports and budgets read; usage can be looked up by its time.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SUMS = (
    "attempts",
    "unmetered",
    "unpriced",
    "partial",
    "estimated",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "cost_nano",
    "busy_ms",
    "ttft_us",
    "with_ttft",
)
TIMES = ("first_ms", "last_ms")
KEYS = ("day", "writer", "tenant", "key_id", "served_model", "outcome")
ATTEMPT = """
    r.started_at_ms / 86400000, coalesce(substr(r.segment, 7, length(r.segment) - 13), ''), r.tenant, r.key_id,
    r.served_model, r.outcome, 1,
    CASE WHEN r.completion_tokens IS NULL AND r.outcome NOT IN ('rejected', 'load_failed') THEN 1 ELSE 0 END,
    CASE WHEN r.cost_nano IS NULL AND r.outcome IN ('ok', 'client_aborted') AND r.tenant <> '_system'
        THEN 1 ELSE 0 END,
    CASE WHEN r.usage_source = 'partial' THEN 1 ELSE 0 END, CASE WHEN r.usage_source = 'estimated' THEN 1 ELSE 0 END,
    coalesce(r.prompt_tokens, 0), coalesce(r.cached_tokens, 0), coalesce(r.completion_tokens, 0),
    coalesce(r.cost_nano, 0), coalesce(r.finished_at_ms - r.started_at_ms, 0),
    CAST(round(coalesce(r.ttft_ms, 0) * 1000) AS BIGINT), CASE WHEN r.ttft_ms IS NULL THEN 0 ELSE 1 END,
    r.started_at_ms, coalesce(r.finished_at_ms, r.started_at_ms)
"""
CORRECTION = """
    r.started_at_ms / 86400000, 'corrections', r.tenant, r.key_id, r.served_model, r.outcome, 0, 0, 0, 0, 0,
    c.prompt_tokens, c.cached_tokens, c.completion_tokens, c.cost_nano, 0, 0, 0,
    CAST(NULL AS BIGINT), CAST(NULL AS BIGINT)
"""


def upgrade() -> None:
    op.create_table(
        "usage_days",
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("writer", sa.String(length=140), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("served_model", sa.String(length=200), nullable=False),
        sa.Column("outcome", sa.String(length=30), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in SUMS),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in TIMES),
        sa.PrimaryKeyConstraint(*KEYS, name="pk_usage_days"),
    )
    op.create_index("ix_usage_started", "usage", ["started_at_ms"])
    added = _added()
    corrections = "usage_corrections c JOIN usage r ON r.attempt_id = c.attempt_id"
    for rows in (f"SELECT {ATTEMPT} FROM usage r", f"SELECT {CORRECTION} FROM {corrections}"):
        op.execute(f"INSERT INTO usage_days {_summed(rows)} {added}")
    new_attempt = ATTEMPT.replace("r.", "NEW.")
    new_correction = CORRECTION.replace("c.", "NEW.")
    _after_insert("usage", f"INSERT INTO usage_days VALUES ({new_attempt}) {added};")
    _after_insert(
        "usage_corrections",
        f"INSERT INTO usage_days SELECT {new_correction} FROM usage r WHERE r.attempt_id = NEW.attempt_id {added};",
    )


def _summed(rows: str) -> str:
    """One row for each key: PostgreSQL adds no two rows of one statement to the same sum."""
    sums = [f"sum({name})" for name in SUMS]
    return (
        f"WITH one ({', '.join((*KEYS, *SUMS, *TIMES))}) AS ({rows}) "
        f"SELECT {', '.join((*KEYS, *sums, 'min(first_ms)', 'max(last_ms)'))} FROM one GROUP BY {', '.join(KEYS)}"
    )


def _added() -> str:
    """To what is there already. The aggregates of two values have other names elsewhere than in SQLite."""
    least, most = ("min", "max") if op.get_bind().dialect.name == "sqlite" else ("least", "greatest")
    changes = [f"{name} = usage_days.{name} + excluded.{name}" for name in SUMS]
    changes += [f"first_ms = {least}(usage_days.first_ms, excluded.first_ms)"]
    changes += [f"last_ms = {most}(usage_days.last_ms, excluded.last_ms)"]
    return f"ON CONFLICT ({', '.join(KEYS)}) DO UPDATE SET {', '.join(changes)}"


def _after_insert(table: str, statement: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"CREATE TRIGGER {table}_adds_up AFTER INSERT ON {table} BEGIN {statement} END")
        return
    op.execute(
        f"CREATE FUNCTION {table}_adds_up() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {statement} RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_adds_up AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_adds_up()"
    )


def downgrade() -> None:
    for table in ("usage", "usage_corrections"):
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"DROP TRIGGER {table}_adds_up")
        else:
            op.execute(f"DROP FUNCTION {table}_adds_up() CASCADE")
    op.drop_index("ix_usage_started", "usage")
    op.drop_table("usage_days")

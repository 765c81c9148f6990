"""Usage added up by day, which reports and budgets read; usage can be looked up by its time.

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
# Columns are filled in the order in which the table has them.
ATTEMPTS = """
    INSERT INTO usage_days
    SELECT started_at_ms / 86400000, coalesce(substr(segment, 7, length(segment) - 13), ''), tenant, key_id,
        served_model, outcome, count(*),
        sum(CASE WHEN completion_tokens IS NULL AND outcome NOT IN ('rejected', 'load_failed') THEN 1 ELSE 0 END),
        sum(CASE WHEN cost_nano IS NULL AND outcome IN ('ok', 'client_aborted') AND tenant <> '_system'
            THEN 1 ELSE 0 END),
        sum(CASE WHEN usage_source = 'partial' THEN 1 ELSE 0 END),
        sum(CASE WHEN usage_source = 'estimated' THEN 1 ELSE 0 END),
        sum(coalesce(prompt_tokens, 0)), sum(coalesce(cached_tokens, 0)), sum(coalesce(completion_tokens, 0)),
        sum(coalesce(cost_nano, 0)), sum(coalesce(finished_at_ms - started_at_ms, 0)),
        sum(CAST(round(coalesce(ttft_ms, 0) * 1000) AS INTEGER)), count(ttft_ms),
        min(started_at_ms), max(coalesce(finished_at_ms, started_at_ms))
    FROM usage GROUP BY 1, 2, 3, 4, 5, 6
"""
CORRECTIONS = """
    INSERT INTO usage_days
    SELECT u.started_at_ms / 86400000, 'corrections', u.tenant, u.key_id, u.served_model, u.outcome, 0, 0, 0, 0, 0,
        sum(c.prompt_tokens), sum(c.cached_tokens), sum(c.completion_tokens), sum(c.cost_nano), 0, 0, 0, NULL, NULL
    FROM usage_corrections c JOIN usage u ON u.attempt_id = c.attempt_id GROUP BY 1, 2, 3, 4, 5, 6
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
        sa.PrimaryKeyConstraint("day", "writer", "tenant", "key_id", "served_model", "outcome", name="pk_usage_days"),
    )
    op.create_index("ix_usage_started", "usage", ["started_at_ms"])
    op.execute(ATTEMPTS)
    op.execute(CORRECTIONS)


def downgrade() -> None:
    op.drop_index("ix_usage_started", "usage")
    op.drop_table("usage_days")

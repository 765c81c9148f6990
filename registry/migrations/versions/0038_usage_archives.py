"""Attempts may leave the table of usage, once a file of them is recorded.

Revision ID: 0038
Revises: 0037
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

KEPT = ("usage", "usage_corrections")
ARCHIVES, LEAVING = "usage_archives", "usage_leaving"
FIXED = (
    "name",
    "day",
    "digest",
    "size_bytes",
    "attempts",
    "corrections",
    "first_ms",
    "last_ms",
    "ended_ms",
    "sums",
    "segments",
)


def upgrade() -> None:
    op.create_table(
        ARCHIVES,
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("corrections", sa.BigInteger(), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=False),
        sa.Column("sums", sa.JSON(), nullable=False),
        sa.Column("segments", sa.JSON(), nullable=False),
        sa.Column("archived_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("restored_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_usage_archives"),
    )
    op.create_index("ix_usage_archives_day", ARCHIVES, ["day"])
    op.create_table(
        LEAVING,
        sa.Column("attempt_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", name="pk_usage_leaving"),
    )
    _keep_records()
    leaving = f"EXISTS (SELECT 1 FROM {LEAVING} l WHERE l.attempt_id = OLD.attempt_id)"
    for table in KEPT:
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"DROP TRIGGER {table}_no_delete")
            _refuse_in_sqlite(table, "DELETE", f"WHEN NOT {leaving}")
        else:
            _append_only(table, f"IF TG_OP = 'DELETE' AND {leaving} THEN RETURN OLD; END IF;")


def _keep_records() -> None:
    """What is recorded of a file stays: its rows are nowhere else."""
    if op.get_bind().dialect.name == "sqlite":
        _refuse_in_sqlite(ARCHIVES, "DELETE")
        _refuse_in_sqlite(ARCHIVES, f"UPDATE OF {', '.join(FIXED)}")
        return
    op.execute(
        f"CREATE FUNCTION {ARCHIVES}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{ARCHIVES} is append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {ARCHIVES}_append_only BEFORE DELETE OR UPDATE OF {', '.join(FIXED)} ON {ARCHIVES} "
        f"FOR EACH ROW EXECUTE FUNCTION {ARCHIVES}_append_only()"
    )


def _refuse_in_sqlite(table: str, change: str, condition: str = "") -> None:
    name = f"{table}_no_{change.partition(' ')[0].lower()}"
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {change} ON {table} {condition} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )


def _append_only(table: str, but: str = "") -> None:
    op.execute(
        f"CREATE OR REPLACE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {but} RAISE EXCEPTION '{table} is append-only'; END $$"
    )


def downgrade() -> None:
    """Attempts in archives cannot be brought back from here: `switchyard ledger restore` does it before."""
    archived = sa.text(f"SELECT count(*) FROM {ARCHIVES} WHERE restored_at_ms IS NULL")
    if op.get_bind().execute(archived).scalar():
        raise RuntimeError("attempts are archived; bring them back with `switchyard ledger restore` first")
    for table in KEPT:
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"DROP TRIGGER {table}_no_delete")
            _refuse_in_sqlite(table, "DELETE")
        else:
            _append_only(table)
    op.drop_table(LEAVING)
    op.drop_table(ARCHIVES)
    if op.get_bind().dialect.name != "sqlite":
        op.execute(f"DROP FUNCTION {ARCHIVES}_append_only()")

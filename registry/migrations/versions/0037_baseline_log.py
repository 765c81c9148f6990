"""What APIs charge, and whether they can still be asked: a log that is only appended to.

Revision ID: 0037
Revises: 0036
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

LOG = "baseline_log"


def upgrade() -> None:
    op.create_table(
        LOG,
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("field", sa.String(length=20), nullable=False),
        sa.Column("effective_from_ms", sa.BigInteger(), nullable=False),
        sa.Column("nano", sa.BigInteger(), nullable=True),
        sa.Column("text", sa.String(length=500), nullable=True),
        sa.Column("source", sa.String(length=500), nullable=False),
        sa.Column("origin", sa.String(length=20), nullable=False),
        sa.Column("retrieved_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("stated_from_ms", sa.BigInteger(), nullable=True),
        sa.Column("correction", sa.Boolean(), nullable=False),
        sa.Column("note", sa.String(length=500), nullable=False),
        sa.Column("added_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_baseline_log")),
    )
    op.create_index("ix_baseline_log_name", LOG, ["name", "seq"])
    _refuse_changes()


def downgrade() -> None:
    op.drop_table(LOG)
    if op.get_bind().dialect.name != "sqlite":
        op.execute(f"DROP FUNCTION {LOG}_append_only()")


def _refuse_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {LOG}_no_{verb.lower()} BEFORE {verb} ON {LOG} "
                f"BEGIN SELECT RAISE(ABORT, '{LOG} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {LOG}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{LOG} is append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {LOG}_append_only BEFORE UPDATE OR DELETE ON {LOG} "
        f"FOR EACH ROW EXECUTE FUNCTION {LOG}_append_only()"
    )

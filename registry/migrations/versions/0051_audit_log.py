"""The audit log: what operators order, what it changed, and what came of it.

Revision ID: 0051
Revises: 0050
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None

LOG = "audit_lines"


def upgrade() -> None:
    op.create_table(
        LOG,
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("order_seq", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=True),
        sa.Column("object", sa.String(length=320), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_lines")),
    )
    op.create_index(op.f("ix_audit_lines_order_seq"), LOG, ["order_seq"])
    op.create_index(op.f("ix_audit_lines_actor"), LOG, ["actor"])
    op.create_index("ix_audit_lines_tenant", LOG, ["tenant", "seq"])
    op.create_index("ix_audit_lines_object", LOG, ["object", "seq"])
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

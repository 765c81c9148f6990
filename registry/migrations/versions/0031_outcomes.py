"""Outcomes: what was found in answers, what clients say of them, and what judges do.

Revision ID: 0031
Revises: 0030
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

OUTCOMES = "outcomes"
SAID = (
    "id, tenant, source, at_ms, adapter_id, request_id, split_id, arm, unit_hash, metric, kind, value, key_digest, "
    "content_digest"
)
"""All columns but what is sealed: that is written anew with a newer key."""


def upgrade() -> None:
    op.create_table(
        OUTCOMES,
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        _tenant(),
        sa.Column("source", sa.String(10), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("adapter_id", sa.BigInteger(), nullable=True),
        sa.Column("request_id", sa.String(64), nullable=True),
        sa.Column("split_id", sa.BigInteger(), nullable=True),
        sa.Column("arm", sa.String(20), nullable=True),
        sa.Column("unit_hash", sa.String(32), nullable=True),
        sa.Column("metric", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(7), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("words", sa.LargeBinary(), nullable=True),
        sa.Column("key_digest", sa.String(32), nullable=True),
        sa.Column("content_digest", sa.String(32), nullable=True),
    )
    op.create_index("ux_outcomes_tenant_key", OUTCOMES, ["tenant", "key_digest"], unique=True)
    op.create_index("ix_outcomes_tenant_source", OUTCOMES, ["tenant", "source", "id"])
    op.create_index("ix_outcomes_adapter_id", OUTCOMES, ["adapter_id", "id"])
    op.create_index("ix_outcomes_unit_hash", OUTCOMES, ["unit_hash"])
    op.create_index("ix_outcomes_at_ms", OUTCOMES, ["at_ms"])
    op.create_table(
        "outcome_amounts",
        _tenant(primary_key=True),
        sa.Column("source", sa.String(10), primary_key=True),
        sa.Column("outcomes", sa.BigInteger(), nullable=False),
    )
    _never_changed()


def _tenant(**options: bool) -> sa.Column[str]:
    key = sa.ForeignKey("tenants.name", ondelete="CASCADE")
    return sa.Column("tenant", sa.String(63), key, nullable=False, **options)


def _never_changed() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {OUTCOMES}_no_update BEFORE UPDATE OF {SAID} ON {OUTCOMES} "
            f"BEGIN SELECT RAISE(ABORT, '{OUTCOMES} are never changed'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {OUTCOMES}_no_update() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{OUTCOMES} are never changed'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {OUTCOMES}_no_update BEFORE UPDATE OF {SAID} ON {OUTCOMES} "
        f"FOR EACH ROW EXECUTE FUNCTION {OUTCOMES}_no_update()"
    )


def downgrade() -> None:
    op.drop_table("outcome_amounts")
    op.drop_table(OUTCOMES)
    if op.get_bind().dialect.name != "sqlite":
        op.execute(f"DROP FUNCTION {OUTCOMES}_no_update()")

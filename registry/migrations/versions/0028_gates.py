"""Gates of adapters, and certificates of evaluations.

Revision ID: 0028
Revises: 0027
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

CERTIFICATES = "certificates"
DIGEST = sa.String(80)
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "gates",
        _adapter(),
        sa.Column("alias", sa.String(63), nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("set_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("adapter_id", "alias", name="pk_gates"),
    )
    op.create_table(
        CERTIFICATES,
        sa.Column("id", ID, primary_key=True),
        sa.Column("digest", DIGEST, nullable=False),
        _adapter(),
        sa.Column("candidate_digest", DIGEST, nullable=False),
        sa.Column("incumbent_digest", DIGEST, nullable=True),
        sa.Column("gate_digest", DIGEST, nullable=True),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("made_at_ms", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("digest", name="uq_certificates_digest"),
    )
    op.create_index("ix_certificates_candidate_digest", CERTIFICATES, ["candidate_digest"])
    _append_only()


def _adapter() -> sa.Column[int]:
    return sa.Column("adapter_id", ID, sa.ForeignKey("adapters.id"), nullable=False)


def _append_only() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {CERTIFICATES}_no_{verb.lower()} BEFORE {verb} ON {CERTIFICATES} "
                f"BEGIN SELECT RAISE(ABORT, '{CERTIFICATES} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {CERTIFICATES}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{CERTIFICATES} is append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {CERTIFICATES}_append_only BEFORE UPDATE OR DELETE ON {CERTIFICATES} "
        f"FOR EACH ROW EXECUTE FUNCTION {CERTIFICATES}_append_only()"
    )


def downgrade() -> None:
    op.drop_table(CERTIFICATES)
    if op.get_bind().dialect.name != "sqlite":
        op.execute(f"DROP FUNCTION {CERTIFICATES}_append_only()")
    op.drop_table("gates")

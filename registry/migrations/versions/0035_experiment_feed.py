"""Attempts of experiments are noted for whoever takes them in.

Revision ID: 0035
Revises: 0034
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

FEED, TRIGGER = "experiment_feed", "usage_feeds_experiments"
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NOTE = f"""
    INSERT INTO {FEED} (experiment_id, attempt_id)
    SELECT s.experiment_id, NEW.attempt_id FROM splits s
    WHERE s.id = NEW.split_id AND s.experiment_id IS NOT NULL;
"""
OF_SPLITS = "NEW.split_id IS NOT NULL AND NEW.unit_hash IS NOT NULL AND NEW.shadow IS NOT TRUE"
WAITING, TAKEN = sa.text("unit_hash IS NULL"), sa.text("unit_hash IS NOT NULL")
UNFOLDED = sa.text("folded_seq IS NULL")


def upgrade() -> None:
    op.create_table(
        FEED,
        sa.Column("id", ID, primary_key=True),
        sa.Column("experiment_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt_id", sa.String(64), nullable=False),
        sa.Column("unit_hash", sa.String(32), nullable=True),
    )
    for name, column, rows in (("waiting", "id", WAITING), ("taken", "unit_hash", TAKEN)):
        columns = ["experiment_id", column]
        op.create_index(f"ix_experiment_feed_{name}", FEED, columns, sqlite_where=rows, postgresql_where=rows)
    op.create_index(
        "ix_experiment_units_unfolded",
        "experiment_units",
        ["experiment_id", "first_served_at_ms", "unit_hash"],
        sqlite_where=UNFOLDED,
        postgresql_where=UNFOLDED,
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"CREATE TRIGGER {TRIGGER} AFTER INSERT ON usage WHEN {OF_SPLITS} BEGIN {NOTE} END")
        return
    op.execute(f"CREATE FUNCTION {TRIGGER}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {NOTE} RETURN NULL; END $$")
    op.execute(
        f"CREATE TRIGGER {TRIGGER} AFTER INSERT ON usage FOR EACH ROW WHEN ({OF_SPLITS}) EXECUTE FUNCTION {TRIGGER}()"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"DROP TRIGGER {TRIGGER}")
    else:
        op.execute(f"DROP FUNCTION {TRIGGER}() CASCADE")
    op.drop_index("ix_experiment_units_unfolded", "experiment_units")
    op.drop_table(FEED)

"""A price may take the place of one that has not begun yet, also with the same date.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

UNIQUE = "uq_tariffs_scope_effective_from_ms"


def upgrade() -> None:
    with op.batch_alter_table("tariffs") as batch:
        batch.drop_constraint(UNIQUE, type_="unique")
        batch.create_index("ix_tariffs_scope", ["scope"])
    _append_only_again()


def downgrade() -> None:
    """Fails if a price was put right with its own date."""
    with op.batch_alter_table("tariffs") as batch:
        batch.drop_index("ix_tariffs_scope")
        batch.create_unique_constraint(UNIQUE, ["scope", "effective_from_ms"])
    _append_only_again()


def _append_only_again() -> None:
    """SQLite has made a new table, and the triggers went with the old one."""
    if op.get_bind().dialect.name != "sqlite":
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER tariffs_no_{verb.lower()} BEFORE {verb} ON tariffs "
            "BEGIN SELECT RAISE(ABORT, 'tariffs is append-only'); END"
        )

"""The database itself allows one split that runs, and one swap that is not finished, of an alias.

Revision ID: 0020
Revises: 0019
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

ENDS = {"splits": "ended_at_ms", "swaps": "finished_at_ms"}


def upgrade() -> None:
    # Transactions that did not see each other may have begun several. The newest split is the one in force, and the
    # oldest swap the one that was asked for first.
    op.execute(f"UPDATE splits SET ended_at_ms = started_at_ms WHERE {_has_another('splits', 'ended_at_ms', '>')}")
    op.execute(
        "UPDATE swaps SET state = 'failed', finished_at_ms = requested_at_ms "
        f"WHERE {_has_another('swaps', 'finished_at_ms', '<')}"
    )
    for table, ends in ENDS.items():
        unfinished = sa.text(f"{ends} IS NULL")
        op.create_index(
            f"uq_{table}_running",
            table,
            ["adapter_id", "alias"],
            unique=True,
            sqlite_where=unfinished,
            postgresql_where=unfinished,
        )


def _has_another(table: str, ends: str, later: str) -> str:
    """It has not ended, and there is another such row of its alias with an id that is `later`."""
    return (
        f"{ends} IS NULL AND EXISTS (SELECT 1 FROM {table} other WHERE other.adapter_id = {table}.adapter_id "
        f"AND other.alias = {table}.alias AND other.{ends} IS NULL AND other.id {later} {table}.id)"
    )


def downgrade() -> None:
    for table in ENDS:
        op.drop_index(f"uq_{table}_running", table)

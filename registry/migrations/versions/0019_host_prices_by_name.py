"""Several kinds of hosts may have prices from the same date.

Revision ID: 0019
Revises: 0018
"""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

BY_DATE = "uq_host_prices_effective_from_ms"
BY_NAME = "uq_host_prices_name_effective_from_ms"


def upgrade() -> None:
    with op.batch_alter_table("host_prices") as batch:
        batch.drop_constraint(BY_DATE, type_="unique")
        batch.create_unique_constraint(BY_NAME, ["name", "effective_from_ms"])
    _append_only_again()


def downgrade() -> None:
    """Fails if two kinds have prices from the same date."""
    with op.batch_alter_table("host_prices") as batch:
        batch.drop_constraint(BY_NAME, type_="unique")
        batch.create_unique_constraint(BY_DATE, ["effective_from_ms"])
    _append_only_again()


def _append_only_again() -> None:
    """SQLite has made a new table, and the triggers went with the old one."""
    if op.get_bind().dialect.name != "sqlite":
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER host_prices_no_{verb.lower()} BEFORE {verb} ON host_prices "
            "BEGIN SELECT RAISE(ABORT, 'host_prices is append-only'); END"
        )

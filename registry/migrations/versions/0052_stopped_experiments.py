"""Experiments that a person stopped are `stopped`: until now `rolled_back`, and with `--keep` `inconclusive`.

The log stays as it was written.

Revision ID: 0052
Revises: 0051
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None

LAST_END = (
    "(SELECT kind FROM experiment_decisions WHERE experiment_id = experiments.id AND kind IN ('rollback', 'stop') "
    "ORDER BY seq DESC LIMIT 1)"
)


def upgrade() -> None:
    op.execute(
        "UPDATE experiments SET state = 'stopped' WHERE ended_at_ms IS NOT NULL AND "
        f"(state = 'inconclusive' OR state = 'rolled_back' AND {LAST_END} = 'stop')"
    )
    _stops_under_way("rolled_back", "stopped")


def downgrade() -> None:
    op.execute("UPDATE experiments SET state = 'rolled_back' WHERE state = 'stopped'")
    _stops_under_way("stopped", "rolled_back")


def _stops_under_way(before: str, after: str) -> None:
    """What the flip of a swap that still runs will make of its experiment."""
    swaps = sa.table(
        "swaps", sa.column("id", sa.BigInteger()), sa.column("detail", sa.JSON()), sa.column("finished_at_ms")
    )
    connection = op.get_bind()
    for swap_id, detail in connection.execute(
        sa.select(swaps.c.id, swaps.c.detail).where(swaps.c.finished_at_ms.is_(None))
    ).all():
        ordered = detail.get("experiment")
        if ordered is not None and (ordered["kind"], ordered["to_state"]) == ("stop", before):
            changed = {**detail, "experiment": {**ordered, "to_state": after}}
            connection.execute(sa.update(swaps).where(swaps.c.id == swap_id).values(detail=changed))

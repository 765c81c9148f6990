"""Each load of an adapter has a begin and an end, and busy time knows what of it was a load's, or of the day before.

Loads that were known by day alone are put at the day's begin, one after the other. Days that are over keep the figures
that bills were made with: all of the loads' time was taken for theirs.

Revision ID: 0049
Revises: 0048
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None

DAYS, LOADS, BUSY = "engine_load_days", "engine_loads", "engine_busy_days"
ADDED = ("load_ms", "carried_ms", "loads")
DAY_MS = 86_400_000
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        LOADS,
        sa.Column("id", ID, nullable=False),
        sa.Column("engine_id", sa.String(length=200), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("served_model", sa.String(length=200), nullable=False),
        sa.Column("began_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_engine_loads")),
    )
    op.create_index("ix_engine_loads_ended_at_ms", LOADS, ["ended_at_ms"])
    op.create_index("ix_engine_loads_engine", LOADS, ["engine_id", "served_model", "ended_at_ms"])
    for name in ADDED:
        op.add_column(BUSY, sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    _move_loads()
    op.drop_table(DAYS)


def _move_loads() -> None:
    connection = op.get_bind()
    query = f"SELECT day, engine_id, tenant, served_model, load_ms FROM {DAYS} ORDER BY day, engine_id, 3, 4"
    loads = sa.table(LOADS, *map(sa.column, ("engine_id", "tenant", "served_model", "began_at_ms", "ended_at_ms")))
    taken: dict[tuple[int, str], list[int]] = {}
    """Milliseconds and loads by day and engine."""
    for day, engine, tenant, model, load_ms in connection.execute(sa.text(query)).all():
        of = taken.setdefault((day, engine), [0, 0])
        began_ms = day * DAY_MS + of[0]
        of[0], of[1] = min(DAY_MS, of[0] + load_ms), of[1] + 1
        connection.execute(
            loads.insert().values(
                engine_id=engine,
                tenant=tenant,
                served_model=model,
                began_at_ms=min(began_ms, (day + 1) * DAY_MS - 1),
                ended_at_ms=min(began_ms + max(1, load_ms), (day + 1) * DAY_MS),
            )
        )
    busy_ms = "CASE WHEN busy_ms > :ms THEN busy_ms ELSE :ms END"
    update = f"UPDATE {BUSY} SET load_ms = :ms, loads = :loads, busy_ms = {busy_ms}"
    for (day, engine), (ms, count) in taken.items():
        connection.execute(
            sa.text(f"{update} WHERE day = :day AND engine_id = :engine"),
            {"ms": ms, "loads": count, "day": day, "engine": engine},
        )


def downgrade() -> None:
    """When in its day a load was is lost, and so is what of a day's busy time was carried over."""
    op.create_table(
        DAYS,
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("engine_id", sa.String(length=200), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("served_model", sa.String(length=200), nullable=False),
        sa.Column("loads", sa.BigInteger(), nullable=False),
        sa.Column("load_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "engine_id", "tenant", "served_model", name=f"pk_{DAYS}"),
    )
    op.execute(
        f"INSERT INTO {DAYS} SELECT began_at_ms / {DAY_MS}, engine_id, tenant, served_model, count(*), "
        f"sum(ended_at_ms - began_at_ms) FROM {LOADS} GROUP BY 1, 2, 3, 4"
    )
    op.drop_table(LOADS)
    for name in ADDED:
        op.drop_column(BUSY, name)

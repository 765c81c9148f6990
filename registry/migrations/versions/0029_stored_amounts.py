"""How much each tenant has stored of responses and conversations, kept right by triggers; and how much it may have.

Revision ID: 0029
Revises: 0028
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

AMOUNTS = "stored_amounts"
COUNTED = {
    "responses": ("turn", "document"),
    "conversations": ("about",),
    "conversation_items": ("item",),
}
"""Tables, and their columns that are as long as tenants like."""


def upgrade() -> None:
    op.add_column("tenants", sa.Column("max_stored_records", sa.BigInteger(), nullable=True))
    op.add_column("tenants", sa.Column("max_stored_bytes", sa.BigInteger(), nullable=True))
    op.create_table(
        AMOUNTS,
        sa.Column("tenant", sa.String(63), sa.ForeignKey("tenants.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
    )
    rows = " UNION ALL ".join(f"SELECT tenant, {_length(table)} AS length FROM {table}" for table in COUNTED)
    op.execute(f"INSERT INTO {AMOUNTS} SELECT tenant, count(*), sum(length) FROM ({rows}) AS one GROUP BY tenant")
    make = _of_sqlite if op.get_bind().dialect.name == "sqlite" else _of_postgresql
    for table, columns in COUNTED.items():
        make(table, columns)


def _length(table: str, row: str = "") -> str:
    return " + ".join(f"length({row}{column})" for column in COUNTED[table])


def _put(table: str) -> str:
    return (
        f"INSERT INTO {AMOUNTS} VALUES (NEW.tenant, 1, {_length(table, 'NEW.')}) ON CONFLICT (tenant) DO UPDATE "
        f"SET records = {AMOUNTS}.records + 1, bytes = {AMOUNTS}.bytes + excluded.bytes;"
    )


def _taken(table: str) -> str:
    taken = f"records = records - 1, bytes = bytes - ({_length(table, 'OLD.')})"
    return f"UPDATE {AMOUNTS} SET {taken} WHERE tenant = OLD.tenant;"


def _changed(table: str) -> str:
    change = f"bytes + ({_length(table, 'NEW.')}) - ({_length(table, 'OLD.')})"
    return f"UPDATE {AMOUNTS} SET bytes = {change} WHERE tenant = NEW.tenant;"


def _of_sqlite(table: str, columns: tuple[str, ...]) -> None:
    update = f"UPDATE OF {', '.join(columns)}"
    for name, event, body in (
        ("put", "INSERT", _put(table)),
        ("taken", "DELETE", _taken(table)),
        ("changed", update, _changed(table)),
    ):
        op.execute(f"CREATE TRIGGER {table}_{name} AFTER {event} ON {table} BEGIN {body} END")


def _of_postgresql(table: str, columns: tuple[str, ...]) -> None:
    """At the end of a transaction: it has all its other locks then, so that none waits for another in a circle."""
    op.execute(
        f"CREATE FUNCTION {table}_counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'INSERT' THEN {_put(table)} ELSIF TG_OP = 'DELETE' THEN {_taken(table)} "
        f"ELSE {_changed(table)} END IF; RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE CONSTRAINT TRIGGER {table}_counted AFTER INSERT OR DELETE OR UPDATE OF {', '.join(columns)} "
        f"ON {table} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {table}_counted()"
    )


def downgrade() -> None:
    for table in COUNTED:
        if op.get_bind().dialect.name == "sqlite":
            for name in ("put", "taken", "changed"):
                op.execute(f"DROP TRIGGER {table}_{name}")
        else:
            op.execute(f"DROP TRIGGER {table}_counted ON {table}")
            op.execute(f"DROP FUNCTION {table}_counted()")
    op.drop_table(AMOUNTS)
    op.drop_column("tenants", "max_stored_bytes")
    op.drop_column("tenants", "max_stored_records")

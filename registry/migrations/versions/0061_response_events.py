"""Events of streams of background responses, which are counted in what their tenants have stored.

Revision ID: 0061
Revises: 0060
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None

EVENTS = "response_events"
PUT = "UPDATE stored_amounts SET bytes = bytes + length(NEW.events) WHERE tenant = NEW.tenant;"
TAKEN = "UPDATE stored_amounts SET bytes = bytes - length(OLD.events) WHERE tenant = OLD.tenant;"
"""They are no records: a response has as many of these rows as it takes half seconds."""
CHANGED = "UPDATE stored_amounts SET bytes = bytes + length(NEW.events) - length(OLD.events) WHERE tenant = NEW.tenant;"


def upgrade() -> None:
    op.create_table(
        EVENTS,
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("events", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", "first", name=op.f("pk_response_events")),
        sa.ForeignKeyConstraint(
            ["tenant", "id"],
            ["responses.tenant", "responses.id"],
            name=op.f("fk_response_events_tenant_id_responses"),
            ondelete="CASCADE",
        ),
    )
    if op.get_bind().dialect.name == "sqlite":
        for name, event, body in (
            ("put", "INSERT", PUT),
            ("taken", "DELETE", TAKEN),
            ("changed", "UPDATE OF events", CHANGED),
        ):
            op.execute(f"CREATE TRIGGER {EVENTS}_{name} AFTER {event} ON {EVENTS} BEGIN {body} END")
        return
    op.execute(
        f"CREATE FUNCTION {EVENTS}_counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'INSERT' THEN {PUT} ELSIF TG_OP = 'DELETE' THEN {TAKEN} ELSE {CHANGED} END IF; RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE CONSTRAINT TRIGGER {EVENTS}_counted AFTER INSERT OR DELETE OR UPDATE OF events ON {EVENTS} "
        f"DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {EVENTS}_counted()"
    )


def downgrade() -> None:
    stored = f"SELECT coalesce(sum(length(events)), 0) FROM {EVENTS} WHERE {EVENTS}.tenant = stored_amounts.tenant"
    op.execute(f"UPDATE stored_amounts SET bytes = bytes - ({stored})")
    op.drop_table(EVENTS)
    if op.get_bind().dialect.name != "sqlite":
        op.execute(f"DROP FUNCTION {EVENTS}_counted()")

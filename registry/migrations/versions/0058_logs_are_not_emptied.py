"""Tables that are only appended to cannot be emptied or replaced either: PostgreSQL's TRUNCATE fires no trigger of
rows, and SQLite's REPLACE none of deletes.

Revision ID: 0058
Revises: 0057
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0058"
down_revision = "0057"
branch_labels = None
depends_on = None

LOG = "audit_lines"
FUNCTION, NAME = "append_only", "no_truncate"
GUARDED = (
    "SELECT DISTINCT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_proc p ON p.oid = t.tgfoid "
    "WHERE NOT t.tgisinternal AND n.nspname = current_schema() AND p.prosrc LIKE '%append-only%'"
)
"""Tables whose rows a trigger keeps as they are."""


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {LOG}_no_replace BEFORE INSERT ON {LOG} "
            f"WHEN EXISTS (SELECT 1 FROM {LOG} WHERE seq = NEW.seq) "
            f"BEGIN SELECT RAISE(ABORT, '{LOG} is append-only'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table in op.get_bind().execute(sa.text(GUARDED)).scalars().all():
        op.execute(
            f"CREATE TRIGGER {table}_{NAME} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"DROP TRIGGER {LOG}_no_replace")
    else:
        op.execute(f"DROP FUNCTION {FUNCTION}() CASCADE")

"""Alembic's entry: runs on the connection that `Database.migrate` hands over."""

from __future__ import annotations

from alembic import context

from registry.schema import whole_schema

context.configure(
    connection=context.config.attributes["connection"], target_metadata=whole_schema(), render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()

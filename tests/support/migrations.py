"""Migrations up and down to a revision, as alembic's own commands make them."""

from __future__ import annotations

from alembic.config import Config
from sqlalchemy import Connection

from registry.db import MIGRATIONS


def configured(connection: Connection) -> Config:
    """Alembic's configuration for a database, for `alembic.command`."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config

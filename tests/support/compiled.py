"""Statements that SQLAlchemy has compiled for one database serve the others of its kind in this process.

Each registry of a test has a database of its own, whose engine compiles every statement anew. A process that is
no test opens one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Dialect, Engine, create_engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from registry import backends

MOST = 5_000
"""Statements that are kept."""


def _hash(dialect: Dialect) -> int:
    return hash(type(dialect))


def _equals(one: Dialect, other: object) -> bool:
    """Whether what is compiled for one is right for the other: ours are all made in the same way."""
    return type(one) is type(other) and one.server_version_info == getattr(other, "server_version_info", None)


@pytest.fixture(scope="session", autouse=True)
def compiled() -> Iterator[None]:
    """Databases of this process share what is compiled."""
    shared: LRUCache[Any, Any] = LRUCache(MOST)

    def made(*arguments: Any, **options: Any) -> Engine:
        engine = create_engine(*arguments, **options)
        engine._compiled_cache = shared
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "create_engine", made)
        for kind in (SQLiteDialect_pysqlite, PGDialect_psycopg):
            patch.setattr(kind, "__hash__", _hash)
            patch.setattr(kind, "__eq__", _equals)
        yield

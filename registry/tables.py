"""What every table is made of, and the catalog's revision.

Times are integer milliseconds since the epoch (UTC), money is integer nano-dollars.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Index, Integer, MetaData, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

BigId = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only INTEGER primary keys


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, int: BigInteger}  # noqa: RUF012


def partial_index(name: str, *columns: str, while_null: str, unique: bool = False) -> Index:
    """An index over the rows in which one column is NULL.

    Migrations make it partial on every database. Here only SQLite is told: to tell PostgreSQL imports its dialect
    everywhere, a twentieth of what a command costs.
    """
    return Index(name, *columns, unique=unique, sqlite_where=text(f"{while_null} IS NULL"))


def one_at_a_time(name: str, ends: str, *columns: str) -> Index:
    """Of the rows that have not ended, at most one has the same `columns`."""
    return partial_index(name, *columns, while_null=ends, unique=True)


class CatalogRevision(Base):
    """One row. Every transaction that a gateway must learn of adds one to `value`."""

    __tablename__ = "catalog_revision"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    value: Mapped[int]


class CatalogChange(Base):
    """One thing that a revision of the catalog changed; `registry.catalog.changes` writes and drops these rows."""

    __tablename__ = "catalog_changes"
    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    key: Mapped[str] = mapped_column(String(320), primary_key=True)

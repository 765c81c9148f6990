"""What every table is made of, and the catalog's revision.

Times are integer milliseconds since the epoch (UTC), money is integer nano-dollars.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Integer, MetaData, String
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

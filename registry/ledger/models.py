"""What usage rows and their sums call what answered: adapters and splits by the names that people know."""

from __future__ import annotations

from sqlalchemy import ColumnElement, FromClause

from registry.adapters.rows import Adapter
from registry.names import served_version
from registry.splits.rows import Split

ADAPTER_NAME: ColumnElement[str] = Adapter.tenant + "/" + Adapter.name
"""`tenant/adapter`, where rows are joined to it; NULL for a base, and for rows without ids: see `adapter_of`."""


def with_adapter(used: FromClause) -> FromClause:
    """Joined to the adapter that each row or sum is of, if it says so."""
    return used.outerjoin(Adapter, Adapter.id == used.c.adapter_id)


def with_split(used: FromClause) -> FromClause:
    """Joined to the split that chose each row's or sum's version, and to its adapter."""
    return used.outerjoin(Split, Split.id == used.c.split_id).outerjoin(Adapter, Adapter.id == Split.adapter_id)


def adapter_of(named: str | None, served_model: str) -> str | None:
    """`tenant/adapter` of a row: as `named` by its id, else, as rows were before they had ids, by its public name."""
    if named is not None:
        return named
    version = served_version(served_model)
    return None if version is None else version.adapter_name


def model_of(named: str | None, served_model: str) -> str:
    """`tenant/adapter` of a row in the same way, or the base's name."""
    return adapter_of(named, served_model) or served_model

"""What a line of a report is called, by columns of the usage that it adds up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import FromClause, Subquery

from registry.days import date_of
from registry.ledger.models import ADAPTER_NAME, model_of, with_adapter, with_split
from registry.splits.rows import Split

NONE = "(none)"
"""Name of the line of what no split has chosen, and of refusals that came before their model or key was known."""


class Naming(NamedTuple):
    """What a line is called: by columns of the rows, from which `name` makes it."""

    rows: FromClause
    columns: tuple[Any, ...]
    name: Callable[..., str]


def naming(by: str, between: Subquery) -> Naming:
    """Of usage by tenant, adapter, version, key, day, engine, split or arm; base models are adapters and versions of
    their own name.
    """
    used = between.c
    split = (used.split_id, ADAPTER_NAME, Split.alias)
    match by:
        case "adapter":
            return Naming(with_adapter(between), (ADAPTER_NAME, used.served_model), model_of)
        case "split":
            return Naming(with_split(between), split, _split_name)
        case "arm":
            return Naming(with_split(between), (*split, used.arm), _split_name)
        case "day":
            return Naming(between, (used.day,), date_of)
        case "engine":
            return Naming(between, (used.engine_id,), str)
    return Naming(between, ({"tenant": used.tenant, "version": used.served_model, "key": used.key_id}[by],), str)


def _split_name(split_id: int, adapter: str | None, alias: str | None, arm: str = "") -> str:
    """`acme/triage@production split 3`, and `: 1.0` for an arm of it; `NONE` for what no split has chosen."""
    if not split_id:
        return NONE
    return ("" if adapter is None else f"{adapter}@{alias} ") + f"split {split_id}" + (f": {arm}" if arm else "")

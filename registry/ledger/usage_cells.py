"""Usage of a window in cells: what one line of a cost report has of one tenant while no price changes, and, where it is
asked for, of one UTC day and engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

from sqlalchemy import BindParameter, and_, case, func, literal, select
from sqlalchemy.orm import Session

from registry.days import DAY_MS
from registry.db import Database
from registry.errors import InvalidInput
from registry.ledger.line_names import naming
from registry.ledger.usage_days import BILLED, usage_between
from registry.names import SYSTEM

CostBy = Literal["tenant", "adapter", "version", "key", "day", "engine", "arm"]
"""What one line stands for."""
COLUMNS_OF: Mapping[str, tuple[str, ...]] = {
    "tenant": (),
    "adapter": ("adapter_id", "served_model"),
    "version": ("served_model",),
    "key": ("key_id",),
    "day": (),
    "engine": (),
    "arm": ("split_id", "arm"),
}
"""By what lines stand for, the columns of `usage_days` that keep them apart, beside tenant, day and engine."""


class UsageCell(NamedTuple):
    """Attempts of one tenant on one line. Corrections are in it: sums may be negative."""

    at_ms: int
    """The first instant that it may have something of: a price that is in force then is in force for all of it."""
    day: int
    """UTC days since the epoch: that of `at_ms`."""
    engine: str
    """Its id; empty where it is not known, or cells are of all engines."""
    tenant: str
    shadow: bool
    key: tuple[str | int, ...]
    """What lines of this report are kept apart by: values of the columns in `COLUMNS_OF`."""
    name: str
    """Of the line that it is of."""
    requests: int
    """Answered: to the end, or until the client left. What an API would have been asked for."""
    failed: int
    """Ended otherwise: nobody pays for them."""
    unpriced: int
    """Of the answered, those for which no tariff was in force."""
    unsettled: int
    """Of all, those that an engine worked on and of which nobody knows the tokens."""
    prompt_tokens: int
    """Of answered requests, as are the next two and `tariff_nano`."""
    cached_tokens: int
    completion_tokens: int
    tariff_nano: int


def usage_cells(
    db: Database, by: str, since_ms: int, until_ms: int, cuts_ms: Sequence[int] = (), *, daily: bool = False
) -> tuple[UsageCell, ...]:
    """All tenants' cells of `[since_ms, until_ms)`, in an order that depends on nothing else.

    `cuts_ms` are instants at which prices change: there are cells before and after each. `daily`: cells are kept apart
    by UTC day and engine, and begin with their day at the earliest. Raises `InvalidInput` for an unknown `by`.
    """
    if by not in get_args(CostBy):
        raise InvalidInput(f"by is {by[:40]!r}; choose one of {', '.join(get_args(CostBy))}", param="by")
    if since_ms >= until_ms:
        return ()
    apart = daily or by == "day"
    cuts = {at for at in cuts_ms if since_ms < at < until_ms and (at % DAY_MS or not apart)}
    pieces = pairwise(sorted({since_ms, until_ms} | cuts))
    with db.read() as session:
        return tuple(sorted(cell for begin, end in pieces for cell in _between(session, by, begin, end, daily=daily)))


FIGURES = 8


def _between(session: Session, by: str, since_ms: int, until_ms: int, *, daily: bool) -> list[UsageCell]:
    between = usage_between(session, since_ms, until_ms)
    used = between.c
    named = naming(by, between)
    first = literal(since_ms // DAY_MS)
    places = (used.day, used.engine_id) if daily else (used.day if by == "day" else first, literal(""))
    groups = (*places, used.tenant, used.shadow, *(used[name] for name in COLUMNS_OF[by]))
    query = select(*groups, *named.columns, *map(func.sum, _figures(used))).select_from(named.rows)
    query = query.group_by(*(one for one in (*groups, *named.columns) if not isinstance(one, BindParameter)))
    cells = []
    for day, engine, tenant, shadow, *rest in session.execute(query).all():
        key, names, sums = rest[: len(COLUMNS_OF[by])], rest[len(COLUMNS_OF[by]) : -FIGURES], rest[-FIGURES:]
        at_ms = max(since_ms, day * DAY_MS)
        name = named.name(*names)
        cells.append(UsageCell(at_ms, day, engine, tenant, bool(shadow), tuple(key), name, *map(int, sums)))
    return cells


def _figures(used: Any) -> tuple[Any, ...]:
    """As the last fields of a cell."""
    answered = used.outcome.in_(BILLED)

    def only(which: Any, figure: Any) -> Any:
        return case((which, figure), else_=0)

    return (
        only(answered, used.attempts),
        only(~answered, used.attempts),
        only(and_(answered, used.tenant != SYSTEM, used.shadow.is_(False)), used.unpriced),
        used.unmetered,
        *(only(answered, used[name]) for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "cost_nano")),
    )

"""What of usage the bill is divided by: tokens and attempts of a window by UTC day, engine and tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import String, case, func, select

from registry.db import Database
from registry.ledger.usage_days import BILLED, UNTOUCHED, usage_between
from registry.ledger.usage_record import DAY_KEYS, TOKENS

KEYS = tuple(column.name for column in DAY_KEYS)
"""What it can be kept apart by, beside."""
UNKNOWN: dict[str, str | int] = {column.name: "" if isinstance(column.type, String) else 0 for column in DAY_KEYS}
"""What stands for what is not known."""


class EngineUsage(NamedTuple):
    """Attempts on one engine that began on one day, corrections included."""

    day: int
    engine_id: str
    tenant: str
    shadow: bool
    key: tuple[str | int, ...]
    """Values of the columns that were asked for; unknown is 0 or empty."""
    answered: int
    """Attempts that ended well, or that their client left."""
    attempts: int
    """Without those that no engine has worked on."""
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


def usage_by_engine(db: Database, since_ms: int, until_ms: int, keys: Sequence[str] = ()) -> list[EngineUsage]:
    """Of attempts that began in `[since_ms, until_ms)`, in order; `keys` are among `KEYS`."""
    with db.read() as session:
        used = usage_between(session, since_ms, until_ms).c
        groups = (used.day, used.engine_id, used.tenant, used.shadow, *(used[name] for name in keys))
        answered = case((used.outcome.in_(BILLED), used.attempts), else_=0)
        worked = case((used.outcome.in_(UNTOUCHED), 0), else_=used.attempts)
        query = select(*groups, *map(func.sum, (answered, worked, *(used[name] for name in TOKENS))))
        query = query.group_by(*groups).order_by(*groups)
        return [
            EngineUsage(row[0], row[1], row[2], bool(row[3]), tuple(row[4:-5]), *map(int, row[-5:]))
            for row in session.execute(query).all()  # in one go: there may be 100,000
        ]

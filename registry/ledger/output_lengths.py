"""How long answers have been, counted from the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import case, func, or_, select

from registry.db import Database
from registry.ledger.models import ADAPTER_NAME, model_of, with_adapter
from registry.ledger.rows import USAGE
from registry.names import SYSTEM

NEWEST = 2_000
"""Answers of each adapter, and each tenant's use of a base, that are looked at."""
VERSION = "0123456789."
"""What a served model's name ends in; for rows from before they had ids."""


@dataclass(frozen=True, slots=True)
class LengthCount:
    """So many of the newest answers had this many tokens; the longest had `longest` with its prompt."""

    tenant: str
    model: str
    """`tenant/adapter`, or the base's name."""
    tokens: int
    answers: int
    longest: int


def count_lengths(
    db: Database, endpoints: Collection[str], since_ms: int, newest: int = NEWEST
) -> Iterator[LengthCount]:
    """Lengths of the `newest` whole answers to requests for one answer, by tenant and model, at these endpoints
    since an instant.

    Not those for several answers, whose sum only is known, and none that their clients have bounded: these say little
    about how long an answer becomes that is let alone. One pass over the rows since then: about 1.3 s for a million on
    two slow cores in SQLite, and no database holds the interpreter meanwhile.
    """
    row = USAGE.c
    without_id = case((row.adapter_id.is_(None), func.rtrim(row.served_model, VERSION)), else_="")
    place = func.row_number().over(
        partition_by=(row.tenant, row.adapter_id, without_id), order_by=(row.started_at_ms.desc(), row.attempt_id)
    )
    ranked = (
        select(
            row.tenant,
            row.adapter_id,
            row.served_model,
            row.completion_tokens,
            (func.coalesce(row.prompt_tokens, 0) + row.completion_tokens).label("whole"),
            place.label("place"),
        )
        .where(
            row.started_at_ms >= since_ms,
            row.endpoint.in_(endpoints),
            row.outcome == "ok",
            row.usage_source == "engine",
            row.completion_tokens.is_not(None),
            row.bounded_by_us.is_not(False),
            or_(row.n.is_(None), row.n == 1),
            row.tenant != SYSTEM,
            row.shadow.is_not(True),
        )
        .subquery()
    )
    names = (ranked.c.tenant, ADAPTER_NAME, ranked.c.served_model, ranked.c.completion_tokens)
    query = select(*names, func.count(), func.max(ranked.c.whole)).select_from(with_adapter(ranked))
    query = query.where(ranked.c.place <= newest).group_by(*names)
    with db.read() as session:
        for tenant, named, served_model, *figures in session.execute(query.execution_options(yield_per=1000)):
            yield LengthCount(tenant, model_of(named, served_model), *figures)

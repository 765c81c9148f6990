"""The tariff: what tokens cost the tenants. Integer nano-dollars per million tokens, dated, never edited.

A price is for a base, for all of a tenant, or for one adapter; the most particular one that is in force counts. Of one
scope, a price takes the place of all that were added before it and would begin no earlier: so one that has not begun
yet can still be put right, and what was charged never becomes wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import func, select

from registry.db import Database, now_ms
from registry.errors import Conflict, InvalidInput
from registry.limits.scopes import ADAPTER, BASE, TENANT, require_scope
from registry.money import dollars_to_nano
from registry.prices.rows import Tariff

KINDS = (BASE, TENANT, ADAPTER)
State = Literal["over", "in force", "to come", "replaced"]


@dataclass(frozen=True, slots=True)
class TariffInfo:
    """A price in nano-dollars per million tokens, in force from `effective_from_ms` to the next one of its scope."""

    id: int
    """Counts up as prices are added."""
    scope: str
    effective_from_ms: int
    input_nano_per_mtok: int
    cached_input_nano_per_mtok: int
    output_nano_per_mtok: int
    source: str
    added_at_ms: int
    state: State
    """At the time of asking; one that is `replaced` never begins."""
    replaces: tuple[TariffInfo, ...] = ()
    """Of one that was just added: those that were to begin and never will, because of it."""


class Tariffs:
    """Every price that ever held, and those to come."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(
        self,
        scope: str,
        *,
        input_dollars: str,
        output_dollars: str,
        cached_dollars: str | None = None,
        effective_from_ms: int | None = None,
        source: str,
    ) -> TariffInfo:
        """Add a price, in decimal dollars per million tokens; cached input costs as much as input unless said, and it
        holds from now on unless a date is given.

        While none has begun, it may be dated back; afterwards a price begins now or later, so that nothing which was
        charged becomes wrong. Raises `InvalidInput`, `NotFound` or `Conflict`.
        """
        if not source.strip():
            raise InvalidInput("source is empty; say where the figure is from", param="source")
        added_at_ms = now_ms()
        if effective_from_ms is None:
            effective_from_ms = added_at_ms
        row = Tariff(
            scope=scope,
            effective_from_ms=effective_from_ms,
            input_nano_per_mtok=dollars_to_nano(input_dollars, "input"),
            cached_input_nano_per_mtok=dollars_to_nano(
                input_dollars if cached_dollars is None else cached_dollars, "cached_input"
            ),
            output_nano_per_mtok=dollars_to_nano(output_dollars, "output"),
            source=source[:500],
            added_at_ms=added_at_ms,
        )
        with self._db.write() as session:
            require_scope(session, scope, KINDS, lock=True)
            first = session.scalar(select(func.min(Tariff.effective_from_ms)).where(Tariff.scope == scope))
            if first is not None and first <= added_at_ms and effective_from_ms < added_at_ms:
                raise Conflict(
                    f"{scope} has a price, and what was used since is charged; the next one begins now or later",
                    param="effective_from",
                )
            before = session.scalars(select(Tariff).where(Tariff.scope == scope).order_by(Tariff.id.desc())).all()
            replaced = tuple(
                _info(one, "replaced")
                for one, state in _newest_first_with_states(before)
                if state == "to come" and one.effective_from_ms >= effective_from_ms
            )
            session.add(row)
            session.flush()
            info = _info(row, "in force" if effective_from_ms <= added_at_ms else "to come")
            return replace(info, replaces=replaced)

    def all(self, scope: str | None = None) -> list[TariffInfo]:
        """Prices of one scope or of all, by scope, in the order in which they were added.

        Raises `InvalidInput` or `NotFound` for a scope that there is not.
        """
        query = select(Tariff).order_by(Tariff.scope, Tariff.id)
        if scope is not None:
            query = query.where(Tariff.scope == scope)
        with self._db.read() as session:
            if scope is not None:
                require_scope(session, scope, KINDS)
            rows = session.scalars(query).all()
        infos = [_info(row, state) for row, state in _newest_first_with_states(reversed(rows))]
        infos.reverse()
        return infos


def _newest_first_with_states(rows: Iterable[Tariff]) -> Iterator[tuple[Tariff, State]]:
    """Of rows, the newest of each scope first."""
    at_ms = now_ms()
    begins_ms: dict[str, int] = {}
    """By scope, when the earliest of those begins that were looked at."""
    for row in rows:
        following_ms = begins_ms.get(row.scope)
        if following_ms is not None and following_ms <= row.effective_from_ms:
            yield row, "replaced"
            continue
        begins_ms[row.scope] = row.effective_from_ms
        if row.effective_from_ms > at_ms:
            yield row, "to come"
        else:
            yield row, "over" if following_ms is not None and following_ms <= at_ms else "in force"


def _info(row: Tariff, state: State) -> TariffInfo:
    return TariffInfo(
        row.id,
        row.scope,
        row.effective_from_ms,
        row.input_nano_per_mtok,
        row.cached_input_nano_per_mtok,
        row.output_nano_per_mtok,
        row.source,
        row.added_at_ms,
        state,
    )

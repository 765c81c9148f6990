"""The tariff: what tokens cost the tenants. Integer nano-dollars per million tokens, dated, never edited.

A price is for a base, for all of a tenant, or for one adapter; the most particular one that is in force counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from registry.db import Database, now_ms
from registry.errors import Conflict, InvalidInput
from registry.ledger import dollars_to_nano
from registry.models import Tariff
from registry.scopes import ADAPTER, BASE, TENANT, require_scope

KINDS = (BASE, TENANT, ADAPTER)


@dataclass(frozen=True, slots=True)
class TariffInfo:
    """A price in nano-dollars per million tokens, in force from `effective_from_ms` to the next one of its scope."""

    scope: str
    effective_from_ms: int
    input_nano_per_mtok: int
    cached_input_nano_per_mtok: int
    output_nano_per_mtok: int
    source: str
    added_at_ms: int


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

        The first price of a scope may be dated back; a later one begins after the one before it and not in the past,
        so that nothing which was charged becomes wrong. Raises `InvalidInput`, `NotFound` or `Conflict`.
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
            cached_input_nano_per_mtok=dollars_to_nano(cached_dollars or input_dollars, "cached_input"),
            output_nano_per_mtok=dollars_to_nano(output_dollars, "output"),
            source=source[:500],
            added_at_ms=added_at_ms,
        )
        with self._db.write() as session:
            require_scope(session, scope, KINDS)
            newest = session.scalar(select(func.max(Tariff.effective_from_ms)).where(Tariff.scope == scope))
            if newest is not None and effective_from_ms <= newest:
                raise Conflict(
                    f"{scope} has a price that begins no earlier; prices are not edited, add one with a later date",
                    param="effective_from",
                )
            if newest is not None and effective_from_ms < added_at_ms:
                raise Conflict(
                    f"{scope} has a price, and what was used since is charged; the next one begins now or later",
                    param="effective_from",
                )
            session.add(row)
            return _info(row)

    def all(self, scope: str | None = None) -> list[TariffInfo]:
        """Prices of one scope or of all, by scope, the oldest first."""
        query = select(Tariff).order_by(Tariff.scope, Tariff.effective_from_ms)
        if scope is not None:
            query = query.where(Tariff.scope == scope)
        with self._db.read() as session:
            return [_info(row) for row in session.scalars(query)]


def _info(row: Tariff) -> TariffInfo:
    return TariffInfo(
        row.scope,
        row.effective_from_ms,
        row.input_nano_per_mtok,
        row.cached_input_nano_per_mtok,
        row.output_nano_per_mtok,
        row.source,
        row.added_at_ms,
    )

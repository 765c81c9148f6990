"""Units that are in experiments: noted when they are first served, valued when they are mature, gone with age."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, cast

from sqlalchemy import Table, bindparam, delete, func, select, tuple_, update

from registry.db import Database, now_ms
from registry.experiments.rows import Experiment, ExperimentUnit
from registry.upsert import upsert

TABLE = cast("Table", ExperimentUnit.__table__)
MOST_AT_ONCE = 5_000
"""Units of one page, and rows of one sweep."""
_ROW = ExperimentUnit


class Mark(NamedTuple):
    """A place in the order in which units mature."""

    first_served_at_ms: int
    unit_hash: str


@dataclass(frozen=True, slots=True)
class Exposure:
    """A unit at its first served byte."""

    unit_hash: str
    """As usage rows have it."""
    arm: str
    """That it was assigned."""
    propensity: float
    unit_source: str
    first_served_at_ms: int
    served_arm: str
    """What answered; another arm than `arm` is a fallback."""


@dataclass(frozen=True, slots=True)
class UnitInfo:
    """A unit in an experiment."""

    exposure: Exposure
    metrics: Mapping[str, Any] | None
    """Metric → value; `None` until it is mature, and for ever if it came too late."""
    valued_at_ms: int | None
    censored_at_ms: int | None
    """When it was moved to another arm: what it did from then on counts for none."""

    @property
    def mark(self) -> Mark:
        """Its place in the order."""
        return Mark(self.exposure.first_served_at_ms, self.exposure.unit_hash)


class ExperimentUnits:
    """The units of all experiments."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def expose(self, experiment_id: int, exposures: Sequence[Exposure]) -> int:
        """Note units that were served; one that is known stays as it was first noted. How many were new."""
        rows = [{"experiment_id": experiment_id, **asdict(one)} for one in exposures]
        with self._db.write() as session:
            return upsert(session, _ROW, rows)

    def censor(self, experiment_id: int, since_ms: Mapping[str, int]) -> None:
        """Unit's hash → when it was moved to another arm; the earliest stays."""
        mine = update(TABLE).where(
            TABLE.c.experiment_id == experiment_id,
            TABLE.c.unit_hash == bindparam("unit"),
            TABLE.c.censored_at_ms.is_(None) | (TABLE.c.censored_at_ms > bindparam("at")),
        )
        self._write(mine.values(censored_at_ms=bindparam("at")), ({"unit": u, "at": ms} for u, ms in since_ms.items()))

    def value(self, experiment_id: int, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Unit's hash → its value by metric. What is valued already stays: a unit is analysed once."""
        mine = update(TABLE).where(
            TABLE.c.experiment_id == experiment_id, TABLE.c.unit_hash == bindparam("unit"), TABLE.c.metrics.is_(None)
        )
        rows = ({"unit": unit, "found": dict(found)} for unit, found in values.items())
        self._write(mine.values(metrics=bindparam("found"), valued_at_ms=now_ms()), rows)

    def _write(self, statement: Any, rows: Iterable[Mapping[str, Any]]) -> None:
        listed = list(rows)
        if listed:
            with self._db.write() as session:
                session.connection().execute(statement, listed)

    def page(
        self, experiment_id: int, after: Mark | None, served_before_ms: int | None = None, limit: int = MOST_AT_ONCE
    ) -> list[UnitInfo]:
        """In the order in which they mature, those behind `after`, first served before an instant."""
        query = select(TABLE).where(TABLE.c.experiment_id == experiment_id)
        order = (TABLE.c.first_served_at_ms, TABLE.c.unit_hash)
        if after is not None:
            query = query.where(tuple_(*order) > tuple_(*after))
        if served_before_ms is not None:
            query = query.where(TABLE.c.first_served_at_ms < served_before_ms)
        with self._db.read() as session:
            return [_info(row) for row in session.execute(query.order_by(*order).limit(limit)).mappings()]

    def known(self, experiment_id: int, hashes: Iterable[str]) -> dict[str, UnitInfo]:
        """Those of these units that are noted."""
        query = select(TABLE).where(TABLE.c.experiment_id == experiment_id, TABLE.c.unit_hash.in_(list(hashes)))
        with self._db.read() as session:
            return {row["unit_hash"]: _info(row) for row in session.execute(query).mappings()}

    def count(self, experiment_id: int) -> dict[str, int]:
        """Units by arm. Reads them all: for reports."""
        query = (
            select(TABLE.c.arm, func.count().label("units"))
            .where(TABLE.c.experiment_id == experiment_id)
            .group_by(TABLE.c.arm)
        )
        with self._db.read() as session:
            return {row.arm: row.units for row in session.execute(query)}

    def sweep(self, ended_before_ms: int) -> int:
        """Delete units of experiments that ended before an instant, a bounded number; how many. What was decided on
        them stays in the log.
        """
        ended = select(Experiment.id).where(Experiment.ended_at_ms < ended_before_ms)
        old = select(TABLE.c.experiment_id, TABLE.c.unit_hash).where(TABLE.c.experiment_id.in_(ended))
        with self._db.read() as session:
            keys = [tuple(key) for key in session.execute(old.limit(MOST_AT_ONCE))]
        if keys:
            with self._db.write() as session:
                mine = (TABLE.c.experiment_id == bindparam("of")) & (TABLE.c.unit_hash == bindparam("unit"))
                session.connection().execute(delete(TABLE).where(mine), [{"of": of, "unit": unit} for of, unit in keys])
        return len(keys)


def _info(row: Mapping[Any, Any]) -> UnitInfo:
    exposure = Exposure(**{name: row[name] for name in Exposure.__dataclass_fields__})
    return UnitInfo(exposure, row["metrics"], row["valued_at_ms"], row["censored_at_ms"])

"""Units that are in experiments: read by whoever goes on with their analysis, gone with age."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from sqlalchemy import Table, bindparam, delete, func, select
from sqlalchemy.orm import Session

from registry.db import Database
from registry.experiments.rows import Experiment, ExperimentUnit

TABLE = cast("Table", ExperimentUnit.__table__)
MOST_AT_ONCE = 5_000
"""Rows of one sweep."""
MOST_NAMED = 500
"""Values that one statement names."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class UnitState:
    """A unit as it is known. Numbers are its place in the order of exposures, first failures, values, and verdicts."""

    unit_hash: str
    """As usage rows have it."""
    arm: str
    """That it was assigned when it met one first; that another served it instead changes nothing of it."""
    propensity: float
    unit_source: str
    split_id: int
    """By whose weights it was assigned."""
    first_served_at_ms: int
    served_arm: str
    """What answered; another arm than `arm` is a fallback."""
    exposed_seq: int
    failed_seq: int | None = None
    failed_arm: str | None = None
    failed_split_id: int | None = None
    censored_at_ms: int | None = None
    """When it was moved to another arm: what it did from then on counts for none."""
    folded_seq: int | None = None
    judged_seq: int | None = None
    judged: str | None = None
    """Whom a judge preferred with the candidate's answer first, and with the control's: two words."""

    @property
    def fallback(self) -> bool:
        """Whether another arm than its own has answered it."""
        return self.served_arm != self.arm


def state_of(row: ExperimentUnit) -> UnitState:
    """A row without its values."""
    return UnitState(**{name: getattr(row, name) for name in UnitState.__dataclass_fields__})


def units_of(session: Session, experiment_id: int, hashes: Collection[str]) -> dict[str, UnitState]:
    """Those of the units that are known already, by hash."""
    found: dict[str, UnitState] = {}
    for part in in_parts(sorted(set(hashes))):
        rows = select(ExperimentUnit).where(
            ExperimentUnit.experiment_id == experiment_id, ExperimentUnit.unit_hash.in_(part)
        )
        found |= {row.unit_hash: state_of(row) for row in session.scalars(rows)}
    return found


def in_parts(values: Sequence[T]) -> list[Sequence[T]]:
    """As one statement may name them."""
    return [values[at : at + MOST_NAMED] for at in range(0, len(values), MOST_NAMED)]


class ExperimentUnits:
    """The units of all experiments."""

    def __init__(self, db: Database) -> None:
        self._db = db

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

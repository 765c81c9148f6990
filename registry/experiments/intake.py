"""Attempts become units: each is exposed once, by the arm that it met first. Pure, and the rows that come of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import bindparam, insert, update
from sqlalchemy.orm import Session

from registry.experiments.failing import Tallies
from registry.experiments.feed import Fed
from registry.experiments.units import TABLE, UnitState

CHANGING = ("served_arm", "failed_seq", "failed_arm", "failed_split_id", "censored_at_ms")
"""Columns of a unit that later attempts may change."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What was taken in of one arm so far."""

    attempts: int = 0
    failed_attempts: int = 0
    cost_nano: int = 0
    units: int = 0
    failed_units: int = 0
    fallbacks: int = 0
    """Units that another arm has answered in its place."""
    moved: int = 0
    """Units that a change of weights has taken away from it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of some attempts: units that are new or changed, and the counts after them."""

    new: tuple[UnitState, ...]
    changed: tuple[UnitState, ...]
    counts: Mapping[str, Counts]


class Intake:
    """Takes in attempts in their order. Mutable."""

    def __init__(
        self,
        known: Mapping[str, UnitState],
        counts: Mapping[str, Counts],
        *,
        exposed: int,
        failed: int,
        most_units: int,
        windows: Tallies | None = None,
    ) -> None:
        """`known` has the units that attempts will be of, as far as there are such; `exposed` and `failed` are the last
        numbers that were given. Beyond `most_units` nobody new is in the experiment. `windows` counts attempts where
        units are windows of time, which do not fail by one failure.
        """
        self._known = known
        self._units = dict(known)
        self._counts = dict(counts)
        self._exposed = exposed
        self._failed = failed
        self._most_units = most_units
        self._windows = windows

    def take(self, fed: Iterable[Fed]) -> Taken:
        """These attempts. A unit keeps the arm and the propensity of its first one with a byte or a failure; from its
        first one by another arm on it is censored.
        """
        for one in fed:
            self._count(one.arm, attempts=1, failed_attempts=int(one.failed), cost_nano=one.cost_nano or 0)
            before = self._units.get(one.unit_hash)
            after = self._go_on(before, one) if before is not None else self._expose(one)
            if after is not None:
                self._units[one.unit_hash] = self._fail(after, one)
        known = self._known
        new = [unit for name, unit in self._units.items() if name not in known]
        changed = [unit for name, unit in self._units.items() if name in known and unit != known[name]]
        return Taken(tuple(new), tuple(changed), self._counts)

    def _expose(self, one: Fed) -> UnitState | None:
        if not one.exposes or self._exposed >= self._most_units:
            return None
        self._exposed += 1
        unit = UnitState(
            one.unit_hash,
            one.arm,
            one.propensity,
            one.unit_source,
            one.split_id,
            one.served_at_ms,
            one.served_arm,
            self._exposed,
        )
        self._count(one.arm, units=1, fallbacks=int(unit.fallback))
        return unit

    def _go_on(self, unit: UnitState, one: Fed) -> UnitState:
        if one.arm != unit.arm:
            self._count(unit.arm, moved=int(unit.censored_at_ms is None))
            return replace(unit, censored_at_ms=min(unit.censored_at_ms or one.started_at_ms, one.started_at_ms))
        if one.served_arm == one.arm or unit.fallback:
            return unit
        self._count(unit.arm, fallbacks=1)
        return replace(unit, served_arm=one.served_arm)

    def _fail(self, unit: UnitState, one: Fed) -> UnitState:
        if unit.failed_seq is not None or not self._has_failed(one):
            return unit
        self._failed += 1
        self._count(one.arm, failed_units=1)
        return replace(unit, failed_seq=self._failed, failed_arm=one.arm, failed_split_id=one.split_id)

    def _has_failed(self, one: Fed) -> bool:
        return one.failed if self._windows is None else self._windows.fails(one)

    def _count(self, arm: str, **by: int) -> None:
        counts = self._counts.get(arm, Counts())
        self._counts[arm] = replace(counts, **{name: getattr(counts, name) + number for name, number in by.items()})


def store(session: Session, experiment_id: int, taken: Taken) -> None:
    """Write what came of attempts, in the transaction that forgets their notes."""
    connection = session.connection()
    if taken.new:
        rows = [{"experiment_id": experiment_id, **asdict(unit)} for unit in taken.new]
        connection.execute(insert(TABLE), rows)
    if taken.changed:
        mine = (TABLE.c.experiment_id == experiment_id) & (TABLE.c.unit_hash == bindparam("of"))
        statement = update(TABLE).where(mine).values({name: bindparam(f"new_{name}") for name in CHANGING})
        changed = [
            {"of": one.unit_hash, **{f"new_{name}": getattr(one, name) for name in CHANGING}} for one in taken.changed
        ]
        connection.execute(statement, changed)


def document(counts: Mapping[str, Counts]) -> dict[str, Any]:
    """Counts, ready for JSON."""
    return {arm: asdict(one) for arm, one in counts.items()}


def counts_of(written: Mapping[str, Mapping[str, int]]) -> dict[str, Counts]:
    """What `document` made."""
    return {arm: Counts(**one) for arm, one in written.items()}

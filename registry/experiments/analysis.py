"""What the analysis of an experiment reads and writes: increments, each in one transaction with where it stands then.

Its one writer is the analyst of the fleet's controller, fenced by the controller's token: what one that was succeeded
still writes is refused whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Table, func, select, update
from sqlalchemy.orm import Session

from registry.db import Database, now_ms
from registry.errors import Conflict
from registry.experiments.clock_jumps import Jump, began_until
from registry.experiments.feed import Fed, done_with, forget, taken_in, waiting, waiting_since
from registry.experiments.finding import experiment_info, find_row
from registry.experiments.infos import ExperimentInfo
from registry.experiments.intake import Taken, store
from registry.experiments.judged import MOST_VERDICTS, Judged, store_judged, verdicts_waiting
from registry.experiments.rows import FEED, Experiment
from registry.experiments.units import UnitState, units_of
from registry.experiments.valuing import mature, store_values, values_of
from registry.experiments.windows import WINDOW
from registry.fleet.leadership import check_fence
from registry.splits.rows import Split

EXPERIMENTS = cast("Table", Experiment.__table__)
MOST_ATTEMPTS, MOST_UNITS = 4_000, 1_000
"""Attempts that are taken in, and units that are valued, in one step."""
MOST_WINDOWS = 5
"""Likewise, where units are windows, each of which has many attempts."""
MOST_FORGOTTEN = 5_000


def most_at_once(info: ExperimentInfo) -> int:
    """Units of an experiment that are valued in one step."""
    return MOST_WINDOWS if info.plan.unit == WINDOW else MOST_UNITS


@dataclass(frozen=True, slots=True)
class Increment:
    """What is new of an experiment since it was looked at last."""

    info: ExperimentInfo
    shares: Mapping[int, Mapping[str, float]]
    """Split id → arm → its share of the units."""
    fed: Sequence[Fed]
    known: Mapping[str, UnitState]
    """The units that these attempts are of, as far as they are known."""
    mature: Sequence[UnitState]
    """Units whose window is over, as they were before these attempts; none while attempts are behind."""
    judged: Sequence[Judged]
    """Verdicts of the plan's judge."""
    at_ms: int

    @property
    def more(self) -> bool:
        """Whether there was more than one step takes."""
        return (
            len(self.fed) == MOST_ATTEMPTS
            or len(self.mature) == most_at_once(self.info)
            or len(self.judged) == MOST_VERDICTS
        )


class AnalysisBooks:
    """Reads and writes for the analyst."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def increment(
        self, experiment_id: int, grace_ms: int, jumps: Sequence[Jump] = (), at_ms: int | None = None
    ) -> Increment:
        """What is new. After its window a unit waits for `grace_ms` more, as usage rows may be on their way.
        `jumps` are those of the clock lately, and `at_ms` what it says now, where somebody else watches it.

        Raises `NotFound`.
        """
        at_ms = now_ms() if at_ms is None else at_ms
        with self._db.read() as session:
            info = experiment_info(session, find_row(session, str(experiment_id)))
            window_ms = info.plan.metric.window_s * 1000
            fed = waiting(session, experiment_id, MOST_ATTEMPTS)
            until_ms = began_until(at_ms, window_ms + grace_ms, jumps)
            most = most_at_once(info)
            units = mature(session, experiment_id, until_ms, most) if len(fed) < MOST_ATTEMPTS else []
            return Increment(
                info,
                shares_of(session, info),
                fed,
                units_of(session, experiment_id, [one.unit_hash for one in fed]),
                units,
                verdicts_waiting(session, info, at_ms),
                at_ms,
            )

    def values(self, increment: Increment, units: Sequence[UnitState]) -> dict[str, dict[str, float]]:
        """Metric → value of each unit by its hash (`registry.experiments.valuing.values_of`)."""
        with self._db.read() as session:
            return values_of(session, increment.info, units, increment.fed)

    def keep(
        self,
        increment: Increment,
        taken: Taken,
        folded: Sequence[Mapping[str, Any]],
        standing: Mapping[str, Any],
        *,
        judged_before: int = 0,
        fence: int | None,
    ) -> None:
        """Write what came of an increment and where the analysis stands after it, all or nothing.

        `folded` is what `store_values` takes, `judged_before` the last place that a verdict has.

        Raises `Conflict` when the controller's term is over, or somebody has
        written since the increment was read.
        """
        before = increment.info
        with self._db.write() as session:
            if fence is not None:
                check_fence(session, fence)
            valued = {str(one["of"]) for one in folded}
            over = {unit.unit_hash for unit in increment.known.values() if unit.folded_seq is not None}
            units = {unit.unit_hash for unit in (*increment.known.values(), *taken.new)}
            nobody = {one.unit_hash for one in increment.fed} - units
            if not taken_in(session, increment.fed, valued | over | nobody):
                raise Conflict("these attempts were taken in by somebody else", param="experiment")
            store(session, before.id, taken)
            store_values(session, before.id, folded, increment.at_ms)
            done_with(session, before.id, valued)
            store_judged(session, before.id, increment.judged, judged_before)
            at = EXPERIMENTS.c.standing_at_ms
            unmoved = at.is_(None) if before.standing_at_ms is None else at == before.standing_at_ms
            news = {
                "standing": dict(standing),
                "standing_at_ms": max(increment.at_ms, (before.standing_at_ms or 0) + 1),
            }
            done = session.connection().execute(
                update(EXPERIMENTS).where(EXPERIMENTS.c.id == before.id, unmoved).values(news)
            )
            if not done.rowcount:
                raise Conflict(f"experiment {before.id} was analysed by somebody else meanwhile", param="experiment")

    def waiting(self, experiment_id: int) -> int:
        """How many attempts nobody has taken in yet."""
        with self._db.read() as session:
            query = select(func.count()).where(FEED.c.experiment_id == experiment_id, FEED.c.unit_hash.is_(None))
            return session.scalars(query).one()

    def waiting_since(self, experiment_id: int) -> int | None:
        """Since when one waits, in milliseconds since the epoch; None: none does."""
        with self._db.read() as session:
            return waiting_since(session, experiment_id)

    def forget_ended(self) -> int:
        """Drop what still comes in of experiments that have ended, a bounded number; how many attempts."""
        ended = select(Experiment.id).where(
            Experiment.ended_at_ms.is_not(None), Experiment.id.in_(select(FEED.c.experiment_id).distinct())
        )
        with self._db.read() as session:
            ids = session.scalars(ended.limit(100)).all()
        if not ids:
            return 0
        with self._db.write() as session:
            return sum(forget(session, experiment_id, MOST_FORGOTTEN) for experiment_id in ids)


def shares_of(session: Session, info: ExperimentInfo) -> dict[int, dict[str, float]]:
    """Split id → arm → its share of the units, of all splits of an experiment."""
    names = {arm.version_id: arm.name for arm in info.arms}
    rows = session.execute(select(Split.id, Split.arms).where(Split.id.in_(info.splits)))
    return {
        split_id: {names[version_id]: weight / sum(one for _, one in arms) for version_id, weight in arms}
        for split_id, arms in rows
    }

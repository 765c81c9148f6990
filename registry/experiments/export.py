"""An experiment with its units and its log as lines of JSON: what `switchyard experiments replay` needs, and no more.

The first line is the experiment, then come its units, then its decisions. Units are known by their hash; nobody's texts
are in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select

from registry.db import Database
from registry.errors import InvalidInput
from registry.experiments.analysis import shares_of
from registry.experiments.finding import experiment_info, find_row
from registry.experiments.infos import DecisionInfo
from registry.experiments.log import decision_info
from registry.experiments.plan import Plan
from registry.experiments.rows import ExperimentDecision, ExperimentUnit
from registry.experiments.units import UnitState, state_of

FORMAT = 1


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """A unit with what it came to; empty until it is valued."""

    state: UnitState
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Exported:
    """An experiment as it was read from its export."""

    name: str
    plan: Plan
    shares: Mapping[int, Mapping[str, float]]
    units: tuple[StoredUnit, ...]
    log: tuple[DecisionInfo, ...]


def _stored(unit: Mapping[str, Any], values: Mapping[str, float]) -> StoredUnit:
    """Raises `TypeError` for places that are no numbers."""
    state = UnitState(**unit)
    for place in (state.exposed_seq, state.failed_seq or 0, state.folded_seq or 0, state.judged_seq or 0):
        if type(place) is not int:
            raise TypeError(f"a unit's place is {place!r}, and no whole number")
    return StoredUnit(state, values)


def export(db: Database, experiment: str) -> Iterator[dict[str, Any]]:
    """The lines of one, as `Experiments.find` finds it. Raises `NotFound`."""
    with db.read() as session:
        row = find_row(session, experiment)
        info = experiment_info(session, row)
        shares = {str(split): dict(arms) for split, arms in shares_of(session, info).items()}
        name = f"{info.adapter}:{info.name}"
        yield {"format": FORMAT, "experiment": name, "id": info.id, "plan": info.plan.document, "shares": shares}
        units = select(ExperimentUnit).where(ExperimentUnit.experiment_id == info.id)
        for unit in session.scalars(units.order_by(ExperimentUnit.exposed_seq).execution_options(yield_per=1_000)):
            yield {"unit": asdict(state_of(unit)), "values": unit.metrics}
        lines = select(ExperimentDecision).where(ExperimentDecision.experiment_id == info.id)
        for line in session.scalars(lines.order_by(ExperimentDecision.seq)):
            yield {"decision": asdict(decision_info(line))}


def read_export(lines: Iterable[str]) -> Exported:
    """What `export` wrote. Raises `InvalidInput` for anything else."""
    try:
        documents = (json.loads(line) for line in lines if line.strip())
        head: dict[str, Any] = next(documents, {})
        if head.get("format") != FORMAT:
            raise InvalidInput(
                "file is no export of an experiment; `switchyard experiments decisions ID --export` writes one",
                param="file",
            )
        units, log = [], []
        for one in documents:
            if "unit" in one:
                units.append(_stored(one["unit"], one["values"] or {}))
            else:
                log.append(DecisionInfo(**one["decision"]))
        shares = {int(split): arms for split, arms in head["shares"].items()}
        return Exported(head["experiment"], Plan.of(head["plan"]), shares, tuple(units), tuple(log))
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"file is no export of an experiment: {error}", param="file") from error

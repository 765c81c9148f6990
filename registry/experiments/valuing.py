"""What units were worth: read once of each, when it is mature, from its usage rows and its outcomes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple, cast

from sqlalchemy import Table, bindparam, func, select, update
from sqlalchemy.orm import Session

from registry.experiments.feed import FAILED, Fed, taken
from registry.experiments.infos import ExperimentInfo
from registry.experiments.metrics import AUTOMATIC, yes_or_no
from registry.experiments.plan import Plan
from registry.experiments.rows import ExperimentUnit
from registry.experiments.units import TABLE, UnitState, in_parts, state_of
from registry.experiments.windows import WINDOW, has_settled
from registry.ledger.rows import USAGE
from registry.money import NANO
from registry.outcomes.rows import Outcome

COUNTED = ("ok", "client_aborted", *FAILED)
"""Outcomes of attempts that say something of the arm: not a client's bad request, nor a gateway that stopped."""
LEAST_TIMES = 20
"""Of a window: with fewer requests one in twenty is none, and its P95 is missing."""
MOST_REQUESTS = 20_000
"""Of windows that are valued together: of more, so many that lie evenly among them stand for all."""
MOST_SAID = 1_000
"""Outcomes of one unit and metric, the first ones: what is said more often than that says nothing new."""
P95 = 0.95
OUTCOMES = cast("Table", Outcome.__table__)


class Served(NamedTuple):
    """One attempt of a unit, as far as values are made of it."""

    unit_hash: str
    request_id: str
    attempt_id: str
    outcome: str
    started_at_ms: int
    finished_at_ms: int | None
    ttft_ms: float | None
    prompt_tokens: int | None
    cached_tokens: int | None
    completion_tokens: int | None
    cost_nano: int | None


class SaidOfUnit(NamedTuple):
    """One outcome of a unit. `kind`: `boolean` or `number`."""

    unit_hash: str
    metric: str
    kind: str
    at_ms: int
    value: float
    request_id: str | None


def mature(session: Session, experiment_id: int, served_until_ms: int, most: int) -> list[UnitState]:
    """Units without a value that were first served until then, the oldest first, at most so many."""
    query = (
        select(ExperimentUnit)
        .where(
            ExperimentUnit.experiment_id == experiment_id,
            ExperimentUnit.folded_seq.is_(None),
            ExperimentUnit.first_served_at_ms <= served_until_ms,
        )
        .order_by(ExperimentUnit.first_served_at_ms, ExperimentUnit.unit_hash)
        .limit(most)
    )
    return [state_of(row) for row in session.scalars(query)]


def values_of(
    session: Session, info: ExperimentInfo, units: Sequence[UnitState], fed: Iterable[Fed]
) -> dict[str, dict[str, float]]:
    """Metric → value of each unit by its hash; a metric of which nothing is known is missing, and never 0. `fed` are
    attempts that are being taken in.

    What counts began, or was said, within the window after the unit's first served byte, and before it was moved. Of a
    unit that is a window of time, what came while it settled does not.
    """
    window_ms = info.plan.metric.window_s * 1000
    windows = info.plan.unit == WINDOW
    most = MOST_REQUESTS if windows else None
    served, said = _attempts(session, info.id, units, fed, most), _outcomes(session, units, info)
    found = {}
    for unit in units:
        until_ms = unit.first_served_at_ms + window_ms
        if unit.censored_at_ms is not None:
            until_ms = min(until_ms, unit.censored_at_ms - 1)
        attempts = [one for one in served[unit.unit_hash] if one.started_at_ms <= until_ms]
        outcomes = [one for one in said[unit.unit_hash] if one.at_ms <= until_ms]
        if windows:
            attempts = [one for one in attempts if _has_settled(info.plan, one.request_id)]
            outcomes = [one for one in outcomes if one.request_id is None or _has_settled(info.plan, one.request_id)]
        found[unit.unit_hash] = {**of_attempts(attempts, quantiles=windows), **of_outcomes(outcomes)}
    return found


def _has_settled(plan: Plan, request_id: str) -> bool:
    return has_settled(request_id, plan.window_ms, 1000 * (plan.settle_s or 0.0))


def of_attempts(attempts: Iterable[Served], *, quantiles: bool = False) -> dict[str, float]:
    """The automatic metrics of a unit: means over its requests, and with `quantiles` P95 of its times. Empty without
    one that counts.
    """
    last: dict[str, Served] = {}
    for one in sorted(attempts, key=lambda one: (one.started_at_ms, one.attempt_id)):
        if one.outcome in COUNTED:
            last[one.request_id] = one  # a request that another engine answered has not failed
    if not last:
        return {}
    requests = list(last.values())
    answered = [one for one in requests if one.outcome not in FAILED]
    values = {"errors": fmean(one.outcome in FAILED for one in requests), "requests": float(len(requests))}
    means: dict[str, list[float]] = {
        "latency_ms": [one.finished_at_ms - one.started_at_ms for one in answered if one.finished_at_ms is not None],
        "ttft_ms": [one.ttft_ms for one in answered if one.ttft_ms is not None],
        "prompt_tokens": [one.prompt_tokens for one in answered if one.prompt_tokens is not None],
        "completion_tokens": [one.completion_tokens for one in answered if one.completion_tokens is not None],
        "cost": [one.cost_nano / NANO for one in answered if one.cost_nano is not None],
    }
    values |= {name: fmean(known) for name, known in means.items() if known}
    if quantiles:
        times = {"latency_p95": means["latency_ms"], "ttft_p95": means["ttft_ms"]}
        values |= {name: _p95(known) for name, known in times.items() if len(known) >= LEAST_TIMES}
    read = sum(one.prompt_tokens or 0 for one in answered)
    if read:
        values["cached_share"] = sum(one.cached_tokens or 0 for one in answered) / read
    return values


def _p95(times: Sequence[float]) -> float:
    """The least time that 95 % of them stay below or at."""
    return float(sorted(times)[math.ceil(P95 * len(times)) - 1])


def of_outcomes(outcomes: Iterable[SaidOfUnit]) -> dict[str, float]:
    """The other metrics of a unit: means of what was found or said. Where all of it was yes or no, `yes_or_no(metric)`
    says so, as a difference is told in points then.
    """
    by_metric = defaultdict[str, list[SaidOfUnit]](list)
    for one in outcomes:
        by_metric[one.metric].append(one)
    values: dict[str, float] = {}
    for metric, said in sorted(by_metric.items()):
        values[metric] = fmean(one.value for one in said)
        if metric not in AUTOMATIC and all(one.kind == "boolean" for one in said):
            values[yes_or_no(metric)] = 1.0
    return values


def _attempts(
    session: Session, experiment_id: int, units: Sequence[UnitState], fed: Iterable[Fed], most: int | None
) -> Mapping[str, list[Served]]:
    columns = [USAGE.c[name] for name in Served._fields]
    hashes = {unit.unit_hash for unit in units}
    attempts = [*taken(session, experiment_id, hashes), *(one.attempt_id for one in fed if one.unit_hash in hashes)]
    if most is not None:
        attempts = thinned(attempts, most)
    found = defaultdict[str, list[Served]](list)
    for part in in_parts(attempts):
        for row in session.execute(select(*columns).where(USAGE.c.attempt_id.in_(part))):
            found[row.unit_hash].append(Served._make(row))
    return found


def thinned(attempts: Sequence[str], most: int) -> list[str]:
    """Those of at most so many requests, evenly among all in the order in which they came; all attempts of each."""
    requests = sorted({one.rpartition("-")[0] for one in attempts})
    kept = set(requests[:: max(1, math.ceil(len(requests) / most))])
    return [one for one in attempts if one.rpartition("-")[0] in kept]


def _outcomes(session: Session, units: Sequence[UnitState], info: ExperimentInfo) -> Mapping[str, list[SaidOfUnit]]:
    """Of the metrics that the plan names, and of each unit the first `MOST_SAID` of each."""
    row = OUTCOMES.c
    metrics = {info.plan.metric.name, *(one.metric for one in info.plan.guardrails)}
    place = func.row_number().over(partition_by=(row.unit_hash, row.metric), order_by=row.id)
    found = defaultdict[str, list[SaidOfUnit]](list)
    for part in in_parts([unit.unit_hash for unit in units]):
        mine = row.unit_hash.in_(part) & row.split_id.in_(info.splits) & row.metric.in_(metrics)
        of_them = select(row.id, *(row[name] for name in SaidOfUnit._fields), place.label("place"))
        numbered = of_them.where(mine, row.value.is_not(None)).subquery()
        query = select(*(numbered.c[name] for name in SaidOfUnit._fields)).where(numbered.c.place <= MOST_SAID)
        for one in session.execute(query.order_by(numbered.c.id)):
            found[one.unit_hash].append(SaidOfUnit._make(one))
    return found


def store_values(session: Session, experiment_id: int, rows: Sequence[Mapping[str, Any]], at_ms: int) -> None:
    """Give units their values and their place: `{"of": hash, "folded": number, "worth": values}` each."""
    if not rows:
        return
    mine = (TABLE.c.experiment_id == experiment_id) & (TABLE.c.unit_hash == bindparam("of"))
    news = {"folded_seq": bindparam("folded"), "metrics": bindparam("worth"), "valued_at_ms": at_ms}
    session.connection().execute(update(TABLE).where(mine).values(news), list(rows))

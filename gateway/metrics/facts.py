"""What the leader reads from the database for metrics, now and then: budgets, experiments, usage, trainings,
retirements.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from gateway.cost.list_prices import compared_with
from gateway.cost.reconcile import reconcile
from gateway.metrics import families
from registry.catalog.snapshot import Catalog, LimitEntry
from registry.days import DAY_MS, day_of, month_of
from registry.ledger.today import faults_between
from registry.limits.spending import Spent
from registry.service import Registry
from registry.training.standing import HELDOUT_LOSS, JobsStanding, jobs_standing

HOUR_MS = 3_600_000
MOST = 20
"""Budgets, experiments, trainings and models that are told of, beside those of tenants that are named anyway."""
OF_EXPERIMENTS = (
    families.EXPERIMENT_UNITS,
    families.EXPERIMENT_WEIGHT,
    families.EXPERIMENT_EFFECT,
    families.EXPERIMENT_ALARM,
)
OF_TRAININGS = {
    families.TRAINING_LEFT: "seconds_left",
    families.TRAINING_PACE: "tokens_per_second",
    families.TRAINING_RATE: "learning_rate",
    families.TRAINING_NORM: "grad_norm",
}
"""And what workers call it in a job's events."""
LOSSES = {"learnt": "train_loss", "heldout": HELDOUT_LOSS}
STATUSES = ("validating_files", "queued", "running", "paused")
BOUNDS = {"daily": day_of, "monthly": month_of}
Sample = list[Any]


def facts(registry: Registry, catalog: Catalog, tenants: Collection[str], at_ms: int) -> dict[str, list[Sample]]:
    """Samples by family, as `gateway.metrics.exposition` takes them; blocking. `tenants` are named whatever happens."""
    today = faults_between(registry.db, day_of(at_ms)[0], at_ms + 1)
    found: dict[str, list[Sample]] = {
        families.BUDGET_LEFT.name: budgets_left(registry, catalog, tenants, at_ms),
        families.UNPRICED.name: [[[], today.unpriced]],
        families.UNSETTLED.name: [[[], today.unsettled]],
        families.RETIREMENT.name: _retirements(registry),
        **_trainings(jobs_standing(registry.db, at_ms, MOST)),
        **{family.name: [] for family in OF_EXPERIMENTS},
    }
    for name, sample in _experiments(registry):
        found[name].append(sample)
    return found


def budgets_left(registry: Registry, catalog: Catalog, tenants: Collection[str], at_ms: int) -> list[Sample]:
    """The part that is left of each budget, those nearest to their end first."""
    limited = {scope: entry for scope, entry in catalog.limits.items() if any(amount for *_, amount in _amounts(entry))}
    windows = {window for entry in limited.values() for window, _, amount in _amounts(entry) if amount}
    spent = {window: registry.spending.between(*BOUNDS[window](at_ms)) for window in windows}  # a month is much to read
    left = []
    for scope, entry in limited.items():
        for window, unit, amount in _amounts(entry):
            if amount:
                used = spent[window].get(scope, Spent())
                gone = used.nano if unit == "dollars" else used.tokens
                left.append((max(0.0, 1 - gone / amount), [scope, window, unit]))
    left.sort()
    named = {f"tenant:{tenant}" for tenant in tenants}
    return [[labels, round(part, 6)] for at, (part, labels) in enumerate(left) if at < MOST or labels[0] in named]


def _amounts(entry: LimitEntry) -> Iterator[tuple[str, str, int | None]]:
    yield "daily", "dollars", entry.daily_nano
    yield "daily", "tokens", entry.daily_tokens
    yield "monthly", "dollars", entry.monthly_nano
    yield "monthly", "tokens", entry.monthly_tokens


def _experiments(registry: Registry) -> Iterator[tuple[str, Sample]]:
    for info in registry.experiments.under_way()[:MOST]:
        name, standing = f"{info.adapter}:{info.name}", (info.standing or {}).get("standing", {})
        for arm in info.arms:
            yield families.EXPERIMENT_WEIGHT.name, [[name, arm.name], info.weights.get(arm.name, 0) / 10_000]
            yield families.EXPERIMENT_UNITS.name, [[name, arm.name], standing.get("units", {}).get(arm.name, 0)]
        for arm_name, verdict in standing.get("primary", {}).items():
            for bound in ("estimate", "low", "high"):
                if verdict[bound] is not None:
                    yield families.EXPERIMENT_EFFECT.name, [[name, arm_name, bound], verdict[bound]]
        yield families.EXPERIMENT_ALARM.name, [[name], int(standing.get("ratio_alarms", False))]


def _trainings(found: JobsStanding) -> dict[str, list[Sample]]:
    told: dict[str, list[Sample]] = {
        families.TRAINING_JOBS.name: [[[status], found.counts.get(status, 0)] for status in STATUSES],
        families.TRAINING_WAIT.name: [[[], found.longest_wait_ms / 1000]],
        families.TRAINING_LOSS.name: [],
        families.TRAINING_DONE.name: [],
        **{family.name: [] for family in OF_TRAININGS},
    }
    for job in found.running:
        of, figures = [job.id, job.adapter], job.figures
        for rows, name in LOSSES.items():
            if name in figures:
                told[families.TRAINING_LOSS.name].append([[*of, rows], figures[name]])
        if figures.get("total_steps"):
            told[families.TRAINING_DONE.name].append([of, figures["step"] / figures["total_steps"]])
        for family, name in OF_TRAININGS.items():
            if name in figures:
                told[family.name].append([of, figures[name]])
    return told


def gaps(registry: Registry, at_ms: int) -> dict[str, list[Sample]]:
    """What the ledger cannot explain of each engine's count, over all its boots in the last hour; blocking."""
    found: dict[str, int] = {}
    for one in reconcile(registry.readings, at_ms - HOUR_MS, at_ms):
        found[one.engine] = found.get(one.engine, 0) + one.unexplained.total
    return {families.GAP.name: [[[engine], tokens] for engine, tokens in found.items()]}


def _retirements(registry: Registry) -> list[Sample]:
    nearest: dict[str, int] = {}
    followed = compared_with(registry.baselines)
    for one in registry.radar.within(registry.settings.retirement_notice_days):
        if one.kind == "baseline" and one.name not in followed:
            continue
        nearest[one.baseline] = min(nearest.get(one.baseline, one.days_left), one.days_left)
    return [[[model], days * DAY_MS // 1000] for model, days in sorted(nearest.items(), key=lambda one: one[1])[:MOST]]

"""The bill of a window and who it falls to, from what the registry knows. Reads sums by day, never all attempts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.cost.allocation import Allocation, Idle, LineKind, Work, allocate, idle_of
from gateway.cost.bill import Bill, JobSpan, bill_of
from registry.days import DAY_MS
from registry.engine_costs.log import TRAINER
from registry.ledger.engine_usage import EngineUsage, usage_by_engine
from registry.names import SYSTEM
from registry.service import Registry
from registry.training.spans import trained_between


def allocation_of(
    registry: Registry,
    since_ms: int,
    until_ms: int,
    *,
    keys: Sequence[str] = (),
    idle: Idle | None = None,
    cost_version: str | None = None,
) -> Allocation:
    """What engines cost in `[since_ms, until_ms)`, on lines that are kept apart by columns of `usage_days` too.

    `idle` as the operator wants it by default, costs as they are known now, unless said. Raises `NotFound` for a
    version that the log of costs never had.
    """
    jobs = [
        JobSpan(one.job_id, one.tenant, one.started_at_ms, one.until_ms)
        for one in trained_between(registry.db, since_ms, until_ms)
    ]
    bill = _bill(registry, jobs, since_ms, until_ms, cost_version)
    used = usage_by_engine(registry.db, since_ms, until_ms, keys)
    works = [*map(_work, used), *_training(jobs, since_ms, until_ms, len(keys))]
    busy_ms = registry.engine_busy.between(since_ms, until_ms)
    return allocate(bill, busy_ms, works, {}, idle or default_idle(registry))


def default_idle(registry: Registry) -> Idle:
    """As an operator has put it; until then nobody pays for idle time."""
    known = registry.idle_policies.newest()
    return Idle() if known is None else idle_of(known.policy, known.shares)


def _bill(registry: Registry, jobs: Sequence[JobSpan], since_ms: int, until_ms: int, cost_version: str | None) -> Bill:
    log = registry.engine_costs.log(cost_version)
    return bill_of(log, registry.engine_spans.between(since_ms, until_ms), jobs, since_ms, until_ms)


def _work(usage: EngineUsage) -> Work:
    kind: LineKind = "shadow" if usage.shadow else "system" if usage.tenant == SYSTEM else "tenant"
    return Work(
        usage.day,
        usage.engine_id,
        kind,
        usage.tenant,
        usage.key,
        usage.attempts,
        usage.prompt_tokens - usage.cached_tokens,
        usage.completion_tokens,
    )


def _training(jobs: Sequence[JobSpan], since_ms: int, until_ms: int, keys: int) -> Iterator[Work]:
    for job in jobs:
        begin_ms, end_ms = max(since_ms, job.started_at_ms), min(until_ms, job.until_ms)
        for day in range(begin_ms // DAY_MS, -(-end_ms // DAY_MS)):
            ms = min(end_ms, (day + 1) * DAY_MS) - max(begin_ms, day * DAY_MS)
            yield Work(day, TRAINER, "training", job.tenant, ("",) * keys, 0, 0, 0, ms)

"""The bill of a window and who it falls to, from what the registry knows. Reads sums by day, never all attempts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from gateway.cost.allocation import Allocation, Idle, LineKind, Weights, Work, allocate, idle_of
from gateway.cost.bill import JobSpan, bill_of
from gateway.cost.bill_document import Charged, document
from registry.days import DAY_MS, MOST_DAYS, as_datetime
from registry.db import now_ms
from registry.engine_costs.log import TRAINER
from registry.engine_costs.spans import EngineSpan
from registry.engine_costs.version import CostVersion
from registry.engine_costs.weights import FittedWeights
from registry.errors import InvalidInput
from registry.ledger.engine_usage import UNKNOWN, EngineUsage, usage_by_engine
from registry.ledger.usage_report import report_usage
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

    A window that ends in the future ends now, as nothing has been paid or used yet: its bill says where it ends.
    `idle` as the operator wants it by default, all else as it is known now, unless a cost version is given. Raises
    `NotFound` for one that the log of costs never had, and `InvalidInput` for a window of more than `MOST_DAYS`.
    """
    require_window(since_ms, until_ms)
    until_ms = min(until_ms, max(since_ms, now_ms()))
    version = _version(registry, cost_version)
    jobs = [
        JobSpan(one.job_id, one.tenant, one.started_at_ms, one.until_ms)
        for one in trained_between(registry.db, since_ms, until_ms)
    ]
    spans = registry.engine_spans.between(since_ms, until_ms, version.known_ms)
    bill = bill_of(registry.engine_costs.log(version.log), spans, jobs, since_ms, until_ms)
    used = usage_by_engine(registry.db, since_ms, until_ms, keys)
    works = [
        *map(_work, used),
        *_loads(registry, since_ms, until_ms, keys),
        *_training(jobs, since_ms, until_ms, keys),
    ]
    before: Iterable[Work] = ()
    if since_ms % DAY_MS == 0:  # else it would be asked for row by row, for what ran at one instant
        before = map(_work, usage_by_engine(registry.db, since_ms - DAY_MS, since_ms, keys))
    busy = registry.engine_busy.between(since_ms, until_ms)
    weights = weights_by_day(registry.engine_weights.all(version.weights), spans, since_ms, until_ms)
    allocation = allocate(bill, busy, works, weights, idle or default_idle(registry, version), before)
    return replace(allocation, cost_version=str(replace(version, log=bill.log_version)))


def require_window(since_ms: int, until_ms: int) -> None:
    """Raises `InvalidInput` for one that is too long."""
    if until_ms - since_ms > MOST_DAYS * DAY_MS:
        raise InvalidInput(
            f"from is {(until_ms - since_ms) // DAY_MS:,} days before the end of the window; at most {MOST_DAYS:,} are "
            "looked at: give a later day",
            param="from",
        )


def _version(registry: Registry, asked: str | None) -> CostVersion:
    """What was asked for; what that does not say, and all of it if nothing was, as it is known now."""
    said = CostVersion.parse(asked)
    return CostVersion(
        said.log,
        registry.idle_policies.last_id() if said.idle is None else said.idle,
        registry.engine_weights.last_id() if said.weights is None else said.weights,
        registry.engine_spans.known_ms() if said.known_ms is None else said.known_ms,
    )


def default_idle(registry: Registry, version: CostVersion | None = None) -> Idle:
    """As an operator has put it, or had by a cost version; until then nobody pays for idle time."""
    known = registry.idle_policies.newest(upto=None if version is None else version.idle)
    return Idle() if known is None else idle_of(known.policy, known.shares)


def weights_by_day(
    fits: Sequence[FittedWeights], spans: Sequence[EngineSpan], since_ms: int, until_ms: int
) -> dict[tuple[int, str], Weights]:
    """By day and engine, the newest fit of its base and kind that was made on that day or before it."""
    of_kind: dict[tuple[str, str], list[FittedWeights]] = {}
    for one in sorted(fits, key=_made_on):
        of_kind.setdefault((one.base_digest, one.kind), []).append(one)
    found: dict[tuple[int, str], Weights] = {}
    for span in spans:
        known = of_kind.get((span.base_digest, span.kind), [])
        begin_ms, end_ms = max(since_ms, span.started_at_ms), min(until_ms, span.until_ms)
        for day in range(begin_ms // DAY_MS, -(-end_ms // DAY_MS)):
            if begun := bisect_right(known, day, key=_made_on):
                found[day, span.engine_id] = _weights(known[begun - 1])
    return found


def _made_on(one: FittedWeights) -> int:
    return one.made_at_ms // DAY_MS


def _weights(one: FittedWeights) -> Weights:
    made = f"{as_datetime(one.made_at_ms):%Y-%m-%d %H:%M} UTC"
    said = f"fitted {made} from {one.samples} samples, residual {one.residual:.3f}"
    return Weights(one.uncached_ps, one.completion_ps, assumed=False, name=said)


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
        answered=usage.answered,
    )


def _loads(registry: Registry, since_ms: int, until_ms: int, keys: Sequence[str]) -> Iterator[Work]:
    """By day, engine and version, what of them is in the window."""
    taken: dict[tuple[int, str, str, str], int] = {}
    for load in registry.engine_loads.between(since_ms, until_ms):
        for day, ms in _by_day(load.began_at_ms, load.ended_at_ms, since_ms, until_ms):
            of = (day, load.engine_id, load.tenant, load.served_model)
            taken[of] = taken.get(of, 0) + ms
    for (day, engine, tenant, model), ms in taken.items():
        key = tuple(model if name == "served_model" else UNKNOWN[name] for name in keys)
        yield Work(day, engine, "loads", tenant, key, engine_ms=ms)


def _training(jobs: Sequence[JobSpan], since_ms: int, until_ms: int, keys: Sequence[str]) -> Iterator[Work]:
    for job in jobs:
        for day, ms in _by_day(job.started_at_ms, job.until_ms, since_ms, until_ms):
            yield Work(day, TRAINER, "training", job.tenant, tuple(UNKNOWN[name] for name in keys), engine_ms=ms)


def _by_day(begin_ms: int, end_ms: int, since_ms: int, until_ms: int) -> Iterator[tuple[int, int]]:
    """Days of an interval, and how much of each is in the window too."""
    begin_ms, end_ms = max(since_ms, begin_ms), min(until_ms, end_ms)
    for day in range(begin_ms // DAY_MS, -(-end_ms // DAY_MS)):
        yield day, min(end_ms, (day + 1) * DAY_MS) - max(begin_ms, day * DAY_MS)


def charged_of(registry: Registry, since_ms: int, until_ms: int) -> dict[str, Charged]:
    """What each tenant is charged for what it used in the window, by the ledger."""
    lines = report_usage(registry.db, "tenant", since_ms=since_ms, until_ms=until_ms).lines
    return {
        line.name: Charged(None if line.unpriced and line.cost_dollars is None else line.cost_nano, line.unpriced)
        for line in lines
        if not line.shadow and line.name != SYSTEM
    }


def bill_document(
    registry: Registry,
    since_ms: int,
    until_ms: int,
    *,
    idle: str | None = None,
    cost_version: str | None = None,
    explain: bool = False,
) -> dict[str, Any]:
    """The bill of a window as people ask for it. `idle`: another policy than the operator's; the shares of `reserved`
    are those that were put last. Raises `InvalidInput`, `NotFound`.
    """
    wanted = named_idle(registry, idle, cost_version)
    allocation = allocation_of(registry, since_ms, until_ms, idle=wanted, cost_version=cost_version)
    log = registry.engine_costs.log(allocation.bill.log_version)
    return document(allocation, charged_of(registry, since_ms, allocation.bill.until_ms), log, explain=explain)


def named_idle(registry: Registry, policy: str | None, cost_version: str | None = None) -> Idle | None:
    """A policy by its name, with the shares that were put last, by a cost version, if it needs some; `None` for none.
    Raises `InvalidInput`.
    """
    if policy is None:
        return None
    upto = CostVersion.parse(cost_version).idle
    known = registry.idle_policies.newest("reserved", upto) if policy == "reserved" else None
    if policy == "reserved" and known is None:
        raise InvalidInput(
            "idle is reserved, and no tenant has a share yet; put them with `switchyard cost idle reserved --share "
            "acme=0.5`",
            param="idle",
        )
    return idle_of(policy, {} if known is None else known.shares)

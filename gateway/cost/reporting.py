"""A cost report of what the registry knows. Reads sums by day, never all attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.cost.allocation import Allocation, Idle
from gateway.cost.assumptions import Assumptions, TokenRatio
from gateway.cost.baselines import Baseline, cuts_of
from gateway.cost.costing import allocation_of, require_window
from gateway.cost.engine_side import engine_side
from gateway.cost.focus import FocusSource, focus_csv
from gateway.cost.list_prices import OF_REPORTS, known_baseline
from gateway.cost.report import CostReport, Window, build_report, dearest_first
from registry.days import day_of
from registry.errors import InvalidInput, NotFound
from registry.ledger.usage_cells import COLUMNS_OF, UsageCell, usage_cells
from registry.names import SYSTEM
from registry.service import Registry

MOST_BASELINES = 10
ORDERS = ("name", "cost")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is asked for."""

    by: str = "tenant"
    since_ms: int | None = None
    """`None`: the day of the first usage."""
    until_ms: int = 0
    tenant: str | None = None
    baselines: Sequence[str] = ()
    price_version: str | None = None
    """As are the next two: `None` is what is known, or wanted, now."""
    cost_version: str | None = None
    idle: Idle | None = None
    assumed: Assumptions = field(default_factory=Assumptions)
    ratios: Mapping[str, TokenRatio] = field(default_factory=dict)
    """By baseline, where tokens were counted again."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the registry knows of it."""

    window: Window
    cells: tuple[UsageCell, ...]
    allocation: Allocation
    baselines: tuple[Baseline, ...]
    price_version: str
    assumed: Assumptions


def find(registry: Registry, asked: Asked, *, daily: bool = False) -> Found:
    """`daily`: its cells are kept apart by day and engine too. Raises `InvalidInput` for what cannot be meant, and
    `NotFound` for a version or a tenant that there is not.
    """
    window = Window(asked.by, _since(registry, asked), asked.until_ms, asked.tenant)
    if asked.tenant not in (None, SYSTEM):
        registry.tenants.get(asked.tenant)
    price_version = asked.price_version or registry.baselines.version()
    baselines = tuple(_baseline(registry, name, price_version, asked) for name in baselines_of(registry, asked))
    require_window(window.since_ms, window.until_ms)
    cells = usage_cells(registry.db, window.by, window.since_ms, window.until_ms, cuts_of(baselines), daily=daily)
    allocation = allocation_of(
        registry,
        window.since_ms,
        window.until_ms,
        keys=COLUMNS_OF[window.by],
        idle=asked.idle,
        cost_version=asked.cost_version,
    )
    window = replace(window, until_ms=allocation.bill.until_ms)
    return Found(window, cells, allocation, baselines, price_version, asked.assumed)


def report_of(registry: Registry, asked: Asked) -> CostReport:
    """The report. Raises as `find` does."""
    found = find(registry, asked)
    return build_report(
        found.cells,
        engine_side(found.allocation, found.cells, found.window),
        found.baselines,
        found.window,
        price_version=found.price_version,
        assumed=found.assumed,
    )


def in_order(report: CostReport, order: str) -> CostReport:
    """The same with its lines by name, as they are made, or by cost. Raises `InvalidInput` for another order."""
    if order not in ORDERS:
        raise InvalidInput(f"order is {order!r}; expected one of {', '.join(ORDERS)}", param="order")
    return report if order == "name" else replace(report, lines=dearest_first(report.lines))


def focus_of(registry: Registry, asked: Asked) -> str:
    """FOCUS rows of the same window and tenant, a version each, as CSV. Raises as `find` does."""
    found = find(registry, replace(asked, by="version"), daily=True)
    return focus_csv(
        FocusSource(found.allocation, found.cells, found.baselines, found.price_version, found.assumed), asked.tenant
    )


def _since(registry: Registry, asked: Asked) -> int:
    if asked.since_ms is not None:
        return asked.since_ms
    span = registry.ledger.span_ms()
    return asked.until_ms if span is None else min(asked.until_ms, day_of(span[0])[0])


def names_in(text: str | None) -> tuple[str, ...]:
    """Of baselines, with commas between them."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def baselines_of(registry: Registry, asked: Asked) -> list[str]:
    """Names of the baselines that it compares with. Raises `InvalidInput` for too many."""
    if len(asked.baselines) > MOST_BASELINES:
        raise InvalidInput(
            f"baseline is given {len(asked.baselines)} times; compare with at most {MOST_BASELINES}", param="baseline"
        )
    if asked.baselines:
        return list(dict.fromkeys(asked.baselines))
    known = set(registry.baselines.names(asked.price_version))
    return [name for name in OF_REPORTS if name in known]


def _baseline(registry: Registry, name: str, price_version: str, asked: Asked) -> Baseline:
    """One that is not in the log has no price: its requests are counted as unlisted."""
    try:
        known = known_baseline(registry, name, price_version, asked.until_ms, tenant=asked.tenant)
    except NotFound as unknown:
        if unknown.param != "baseline":
            raise
        return Baseline(name, None, unknown=unknown.message)
    counted = asked.ratios.get(name)
    return known if counted is None else replace(known, ratio=counted, ratios={})

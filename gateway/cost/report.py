"""The cost report: who used what, what it was charged, what the engines cost for it, and what baselines would have.

Pure. One word one meaning: *tariff* is what a tenant is charged, *engine cost* what engines cost us, *baseline* an API
and what the same requests would have cost there. Money is integer nano-dollars. What has no price is `None` and is
counted, never 0. A sum is of what is known, and `None` where nothing is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import NamedTuple

from gateway.cost.allocation import AllocatedLine, LineKind
from gateway.cost.assumptions import Assumptions, Label, TokenRatio
from gateway.cost.baselines import Baseline, Tokens, exact_ends, exact_nano
from gateway.cost.bill import BilledDay
from gateway.cost.intervals import Interval, around, exact_sum, less, whole_sum
from gateway.cost.whole import in_whole
from registry.ledger.usage_cells import UsageCell
from registry.names import SYSTEM
from registry.prices.baseline_infos import PricePeriod

LABELS: tuple[Label, ...] = ("measured", "calibrated", "assumed")
"""From the best known to the least."""


class LineKey(NamedTuple):
    """What lines are told apart by."""

    kind: LineKind
    tenant: str | None
    """`None`: of all tenants, or of none."""
    name: str


@dataclass(frozen=True, slots=True)
class EngineCost:
    """What engines cost for a line, in nano-dollars; `None`: nobody has said what the engines cost."""

    marginal_nano: int | None = None
    """What would not have been paid without it."""
    busy_nano: int | None = None
    """Its share of the time in which engines worked."""
    loaded_nano: int | None = None
    """The same, with its share of the time in which they did not, by the idle policy."""
    uncosted: int = 0
    """Requests on engines of which nobody has said what they cost."""


@dataclass(frozen=True, slots=True)
class EngineSide:
    """What engines cost in a window: of each line of requests, and of what no request did."""

    lines: Mapping[LineKey, EngineCost] = field(default_factory=dict)
    parts: Mapping[LineKey, Sequence[AllocatedLine]] = field(default_factory=dict)
    """What `lines` are the sums of."""
    bills: Mapping[tuple[int, str], BilledDay] = field(default_factory=dict)
    """By day and engine: what the parts are of."""
    bill_nano: int | None = None
    """What was paid for engines; `loaded_nano` of all lines adds up to it. `None`: nobody has said what they cost."""
    cost_version: str | None = None
    idle_policy: str | None = None
    weights: tuple[str, ...] = ()
    """What says how much engines work for a token: names of fits, or that it is assumed."""


@dataclass(frozen=True, slots=True)
class PricedTokens:
    """Tokens of a line to which the same prices and the same ratio apply."""

    period: PricePeriod
    ratio: TokenRatio
    requests: int
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class BaselineCost:
    """What a line would have cost on a baseline."""

    name: str
    cost_nano: int | None
    """`None`: no price was in force for any of it."""
    label: Label
    """The least sure one that is in it."""
    unlisted: int
    """Requests for which no price was in force."""
    savings_nano: int | None = None
    """`cost_nano` less the fully loaded engine cost: negative where the API is cheaper. `None` unless both are known
    of all requests.
    """
    parts: tuple[PricedTokens, ...] = ()
    """What `cost_nano` is of, oldest prices first; none in a total."""
    interval_nano: Interval | None = None
    """In which the cost is while every ratio of tokens is within its interval; `None` unless all of them have one."""

    @property
    def savings_interval_nano(self) -> Interval | None:
        """The same of the savings: the engine cost is taken as it is."""
        if self.cost_nano is None or self.savings_nano is None:
            return None
        return less(self.interval_nano, self.cost_nano - self.savings_nano)


@dataclass(frozen=True, slots=True)
class CostLine:
    """Attempts that began in the window, or what engines did beside them."""

    kind: LineKind
    tenant: str | None
    name: str
    requests: int
    failed: int
    tokens: Tokens
    """Of answered requests."""
    tariff_nano: int | None
    """What they are charged; `None`: nothing of it has a price, or is charged at all."""
    unpriced: int
    """Answered requests that would be charged, and for which no tariff was in force."""
    unsettled: int
    """Attempts that an engine worked on and of which nobody knows the tokens: they are in no figure of a baseline."""
    engine: EngineCost
    baselines: tuple[BaselineCost, ...]

    @property
    def key(self) -> LineKey:
        """What it is told apart by."""
        return LineKey(self.kind, self.tenant, self.name)

    @property
    def margin_nano(self) -> int | None:
        """Tariff less fully loaded engine cost; `None` unless both are known of all requests."""
        whole = self.tariff_nano is not None and not self.unpriced and not self.engine.uncosted
        return _less(self.tariff_nano, self.engine.loaded_nano) if whole else None


@dataclass(frozen=True, slots=True)
class CostReport:
    """Lines of a window `[since_ms, until_ms)`, by kind, tenant and name, and what they add up to."""

    by: str
    tenant: str | None
    """The only tenant that is shown; `None`: all, and what belongs to none."""
    since_ms: int
    until_ms: int
    price_version: str
    assumed: Assumptions
    baselines: tuple[Baseline, ...]
    lines: tuple[CostLine, ...]
    total: CostLine
    engines: EngineSide
    """What the engine costs of the lines are made of; its bill is of all tenants, also where one is shown."""


@dataclass(frozen=True, slots=True)
class Window:
    """What a report is of."""

    by: str
    since_ms: int
    until_ms: int
    tenant: str | None = None


@dataclass(slots=True)
class _Sums:
    """Of one line, while it is added up."""

    counts: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    """Requests, failed, unpriced, unsettled."""
    tariff_nano: int = 0
    tokens: Tokens = field(default_factory=Tokens)
    parts: dict[tuple[str, int], tuple[int, Tokens]] = field(default_factory=dict)
    """Requests and tokens by tenant and the instant from which on its prices are asked for."""


def key_of(cell: UsageCell, window: Window) -> LineKey:
    """The line that a cell is of."""
    kind: LineKind = "shadow" if cell.shadow else "system" if cell.tenant == SYSTEM else "tenant"
    return line_key(kind, window.tenant if window.by in ("day", "engine") else cell.tenant, cell.name, window)


NOT_KNOWN = "(not known)"
"""Name of the line of what ran on an engine that the ledger does not name."""


def line_key(kind: LineKind, tenant: str | None, name: str, window: Window) -> LineKey:
    """The line of requests of a kind."""
    name = name or NOT_KNOWN
    if kind == "shadow":
        name = f"{name} (shadow)"
    elif kind == "system" and window.by != "tenant":
        name = f"{name} (probes)"
    return LineKey(kind, tenant, name)


def build_report(
    cells: Iterable[UsageCell],
    engines: EngineSide,
    baselines: Sequence[Baseline],
    window: Window,
    *,
    price_version: str,
    assumed: Assumptions,
) -> CostReport:
    """Add the cells up: `cells` has those of all tenants, `engines` what engines cost for those that are shown."""
    sums: dict[LineKey, _Sums] = {}
    for cell in cells:
        if window.tenant is None or cell.tenant == window.tenant:
            _add(sums.setdefault(key_of(cell, window), _Sums()), cell)
    others = [key for key in engines.lines if key not in sums]
    keys = sorted([*sums, *others], key=_order)
    lines = [_line(key, sums.get(key, _Sums()), engines) for key in keys]
    costs = [_costs_on(one, keys, sums, assumed) for one in baselines]
    lines = [
        replace(line, baselines=tuple(_saved(of[at], line.engine) for of in costs)) for at, line in enumerate(lines)
    ]
    return CostReport(
        by=window.by,
        tenant=window.tenant,
        since_ms=window.since_ms,
        until_ms=window.until_ms,
        price_version=price_version,
        assumed=assumed,
        baselines=tuple(baselines),
        lines=tuple(lines),
        total=total_of(lines, baselines, window.tenant),
        engines=engines,
    )


OF_NOBODY: tuple[LineKind, ...] = ("training", "loads", "experiments", "system", "idle")
"""Kinds of which lines come behind those of tenants, in this order."""


def _order(key: LineKey) -> tuple[int, str, str]:
    """Tenants' lines first, each followed by its copies."""
    return (OF_NOBODY.index(key.kind) + 1 if key.kind in OF_NOBODY else 0), key.tenant or "", key.name


def dearest_first(lines: Iterable[CostLine]) -> tuple[CostLine, ...]:
    """By what engines cost for them, with idle time, or by the tariff where nobody has said that; what is no tenant's
    comes behind all the same.
    """

    def place(line: CostLine) -> tuple[int, int, str]:
        loaded = line.engine.loaded_nano
        return _order(line.key)[0], -(loaded if loaded is not None else line.tariff_nano or 0), line.name

    return tuple(sorted(lines, key=place))


def _add(into: _Sums, cell: UsageCell) -> None:
    counts = (cell.requests, cell.failed, cell.unpriced, cell.unsettled)
    into.counts = [a + b for a, b in zip(into.counts, counts, strict=True)]
    into.tariff_nano += cell.tariff_nano
    tokens = Tokens(cell.prompt_tokens, cell.cached_tokens, cell.completion_tokens)
    into.tokens += tokens
    of = (cell.tenant, cell.at_ms)
    requests, before = into.parts.get(of, (0, Tokens()))
    into.parts[of] = requests + cell.requests, before + tokens


def _line(key: LineKey, sums: _Sums, engines: EngineSide) -> CostLine:
    requests, failed, unpriced, unsettled = sums.counts
    nothing = key.kind != "tenant" or (not sums.tariff_nano and unpriced >= requests)
    return CostLine(
        *key,
        requests=requests,
        failed=failed,
        tokens=sums.tokens,
        tariff_nano=None if nothing else sums.tariff_nano,
        unpriced=unpriced,
        unsettled=unsettled,
        engine=engines.lines.get(key, EngineCost()),
        baselines=(),
    )


def _costs_on(
    baseline: Baseline, keys: Sequence[LineKey], sums: Mapping[LineKey, _Sums], assumed: Assumptions
) -> list[BaselineCost]:
    """Of each line; together they are what all would have cost, rounded once."""
    parts = [_priced(baseline, sums[key]) if key.kind == "tenant" and key in sums else () for key in keys]
    exact = [sum((exact_nano(one.tokens, one.period, one.ratio, assumed) for one in of), Fraction(0)) for of in parts]
    found = []
    whole = in_whole(exact)
    ends = [exact_sum([exact_ends(one.tokens, one.period, one.ratio, assumed) for one in of]) for of in parts]
    for key, of, nano, interval in zip(keys, parts, whole, around(whole, exact, ends), strict=True):
        asked = sum(requests for requests, _ in sums[key].parts.values()) if of or key in sums else 0
        unlisted = asked - sum(one.requests for one in of) if key.kind == "tenant" else 0
        label = least_sure(one.ratio.label for one in of)
        found.append(BaselineCost(baseline.name, nano if of else None, label, unlisted, None, of, interval))
    return found


def _priced(baseline: Baseline, sums: _Sums) -> tuple[PricedTokens, ...]:
    """What has a price, put together where prices and ratio are the same."""
    found: dict[tuple[int, TokenRatio], PricedTokens] = {}
    for (tenant, at_ms), (requests, tokens) in sums.parts.items():
        period, ratio = baseline.period_at(at_ms), baseline.ratio_of(tenant)
        if period is not None and (requests or tokens != Tokens()):
            of = (period.from_ms, ratio)
            before = found.get(of, PricedTokens(period, ratio, 0, Tokens()))
            found[of] = PricedTokens(period, ratio, before.requests + requests, before.tokens + tokens)
    return tuple(sorted(found.values(), key=lambda one: one.period.from_ms))


def least_sure(labels: Iterable[Label]) -> Label:
    """Of figures that are added up; of nothing, the least sure there is."""
    found = set(labels)
    return next((label for label in reversed(LABELS) if label in found), "assumed")


def _saved(cost: BaselineCost, engine: EngineCost) -> BaselineCost:
    whole = not cost.unlisted and not engine.uncosted
    return replace(cost, savings_nano=_less(cost.cost_nano, engine.loaded_nano) if whole else None)


def _less(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one - other


def total_of(lines: Sequence[CostLine], baselines: Sequence[Baseline], tenant: str | None) -> CostLine:
    """What lines add up to."""
    engine = EngineCost(
        marginal_sum((line.engine.marginal_nano, line.engine.busy_nano) for line in lines),
        known_sum(line.engine.busy_nano for line in lines),
        known_sum(line.engine.loaded_nano for line in lines),
        sum(line.engine.uncosted for line in lines),
    )
    costs = []
    for at, baseline in enumerate(baselines):
        of = [line.baselines[at] for line in lines]
        priced = [one for one in of if one.cost_nano is not None]
        cost = BaselineCost(
            baseline.name,
            known_sum(one.cost_nano for one in priced),
            least_sure(one.label for one in priced),
            sum(one.unlisted for one in of),
            interval_nano=whole_sum([one.interval_nano for one in priced]),
        )
        costs.append(_saved(cost, engine))
    return CostLine(
        kind="tenant",
        tenant=tenant,
        name="total",
        requests=sum(line.requests for line in lines),
        failed=sum(line.failed for line in lines),
        tokens=sum((line.tokens for line in lines), Tokens()),
        tariff_nano=known_sum(line.tariff_nano for line in lines),
        unpriced=sum(line.unpriced for line in lines),
        unsettled=sum(line.unsettled for line in lines),
        engine=engine,
        baselines=tuple(costs),
    )


def marginal_sum(parts: Iterable[tuple[int | None, int | None]]) -> int | None:
    """Of marginal and busy nano-dollars of each part; `None` where that of one which kept engines busy is not known."""
    of = list(parts)
    unknown = any(marginal is None and busy for marginal, busy in of)
    return None if unknown else known_sum(marginal for marginal, _ in of)


def known_sum(figures: Iterable[int | None]) -> int | None:
    """Of those that are known; `None` when none is."""
    known = [one for one in figures if one is not None]
    return sum(known) if known else None

"""Every number of a cost report, opened: its formula, the figures put in, the prices, and the query for the counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from gateway.cost.assumptions import Assumptions
from gateway.cost.baselines import exact_nano
from gateway.cost.engine_side import days_of
from gateway.cost.report import BaselineCost, CostLine, CostReport, PricedTokens
from registry.days import DAY_MS, as_datetime, date_of
from registry.ledger.usage_days import BILLED
from registry.ledger.usage_queries import counts_query
from registry.money import nano_to_dollars
from registry.names import SYSTEM

STANDARD = (
    "((prompt - cached) · input price + cached · cached input price + completion · output price) / 1,000,000, "
    "of the baseline's tokens and its prices in dollars per million"
)
BATCHED = (
    "(1 - batch share) · the standard price + batch share · (prompt · batch input price + completion · batch output "
    "price) / 1,000,000"
)

COST_ENDS = (
    "the cost with the lower ends, and with the upper ends, of the intervals of all ratios of tokens; ends of lines "
    "are in whole nano-dollars that add up to those of the total"
)
SAVINGS_ENDS = "each end of the baseline's cost - fully loaded engine cost, which is taken as it is"
ENGINE_FORMULAS = {
    "marginal_nano": "of each engine and UTC day: its bill · work / time there, where work is uncached prompt tokens "
    "and completion tokens in measured engine time",
    "busy_nano": "of each engine and UTC day: its bill · busy time / time there, divided by work: uncached prompt "
    "tokens and completion tokens by their weights, loads and training by their time",
    "loaded_nano": "busy, and its part of each engine's idle bill, bill · idle time / time there, by the idle policy",
}
MOST_TERMS = 62
"""Two engines' days of a month; what is left is added up."""


@dataclass(frozen=True, slots=True)
class Explained:
    """One figure of one line."""

    tenant: str | None
    """Of the line."""
    line: str
    figure: str
    """As the JSON document names it, such as `engine_cost.busy_dollars`, `baselines.gpt-5-mini.cost_dollars`."""
    value: str
    formula: str
    filled: tuple[str, ...]
    """The formula with its figures, a term each; the figure is their sum."""
    version: str | None
    """Of the log that its prices are from."""
    rows: tuple[int, ...] = ()
    """Lines of that log."""
    query: str | None = None
    """SQL that gives the counts; of engine costs, the address of the bill."""


def explain(report: CostReport, lines: Iterable[CostLine]) -> Iterator[Explained]:
    """Each figure of these lines, in the order of the document."""
    for line in lines:
        yield from _counts(report, line)
        yield from _tariff(report, line)
        yield from _engine(report, line)
        for cost in line.baselines:
            yield from _baseline(report, line, cost)


def _counts(report: CostReport, line: CostLine) -> Iterator[Explained]:
    if line.kind not in ("tenant", "shadow", "system"):
        return
    tokens = line.tokens
    yield Explained(
        line.tenant,
        line.name,
        "requests",
        str(line.requests),
        f"the sum over the UTC days of the window of attempts that ended as {', '.join(BILLED)}, with their tokens",
        (
            f"{line.requests} requests with {tokens.prompt} prompt tokens, {tokens.cached} of them cached, and "
            f"{tokens.completion} completion tokens",
        ),
        None,
        query=_query(report, line),
    )


def _tariff(report: CostReport, line: CostLine) -> Iterator[Explained]:
    if line.tariff_nano is not None:
        yield Explained(
            line.tenant,
            line.name,
            "tariff_dollars",
            nano_to_dollars(line.tariff_nano),
            "the sum of cost_nano / 1,000,000,000: what each request was booked with, at the tariff in force when it "
            "began (`switchyard tariff list`)",
            (f"{line.tariff_nano} / 1,000,000,000 = ${nano_to_dollars(line.tariff_nano)}",),
            None,
            query=_query(report, line),
        )


def _query(report: CostReport, line: CostLine) -> str:
    name = line.name.removesuffix(" (shadow)").removesuffix(" (probes)")
    tenant = line.tenant if line.kind != "system" else SYSTEM
    return counts_query(report.by, name, tenant, report.since_ms, report.until_ms, shadow=line.kind == "shadow")


def _baseline(report: CostReport, line: CostLine, cost: BaselineCost) -> Iterator[Explained]:
    if cost.cost_nano is None:
        return
    prices = {price.seq for part in cost.parts for price in part.period.components.values()}
    yield Explained(
        line.tenant,
        line.name,
        f"baselines.{cost.name}.cost_dollars",
        nano_to_dollars(cost.cost_nano),
        f"{BATCHED}, where that is {STANDARD}" if report.assumed.batch_share else STANDARD,
        tuple(_term(part, report.assumed) for part in cost.parts),
        report.price_version,
        tuple(sorted({*prices, *_calibrations(cost)})),
        _query(report, line),
    )
    if cost.savings_nano is not None and line.engine.loaded_nano is not None:
        yield Explained(
            line.tenant,
            line.name,
            f"baselines.{cost.name}.savings_dollars",
            nano_to_dollars(cost.savings_nano),
            "baseline cost - fully loaded engine cost",
            (
                f"${nano_to_dollars(cost.cost_nano)} - ${nano_to_dollars(line.engine.loaded_nano)} = "
                f"${nano_to_dollars(cost.savings_nano)}",
            ),
            report.price_version,
        )
    yield from _ends(report, line, cost)


def _ends(report: CostReport, line: CostLine, cost: BaselineCost) -> Iterator[Explained]:
    """Of the cost and of the savings, as far as they have an interval."""
    terms = tuple(f"{name} end: {term}" for at, name in enumerate(("lower", "upper")) for term in _at(report, cost, at))
    paid = nano_to_dollars(line.engine.loaded_nano or 0)
    lesses = tuple(f"${nano_to_dollars(end)} - ${paid}" for end in cost.interval_nano or ())
    for figure, interval, formula, filled in (
        ("cost", cost.interval_nano, COST_ENDS, terms),
        ("savings", cost.savings_interval_nano, SAVINGS_ENDS, lesses),
    ):
        if interval is not None:
            yield Explained(
                line.tenant,
                line.name,
                f"baselines.{cost.name}.{figure}_interval_dollars",
                f"[{nano_to_dollars(interval[0])}, {nano_to_dollars(interval[1])}]",
                formula,
                filled,
                report.price_version,
                _calibrations(cost),
            )


def _calibrations(cost: BaselineCost) -> tuple[int, ...]:
    """Lines of the price log that ratios are from."""
    return tuple(sorted({part.ratio.seq for part in cost.parts if part.ratio.seq is not None}))


def _at(report: CostReport, cost: BaselineCost, at: int) -> Iterator[str]:
    for part in cost.parts:
        ratio = part.ratio
        if ratio.prompt_interval and ratio.completion_interval:
            ends = replace(ratio, prompt=ratio.prompt_interval[at], completion=ratio.completion_interval[at])
            yield _term(replace(part, ratio=ends), report.assumed)


def _term(part: PricedTokens, assumed: Assumptions) -> str:
    """One price period: from when on, the tokens as the baseline counts them, and the prices."""
    period, ratio, tokens = part.period, part.ratio, part.tokens
    prompt, completion = tokens.prompt * ratio.prompt, tokens.completion * ratio.completion
    cached = tokens.cached * ratio.prompt if assumed.cached_share is None else prompt * assumed.cached_share
    prices = {name: nano_to_dollars(price.nano_per_mtok) for name, price in period.components.items()}
    of_cache = prices.get("cached_input", prices["input"])
    standard = (
        f"(({_count(prompt)} - {_count(cached)}) · ${prices['input']} + {_count(cached)} · ${of_cache} + "
        f"{_count(completion)} · ${prices['output']}) / 1,000,000"
    )
    if assumed.batch_share and {"batch_input", "batch_output"} <= prices.keys():
        share = _count(assumed.batch_share)
        standard = (
            f"(1 - {share}) · {standard} + {share} · ({_count(prompt)} · ${prices['batch_input']} + "
            f"{_count(completion)} · ${prices['batch_output']}) / 1,000,000"
        )
    nano = exact_nano(tokens, period, ratio, assumed)
    since = f"{as_datetime(period.from_ms):%Y-%m-%d %H:%M} UTC"
    return f"prices from {since}: {standard} = ${nano_to_dollars(round(nano))}"


def _count(exact: Fraction) -> str:
    """A whole number, or one with the decimals that count, up to six."""
    return str(exact.numerator) if exact.denominator == 1 else f"{float(exact):.6f}".rstrip("0").rstrip(".")


def _engine(report: CostReport, line: CostLine) -> Iterator[Explained]:
    days = list(days_of(report.engines, line.key))
    for figure, formula in ENGINE_FORMULAS.items():
        value = getattr(line.engine, figure)
        if value is None:
            continue
        terms = [
            f"{date_of(day.day)}, {day.engine_id}: ${nano_to_dollars(getattr(day.cost, figure) or 0)} of the bill of "
            f"${nano_to_dollars(day.bill_nano)}"
            for day in days[:MOST_TERMS]
        ]
        if rest := days[MOST_TERMS:]:
            nano = sum(getattr(day.cost, figure) or 0 for day in rest)
            terms.append(f"{len(rest)} more days of engines: ${nano_to_dollars(nano)}")
        yield Explained(
            line.tenant,
            line.name,
            f"engine_cost.{figure.removesuffix('_nano')}_dollars",
            nano_to_dollars(value),
            f"{formula}; weights: {', '.join(report.engines.weights) or 'none'}",
            tuple(terms),
            report.engines.cost_version,
            tuple(sorted({row for day in days for row in day.rows})),
            _bill(report),
        )


def _bill(report: CostReport) -> str:
    """Where the bill is, with each engine's busy time and costs on each day; of whole days."""
    first, end = report.since_ms // DAY_MS, -(-report.until_ms // DAY_MS)
    return (
        f"GET /admin/v1/cost/bill?from={date_of(first)}&until={date_of(end)}&idle={report.engines.idle_policy}"
        f"&cost_version={report.engines.cost_version}&explain=true"
    )

"""A cost report in sentences, for who reads one for the first time."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal

from gateway.cost.baselines import Baseline
from gateway.cost.intervals import Interval, less, negative
from gateway.cost.report import BaselineCost, CostReport
from registry.days import as_datetime
from registry.money import NANO

CENT = Decimal("0.01")
SMALLEST = Decimal("0.000001")


def sentences(report: CostReport, *, engines: bool = True) -> Iterator[str]:
    """What it comes to, what is not known, and by which prices; without `engines`, APIs are held against the tariff."""
    total = report.total
    if not report.lines:
        yield "Nothing was used in this window."
        return
    yield from _charged(report)
    if engines:
        yield from _engines(report)
    for cost, baseline in zip(total.baselines, report.baselines, strict=True):
        yield from _compared(report, cost, baseline, engines=engines)
    if total.unsettled:
        yield f"{_many(total.unsettled, 'attempt')} ended without a count of tokens and are in no figure of an API."
    yield f"Prices are of version {report.price_version}" + (
        f", costs of engines of {report.engines.cost_version}." if engines and report.engines.cost_version else "."
    )


def _charged(report: CostReport) -> Iterator[str]:
    total = report.total
    who = report.tenant or "Tenants"
    verb = "is" if report.tenant else "are"
    if total.tariff_nano is not None:
        yield f"{who} {verb} charged {said(total.tariff_nano)} by the tariff{_without(total.unpriced)}."
    elif total.requests:
        yield f"{who} {verb} charged nothing that is known: no tariff was in force."


def _engines(report: CostReport) -> Iterator[str]:
    engine = report.total.engine
    if engine.loaded_nano is None:
        yield "What the engines cost is not known: say it with `switchyard cost engines add`."
    elif report.tenant is not None:
        yield f"The engines cost {said(engine.loaded_nano)} for {report.tenant}{_uncosted(engine.uncosted)}."
    else:
        yield f"The engines cost {said(engine.loaded_nano)}{_idle(report)}{_uncosted(engine.uncosted)}."


def _idle(report: CostReport) -> str:
    idle = sum(line.engine.loaded_nano or 0 for line in report.lines if line.kind == "idle")
    if report.engines.idle_policy == "unallocated":
        return f", {said(idle)} of it for time in which they did nothing"
    return f", idle time shared by policy {report.engines.idle_policy}" if report.engines.idle_policy else ""


def _compared(report: CostReport, cost: BaselineCost, baseline: Baseline, *, engines: bool) -> Iterator[str]:
    if cost.cost_nano is None:
        if report.total.requests:
            yield f"{cost.name} had no price in this window: {_many(cost.unlisted, 'request')} unlisted."
            if baseline.unknown:
                yield baseline.unknown
        return
    total = report.total
    paid, saved = (total.engine.loaded_nano, cost.savings_nano) if engines else (total.tariff_nano, None)
    if not engines and paid is not None and not (cost.unlisted or total.unpriced):
        saved = cost.cost_nano - paid
    sentence = (
        f"At {cost.name}'s list price the same tokens would have cost {with_ends(cost.cost_nano, cost.interval_nano)} "
        f"({cost.label}){_without(cost.unlisted)}"
    )
    ends = None if paid is None else less(cost.interval_nano, paid)
    if paid is None:
        yield f"{sentence}."
    elif saved is None:
        yield f"{sentence}; you paid {said(paid)}, and as not all has a price, the two cannot be compared."
    elif saved < 0:
        stay = "staying on the API would be cheaper"
        yield f"{sentence}; you paid {said(paid)}: {stay} by {_by(-saved, negative(ends))}."
    elif saved:
        here = "your own engines are" if engines else "that is"
        yield f"{sentence}; you paid {said(paid)}: {here} cheaper by {_by(saved, ends)}."
    else:
        yield f"{sentence}; you paid as much."
    yield from _ending(baseline)


def _by(saved: int, ends: Interval | None) -> str:
    unsure = ends is not None and ends[0] < 0 < ends[1]
    return with_ends(saved, ends) + (", and as 0 is between these, it may be the other way round" if unsure else "")


def with_ends(nano: int, interval: Interval | None) -> str:
    """`$3.10 [$2.90, $3.30]`; without an interval the figure alone."""
    return said(nano) + ("" if interval is None else f" [{said(interval[0])}, {said(interval[1])}]")


def _ending(baseline: Baseline) -> Iterator[str]:
    info = baseline.info
    if info is None or info.state not in ("retired", "retiring"):
        return
    date = "" if info.ends_at_ms is None else f" on {as_datetime(info.ends_at_ms):%Y-%m-%d}"
    instead = f"; {info.substitute} takes its place" if info.substitute else ""
    verb = "was shut down" if info.state == "retired" else "will be shut down"
    yield f"{baseline.name} {verb}{date}{instead}."


def _without(count: int) -> str:
    return f", without {_many(count, 'request')} that had no price" if count else ""


def _uncosted(requests: int) -> str:
    return f", and {_many(requests, 'request')} ran on engines whose cost is not known" if requests else ""


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def said(nano: int) -> str:
    """Dollars as people say them: to the cent, of less than a dollar to the first two digits that count."""
    sign, dollars = "-" if nano < 0 else "", Decimal(abs(nano)) / NANO
    if dollars >= 1 or not dollars:
        return f"{sign}${dollars.quantize(CENT, ROUND_HALF_EVEN):,}"
    digits = max(2, 1 - dollars.adjusted())
    shown = dollars.quantize(max(SMALLEST, Decimal(1).scaleb(-digits)), ROUND_HALF_EVEN)
    return f"{sign}${shown}" if shown else f"{sign}$0.000001 or less"

"""A cost report as tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from gateway.cost.explain import explain
from gateway.cost.intervals import Interval
from gateway.cost.report import CostLine, CostReport
from gateway.cost.report_words import sentences, with_ends
from registry.days import as_datetime
from switchyard.console import print_table, say

UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
SHORT_FROM = 10_000
"""A number of at least so much is shown with three digits and a unit."""


def print_report(report: CostReport) -> None:
    """What it comes to by line, what engines cost side by side with what is not known, and sentences."""
    since, until = as_datetime(report.since_ms), as_datetime(report.until_ms)
    who = f", {report.tenant}" if report.tenant else ""
    say(f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC, by {report.by}{who}", "")
    if report.lines:
        _print_costs(report)
        say("")
        _print_engines(report)
        say("")
    say(*sentences(report))


def _print_costs(report: CostReport) -> None:
    names = [one.name.upper() for one in report.baselines]
    saved = len(names) == 1  # of several, the sentences say it
    print_table(
        (report.by.upper(), "REQUESTS", "TOKENS", "TARIFF", "ENGINES", *names, *(("SAVED",) if saved else ())),
        (
            (
                line.name,
                short(line.requests),
                short(line.tokens.prompt + line.tokens.completion),
                money(line.tariff_nano),
                money(line.engine.loaded_nano),
                *(money(one.cost_nano, one.interval_nano) for one in line.baselines),
                *((money(one.savings_nano, one.savings_interval_nano) for one in line.baselines) if saved else ()),
            )
            for line in (*report.lines, report.total)
        ),
    )


def _print_engines(report: CostReport) -> None:
    print_table(
        ("ENGINE COST", "MARGINAL", "BUSY", "LOADED", "MARGIN", "FAILED", "UNPRICED", "UNSETTLED", "UNCOSTED"),
        (_engine_row(line) for line in (*report.lines, report.total)),
    )


def _engine_row(line: CostLine) -> tuple[object, ...]:
    cost = line.engine
    figures = map(money, (cost.marginal_nano, cost.busy_nano, cost.loaded_nano, line.margin_nano))
    counts = (line.failed, line.unpriced, line.unsettled, cost.uncosted)
    return line.name, *figures, *map(short, counts)


def print_explained(report: CostReport) -> None:
    """Every number, opened."""
    for one in explain(report, report.lines):
        say("", f"{one.line}: {one.figure} = {one.value}", f"  {one.formula}")
        say(*(f"  {term}" for term in one.filled))
        if one.version:
            rows = f", lines {', '.join(map(str, one.rows))}" if one.rows else ""
            say(f"  version {one.version}{rows}")
        if one.query:
            say(f"  {one.query}")
    for baseline in report.baselines:
        say("", f"{baseline.name}:", *(f"  {sentence}" for sentence in _assumed(report, baseline.name)))


def _assumed(report: CostReport, name: str) -> Iterator[str]:
    from gateway.cost.baselines import assumptions_said

    (one,) = (baseline for baseline in report.baselines if baseline.name == name)
    yield from assumptions_said(one, report.assumed, report.since_ms, report.until_ms)


def money(nano: int | None, interval: Interval | None = None) -> str | None:
    """Dollars for a table whose columns are all in dollars."""
    return None if nano is None else with_ends(nano, interval)


def short(number: int) -> str:
    """`12345678` → `12.3M`; small ones in full."""
    for unit, letter in UNITS:
        if number >= max(unit, SHORT_FROM):
            shown = Decimal(number) / unit
            return f"{shown:,.{2 if shown < 10 else 1 if shown < 100 else 0}f}{letter}"
    return f"{number:,}"

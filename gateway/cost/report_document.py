"""The cost report as one JSON document: dollars are decimal numbers in text, `null` is not known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from gateway.cost.assumptions import TokenRatio
from gateway.cost.baselines import Baseline, assumptions_said
from gateway.cost.explain import explain
from gateway.cost.intervals import Interval
from gateway.cost.report import BaselineCost, CostLine, CostReport
from gateway.cost.report_words import sentences
from registry.money import nano_to_dollars

RATIO_DIGITS = 6


def document_of(report: CostReport, lines: Sequence[CostLine], *, explained: bool = False) -> dict[str, Any]:
    """With some of its lines, or all; `explained`: with every number of theirs opened."""
    return {
        "by": report.by,
        "tenant": report.tenant,
        "since_ms": report.since_ms,
        "until_ms": report.until_ms,
        "price_version": report.price_version,
        "cost_version": report.engines.cost_version,
        "idle_policy": report.engines.idle_policy,
        "weights": list(report.engines.weights),
        "bill_dollars": dollars(report.engines.bill_nano),
        "baselines": [_baseline(report, one) for one in report.baselines],
        "lines": [line_document(line) for line in lines],
        "total": line_document(report.total),
        "sentences": list(sentences(report)),
        **({"explain": [asdict(one) for one in explain(report, lines)]} if explained else {}),
    }


def mark_of(line: CostLine) -> str:
    """What a line is found again by."""
    return f"{line.kind} {line.tenant or '*'} {line.name}"


def line_document(line: CostLine) -> dict[str, Any]:
    """One line."""
    return {
        "kind": line.kind,
        "tenant": line.tenant,
        "name": line.name,
        "requests": line.requests,
        "failed": line.failed,
        "prompt_tokens": line.tokens.prompt,
        "cached_tokens": line.tokens.cached,
        "completion_tokens": line.tokens.completion,
        "tariff_dollars": dollars(line.tariff_nano),
        "margin_dollars": dollars(line.margin_nano),
        "engine_cost": {
            "marginal_dollars": dollars(line.engine.marginal_nano),
            "busy_dollars": dollars(line.engine.busy_nano),
            "loaded_dollars": dollars(line.engine.loaded_nano),
        },
        "baselines": {one.name: _cost(one) for one in line.baselines},
        "unpriced": line.unpriced,
        "uncosted": line.engine.uncosted,
        "unsettled": line.unsettled,
    }


def dollars(nano: int | None) -> str | None:
    """Nano-dollars as dollars."""
    return None if nano is None else nano_to_dollars(nano)


def _cost(cost: BaselineCost) -> dict[str, Any]:
    return {
        "cost_dollars": dollars(cost.cost_nano),
        "cost_interval_dollars": _ends(cost.interval_nano),
        "label": cost.label,
        "savings_dollars": dollars(cost.savings_nano),
        "savings_interval_dollars": _ends(cost.savings_interval_nano),
        "unlisted": cost.unlisted,
    }


def _ends(interval: Interval | None) -> list[str] | None:
    return None if interval is None else [nano_to_dollars(end) for end in interval]


def _baseline(report: CostReport, one: Baseline) -> dict[str, Any]:
    info = one.info
    ratios = [_ratio(None, one.ratio), *(_ratio(tenant, of) for tenant, of in sorted(one.ratios.items()))]
    return {
        "name": one.name,
        "state": None if info is None else info.state,
        "ends_at_ms": None if info is None else info.ends_at_ms,
        "substitute": None if info is None else info.substitute,
        "tokenizer": None if info is None else info.tokenizer,
        "assumptions": list(assumptions_said(one, report.assumed, report.since_ms, report.until_ms)),
        "token_ratios": ratios,
        "prices": list(_prices(one, report.since_ms, report.until_ms)),
    }


def _prices(one: Baseline, since_ms: int, until_ms: int) -> Iterable[dict[str, Any]]:
    """Of the periods that the window has some of."""
    for period in one.periods:
        if period.from_ms < until_ms and (period.until_ms is None or period.until_ms > since_ms):
            for component, price in sorted(period.components.items()):
                yield {
                    "component": component,
                    "dollars_per_mtok": nano_to_dollars(price.nano_per_mtok),
                    "from_ms": period.from_ms,
                    "until_ms": period.until_ms,
                    "source": price.source,
                    "retrieved_at_ms": price.retrieved_at_ms,
                    "seq": price.seq,
                }


def _ratio(tenant: str | None, ratio: TokenRatio) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "label": ratio.label,
        "prompt": _number(ratio.prompt),
        "prompt_interval": _interval(ratio.prompt_interval),
        "completion": _number(ratio.completion),
        "completion_interval": _interval(ratio.completion_interval),
        "why": ratio.why,
    }


def _interval(interval: tuple[Fraction, Fraction] | None) -> list[float] | None:
    return None if interval is None else [_number(end) for end in interval]


def _number(exact: Fraction) -> float:
    return round(float(exact), RATIO_DIGITS)

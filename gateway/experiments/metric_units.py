"""How differences of a metric are told. Knows no numpy."""

from __future__ import annotations

from registry.experiments.metrics import AUTOMATIC
from registry.experiments.plan import Plan
from registry.experiments.windows import WINDOW

VALUE_OF = {"latency_p95": "latency_ms", "ttft_p95": "ttft_ms"}
"""Quantile → the value of each unit that it is of."""


def is_relative(plan: Plan, metric: str) -> bool:
    """Whether the metric is compared as a part of the control's value: where its margin is one."""
    return any(one.metric == metric and one.relative for one in plan.guardrails)


def is_rate(metric: str) -> bool:
    """Whether values are between 0 and 1 for certain."""
    known = AUTOMATIC.get(metric)
    return known is not None and known.kind == "yes or no"


def value_name(plan: Plan, metric: str) -> str:
    """The value of each unit that a metric is of. A window has its own quantiles, so that their means are compared."""
    return metric if plan.unit == WINDOW else VALUE_OF.get(metric, metric)

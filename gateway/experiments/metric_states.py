"""What is known of one metric of an experiment, whatever its kind: rates, numbers, relative margins, quantiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gateway.experiments.inference.means import MeanDifference
from gateway.experiments.inference.quantiles import QuantileDifference
from gateway.experiments.inference.ratios import RatioDifference
from gateway.experiments.inference.values import Interval
from gateway.experiments.inference.verdicts import Measure
from gateway.experiments.metric_units import is_rate, is_relative, value_name
from registry.experiments.plan import Plan


class MetricState(Protocol):
    """A state of `inference`, folded one unit at a time."""

    def fold(self, arm: int, shares: Sequence[float], value: float) -> Any:
        """With one unit more."""

    def interval(self, alpha: float, arm: int = 1, *, one_sided: bool = False) -> Interval:
        """The treatment less the control, or over it less 1."""

    def written(self) -> dict[str, Any]:
        """A document that JSON knows."""


def is_quantile(plan: Plan, metric: str) -> bool:
    """Whether it is compared by a quantile of units."""
    return value_name(plan, metric) != metric


def kind_of(plan: Plan, metric: str) -> type[Any]:
    """The state that a metric of the plan is compared by."""
    return (
        QuantileDifference
        if is_quantile(plan, metric)
        else RatioDifference
        if is_relative(plan, metric)
        else MeanDifference
    )


def state_of(plan: Plan, metric: str) -> MetricState:
    """Before the first unit."""
    arms = len(plan.arms)
    if kind_of(plan, metric) is MeanDifference:
        return MeanDifference.start(arms, span=1.0 if is_rate(metric) else None)
    state: MetricState = kind_of(plan, metric).start(arms)
    return state


def read_state(plan: Plan, metric: str, document: dict[str, Any]) -> MetricState:
    """What it has written."""
    state: MetricState = kind_of(plan, metric).read(document)
    return state


def interval_of(plan: Plan, metric: str, state: MetricState, alpha: float, arm: int, *, one_sided: bool) -> Interval:
    """Of a treatment by its number."""
    if isinstance(state, QuantileDifference):
        return state.interval(alpha, arm, relative=is_relative(plan, metric), one_sided=one_sided)
    return state.interval(alpha, arm, one_sided=one_sided)


def measure_of(plan: Plan, metric: str, direction: str, margin: float, *, rate: bool) -> Measure:
    """How a difference of the metric is told; `rate`: all of its values so far are shares of what is yes or no."""
    higher = direction == "higher"
    if is_relative(plan, metric):
        return Measure(metric, "percent", higher, margin)
    return Measure(metric, "points" if rate else "plain", higher, margin)


def value_of(plan: Plan, metric: str, values: Mapping[str, float]) -> float | None:
    """Of one unit; None where nothing is known."""
    return values.get(value_name(plan, metric))

"""Every metric of an experiment, arm against control, as units become mature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from gateway.experiments.history import Look
from gateway.experiments.inference.means import MeanDifference
from gateway.experiments.inference.ratios import RatioDifference
from gateway.experiments.inference.several import shared_alpha
from gateway.experiments.inference.values import Interval, finite
from gateway.experiments.inference.verdicts import Measure, Verdict, guardrail, joint, missingness, verdict
from gateway.experiments.judgement import Judgement
from gateway.experiments.metric_states import (
    MetricState,
    interval_of,
    measure_of,
    read_state,
    state_of,
    value_of,
)
from gateway.experiments.metric_units import is_rate
from registry.experiments.metrics import AUTOMATIC, yes_or_no
from registry.experiments.plan import Plan
from registry.experiments.windows import WINDOW

FROM_USAGE = frozenset(name for name, one in AUTOMATIC.items() if one.source == "usage")
TIMED = frozenset({"latency_ms", "latency_p95", "ttft_ms", "ttft_p95"})
COST = "cost"
MOST_COLD = 0.1
"""Of a unit's prompt tokens, from the prefix cache: a unit with no more is cold."""
STRATA = ("cold", "warm")
SHARED_ENGINES = (
    "biased: arms share engines, so a slow treatment slows the control too, and differences of times look smaller"
)
COLD_CACHE = (
    "biased: a young treatment's prefix cache is cold, which makes it look slower; compare units of one stratum"
)


@dataclass(slots=True)
class Found:
    """Verdicts by treatment; of guardrails, missing values and strata by metric, then treatment."""

    primary: dict[str, Verdict] = field(default_factory=dict)
    guardrails: dict[str, dict[str, Verdict]] = field(default_factory=dict)
    missing: dict[str, dict[str, Verdict]] = field(default_factory=dict)
    joint: dict[str, Verdict] = field(default_factory=dict)
    strata: dict[str, dict[str, Verdict]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Comparisons:
    """Mutable."""

    def __init__(self, plan: Plan) -> None:
        """Before the first unit."""
        self._plan = plan
        self._primary = plan.metric.name
        of_units = () if plan.judged else (self._primary,)
        metrics = tuple(dict.fromkeys((*of_units, *(one.metric for one in plan.guardrails))))
        arms = len(plan.arms)
        self._states = {metric: state_of(plan, metric) for metric in metrics}
        self._judgement = Judgement() if plan.judged else None
        """Instead of a state of the primary metric, where a judge decides."""
        said = [metric for metric in metrics if metric not in FROM_USAGE]
        self._missing = {metric: MeanDifference.start(arms, span=1.0) for metric in said}
        self._rates: dict[str, bool] = {}
        """Metric of feedback → whether all that was said of it so far was yes or no; missing: nothing was said."""
        self._biased = plan.unit != WINDOW and not TIMED.isdisjoint(metrics)
        """Whether times are compared of arms that share engines at the same moment."""
        self._strata = {name: MeanDifference.start(arms) for name in STRATA} if self._biased else {}
        priced = plan.metric.direction == "higher" and self._primary not in FROM_USAGE and not plan.judged
        self._price = RatioDifference.start(arms) if priced else None
        """Dollars per accepted answer, where the primary metric says what is accepted."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those of units' values: the primary one first, then those of guardrails."""
        return tuple(self._states)

    def with_states(self, states: Mapping[str, MetricState]) -> Comparisons:
        """A copy with something else known of its metrics; for looking at, not for folding."""
        made = copy(self)
        made._states = dict(states)
        return made

    def fold(self, arm: int, shares: Sequence[float], values: Mapping[str, float]) -> None:
        """One mature unit of the arm with this number; a metric that it has no value of says nothing of it."""
        for metric, state in self._states.items():
            if (value := value_of(self._plan, metric, values)) is not None:
                self._states[metric] = state.fold(arm, shares, value)
                self._rates[metric] = self._rates.get(metric, True) and yes_or_no(metric) in values
        if not values:
            return
        for metric, missing in self._missing.items():
            self._missing[metric] = missing.fold(arm, shares, float(metric not in values))
        accepted, cost = values.get(self._primary), values.get(COST)
        if self._price is not None and accepted is not None and cost is not None:
            self._price = self._price.fold(arm, shares, cost, accepted)
        time, cached = values.get("ttft_ms"), values.get("cached_share")
        if self._strata and time is not None and cached is not None:
            name = STRATA[cached > MOST_COLD]
            self._strata[name] = self._strata[name].fold(arm, shares, time)

    def judge(self, words: str) -> None:
        """One pair more that was judged (`Judgement.fold`)."""
        assert self._judgement is not None, "the plan says that a judge decides"
        self._judgement = self._judgement.fold(words)

    def primary_intervals(self) -> Iterator[tuple[str, Look]]:
        """Treatment → estimate, low and high of the primary metric."""
        for number, arm in self._treatments():
            interval = self._primary_interval(number)
            ends = finite(float(interval.low)), finite(float(interval.high))
            yield arm, (float(interval.estimate), *ends)

    def _treatments(self) -> list[tuple[int, str]]:
        return [(number, arm) for number, arm in enumerate(self._plan.arms) if number]

    @property
    def _alpha(self) -> float:
        """Of each treatment."""
        return shared_alpha(self._plan.alpha, len(self._plan.treatments))

    def _primary_interval(self, number: int) -> Interval:
        if self._judgement is not None:
            return self._judgement.interval(self._alpha)
        state = self._states[self._primary]
        interval = interval_of(self._plan, self._primary, state, self._alpha, number, one_sided=False)
        return _possible(interval, self._primary_measure())

    def _primary_measure(self) -> Measure:
        metric = self._plan.metric
        return self._measure(metric.name, metric.direction, max(metric.margin, 0.0))

    def _measure(self, metric: str, direction: str, margin: float) -> Measure:
        rate = is_rate(metric) or self._rates.get(metric, False)
        return measure_of(self._plan, metric, direction, margin, rate=rate)

    def found(self) -> Found:
        """What is known of every metric and treatment now."""
        found, alpha = Found(), self._alpha
        for number, arm in self._treatments():
            interval = self._primary_interval(number)
            if self._judgement is not None:
                margin = max(self._plan.metric.margin, 0.0)
                found.primary[arm] = self._judgement.verdict(alpha, margin, arm)
                continue
            found.primary[arm] = verdict(interval, self._primary_measure(), alpha, arm)
            if self._price is not None:
                price = self._price.interval(alpha, number)
                found.joint[arm] = joint(interval, self._primary_measure(), price, alpha, arm)
        found.guardrails = {one.metric: dict(self._guarded(one)) for one in self._plan.guardrails}
        for metric, state in self._missing.items():
            found.missing[metric] = {
                arm: missingness(state.interval(alpha, number).within(1.0), alpha, metric, arm)
                for number, arm in self._treatments()
            }
        for name, state in self._strata.items():
            measure = Measure(f"ttft_ms of units with a {name} prefix cache", "plain", False, 0.0)
            found.strata[name] = {
                arm: guardrail(state.interval(alpha, number), measure, alpha, arm) for number, arm in self._treatments()
            }
        if self._biased:
            found.notes += [SHARED_ENGINES, COLD_CACHE]
        return found

    def _guarded(self, one: Any) -> Iterator[tuple[str, Verdict]]:
        plan = self._plan
        alpha = shared_alpha(plan.alpha, len(plan.guardrails) * len(plan.treatments))
        measure = self._measure(one.metric, one.direction, one.margin)
        for number, arm in self._treatments():
            state = self._states[one.metric]
            interval = interval_of(plan, one.metric, state, alpha, number, one_sided=True)
            yield arm, guardrail(_possible(interval, measure), measure, alpha, arm)

    def written(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "metrics": {metric: state.written() for metric, state in self._states.items()},
            "missing": {metric: state.written() for metric, state in self._missing.items()},
            "rates": dict(self._rates),
            "strata": {name: state.written() for name, state in self._strata.items()},
            "price": None if self._price is None else self._price.written(),
            "judgement": None if self._judgement is None else self._judgement.written(),
        }

    def read(self, document: Mapping[str, Any]) -> None:
        """Go on from what `written` made."""
        states: dict[str, MetricState] = {
            metric: read_state(self._plan, metric, one) for metric, one in document["metrics"].items()
        }
        self._states = states
        self._missing = {metric: MeanDifference.read(one) for metric, one in document["missing"].items()}
        self._rates = dict(document.get("rates", dict.fromkeys(self._states, False)))
        self._strata = {name: MeanDifference.read(one) for name, one in document["strata"].items()}
        price = document["price"]
        self._price = None if price is None else RatioDifference.read(price)
        judgement = document.get("judgement")
        self._judgement = None if judgement is None else Judgement.read(judgement)


def _possible(interval: Interval, measure: Measure) -> Interval:
    """Rates differ by 100 points at most; what else is compared has no such end."""
    return interval.within(1.0) if measure.unit == "points" else interval

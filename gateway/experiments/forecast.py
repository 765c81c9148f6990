"""What would come of a plan: simulated experiments under the very rule by which real ones are decided. Loads numpy.

Of every run units come evenly over the day; each gets an arm by the shares of the ramp's step that its run is at, and
values that are drawn by the traffic's means and variances. They are folded by the states of `inference`, one lane a
run, when their window has passed; at every look `decisions.decide` says what follows in each run.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.experiments.breaker import Breaker
from gateway.experiments.comparing import Comparisons
from gateway.experiments.decisions import Course, decide
from gateway.experiments.inference.lanes import lane
from gateway.experiments.inference.quantiles import QuantileDifference
from gateway.experiments.inference.sample_ratio import SampleRatio
from gateway.experiments.metric_states import state_of
from gateway.experiments.metric_units import is_rate, value_name
from gateway.experiments.standing import Broken, Standing
from registry.days import DAY_MS
from registry.experiments.plan import Plan
from registry.experiments.windows import WINDOW
from registry.wilson import wilson

RUNS = 200
LEAST_BLOCK, GROWTH = 10, 12
"""Units from one look to the next: ten, later a twelfth of all so far. A real one is looked at every few seconds."""
MOST_UNITS = 30_000
"""That a run is followed for: what is not decided then counts as undecided."""
WON, HARMED, UNDECIDED = "won", "harmed", "undecided"
_ENDS = {"promote": WON, "ask": WON, "rollback": HARMED, "pause": HARMED, "inconclusive": UNDECIDED}
Lanes = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Values:
    """Of one metric, of units: mean and variance; of a rate the mean alone."""

    mean: float
    variance: float = 0.0

    def drawn(self, chance: np.random.Generator, shape: tuple[int, int], rate: bool, more: Lanes) -> Lanes:
        """Values of a rate, or lognormal ones; `more` is added to the mean."""
        if rate:
            return (chance.random(shape) < self.mean + more) * 1.0
        if self.mean <= 0:
            return np.asarray(self.mean + more)
        spread = math.log1p(self.variance / self.mean**2)
        alike = self.mean * np.exp(math.sqrt(spread) * chance.standard_normal(shape) - spread / 2)
        return np.asarray(alike * (1 + more / self.mean))


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the adapter's traffic is like: units a day that are in the audience, and metric → values.

    Of `latency_p95` and `ttft_p95` the values are those of `latency_ms` and `ttft_ms`, unless units are windows, which
    have their own. What has none is taken to be 0 for every unit.
    """

    units_a_day: float
    values: Mapping[str, Values]
    rates: frozenset[str] = frozenset()
    """Metrics of feedback whose values are 0 and 1."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What came of the runs. Days and units are of all runs: the median, and what nine of ten stay below."""

    runs: int
    won: float
    """The share of runs that a treatment won: the power, if it is better."""
    won_low: float
    won_high: float
    harmed: float
    undecided: float
    days: tuple[float, float]
    units: tuple[int, int]
    treated: tuple[int, int]
    """Units that met a treatment."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Code of the last decision → runs."""


def forecast(
    plan: Plan, traffic: Traffic, effects: Mapping[str, float] | None = None, *, runs: int = RUNS, seed: int = 0
) -> Forecast:
    """Run it so often. `effects`: metric → by how much treatments differ from the control, in the metric's own unit;
    none means that they are all the same. Raises `ValueError` without traffic.
    """
    if not traffic.units_a_day > 0:
        raise ValueError(f"units_a_day is {traffic.units_a_day:g}; without traffic an experiment has no end")
    simulation = _Simulation(plan, traffic, effects or {}, runs, seed)
    total = min(plan.budget.units, math.ceil(traffic.units_a_day * plan.budget.days), MOST_UNITS)
    while simulation.going.any() and simulation.met < total:
        simulation.go_on(min(max(LEAST_BLOCK, simulation.met // GROWTH), total - simulation.met))
    return simulation.told()


class _Simulation:
    """All runs at once. Mutable."""

    def __init__(self, plan: Plan, traffic: Traffic, effects: Mapping[str, float], runs: int, seed: int) -> None:
        self._plan, self._traffic, self._effects = plan, traffic, effects
        self._chance = np.random.default_rng(seed)
        self._unit_ms = DAY_MS / traffic.units_a_day
        self._comparisons = Comparisons(plan)
        self._states: dict[str, Any] = {name: state_of(plan, name) for name in self._comparisons.metrics}
        for name, state in self._states.items():
            if isinstance(state, QuantileDifference):
                self._states[name] = [state] * runs
        self._ratio = SampleRatio.start(len(plan.arms))
        self._breakers = [dict.fromkeys(plan.treatments, Breaker()) for _ in range(runs)]
        self._young: deque[tuple[float, Lanes, Lanes, Mapping[str, Lanes]]] = deque()
        self._shares = np.array([list(plan.weights_at(step).values()) for step in range(len(plan.ramp))]) / 10_000
        self.met = 0
        self._counts = np.zeros((len(plan.arms), runs), np.int64)
        self._on_step = np.zeros(runs, np.int64)
        self._step, self._stepped_ms = np.zeros(runs, np.int64), np.zeros(runs)
        self.going = np.ones(runs, np.bool_)
        self._ends: list[tuple[str, str, float, int, int]] = []

    def go_on(self, count: int) -> None:
        """So many units more in every run, and a look."""
        runs = len(self.going)
        shares = self._shares[self._step].T
        drawn = self._chance.random((count, runs))
        arms = (drawn[:, None, :] >= np.cumsum(shares, axis=0)[None, :-1, :]).sum(axis=1)
        values = {name: self._values(name, arms) for name in {value_name(self._plan, one) for one in self._states}}
        for unit in arms:
            self._ratio = self._ratio.fold(unit, list(shares))
        self._counts += np.stack([(arms == arm).sum(axis=0) for arm in range(len(shares))])
        self._on_step += (arms > 0).sum(axis=0)
        self._note_failures(arms, values.get("errors"), shares)
        self.met += count
        self._young.append((self.met * self._unit_ms + self._plan.metric.window_s * 1000, arms, shares, values))
        now_ms = self.met * self._unit_ms
        while self._young and self._young[0][0] <= now_ms:
            self._fold(*self._young.popleft()[1:])
        for run in np.flatnonzero(self.going):
            self._look(int(run), now_ms)

    def _values(self, metric: str, arms: Lanes) -> Lanes:
        known = self._traffic.values.get(metric, Values(0.0))
        more = self._effects.get(metric, 0.0) * (arms > 0)
        rate = self._plan.unit != WINDOW and (is_rate(metric) or metric in self._traffic.rates)
        return known.drawn(self._chance, arms.shape, rate, more)

    def _note_failures(self, arms: Lanes, failed: Lanes | None, shares: Lanes) -> None:
        if failed is None or self._plan.unit == WINDOW:  # a window's rate is no failure of it
            return
        for unit, run in zip(*np.nonzero(failed * self.going), strict=True):
            arm = int(arms[unit, run])
            for number, treatment in enumerate(self._plan.treatments, start=1):
                if arm in (0, number):
                    share = shares[number, run] / (shares[number, run] + shares[0, run])
                    breakers = self._breakers[run]
                    breakers[treatment] = breakers[treatment].failed(arm == number, float(share))

    def _fold(self, arms: Lanes, shares: Lanes, values: Mapping[str, Lanes]) -> None:
        for name, state in self._states.items():
            of = values[value_name(self._plan, name)]
            if isinstance(state, list):
                for run in np.flatnonzero(self.going):
                    state[run] = state[run].fold(arms[:, run], [float(one) for one in shares[:, run]], of[:, run])
                continue
            for unit, value in zip(arms, of, strict=True):
                state = state.fold(unit, list(shares), value)
            self._states[name] = state

    def _look(self, run: int, now_ms: float) -> None:
        plan, step = self._plan, int(self._step[run])
        course = Course(step, round(self._stepped_ms[run]), 0, split=step)
        move = decide(plan, self._standing(run, step), course, round(now_ms))
        if move.kind == "ramp":
            self._step[run], self._stepped_ms[run], self._on_step[run] = step + 1, now_ms, 0
        elif move.kind in _ENDS:
            self._end(run, _ENDS[move.kind], move.code)

    def _standing(self, run: int, step: int) -> Standing:
        states = {
            name: state[run] if isinstance(state, list) else lane(state, run) for name, state in self._states.items()
        }
        found = self._comparisons.with_states(states).found()
        breakers = {
            arm: Broken(one.log_e, one.candidate, one.control, one.is_open(len(self._plan.treatments)))
            for arm, one in self._breakers[run].items()
        }
        return Standing(
            units=dict(zip(self._plan.arms, (int(count) for count in self._counts[:, run]), strict=True)),
            on_split={str(step): int(self._on_step[run])},
            breakers=breakers,
            ratio_alarms=bool(np.atleast_1d(self._ratio.alarms())[run]),
            primary=found.primary,
            guardrails=found.guardrails,
        )

    def _end(self, run: int, how: str, code: str) -> None:
        self.going[run] = False
        treated = int(self._counts[1:, run].sum())
        self._ends.append((how, code, self.met * self._unit_ms / DAY_MS, self.met, treated))

    def told(self) -> Forecast:
        """What came of it."""
        for run in np.flatnonzero(self.going):
            self._end(int(run), UNDECIDED, "units")
        runs, ways = len(self._ends), [end[0] for end in self._ends]
        won_low, won_high = wilson(ways.count(WON), runs)
        codes = [f"{how}: {code}" for how, code, *_ in self._ends]
        days, units, treated = (self._spread(index) for index in (2, 3, 4))
        return Forecast(
            runs=runs,
            won=ways.count(WON) / runs,
            won_low=won_low,
            won_high=won_high,
            harmed=ways.count(HARMED) / runs,
            undecided=ways.count(UNDECIDED) / runs,
            days=(float(f"{days[0]:.3g}"), float(f"{days[1]:.3g}")),
            units=(round(units[0]), round(units[1])),
            treated=(round(treated[0]), round(treated[1])),
            reasons={code: codes.count(code) for code in sorted(set(codes))},
        )

    def _spread(self, index: int) -> tuple[float, float]:
        found = [float(end[index]) for end in self._ends]
        return float(np.quantile(found, 0.5)), float(np.quantile(found, 0.9))

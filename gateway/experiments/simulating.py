"""What a plan would come to on the adapter's own traffic: asked here, and answered by a child, which alone loads numpy.

`python -m gateway.experiments.simulating` reads one `Question` as JSON from its standard input and writes what came of
it, or `{"fault": …}`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

import orjson

from gateway.experiments.metric_units import is_rate, value_name
from registry.children.asked import ChildGone, ChildSlow, ask_once
from registry.children.mouth import Mouth
from registry.errors import Conflict, InvalidInput, RegistryError
from registry.experiments.plan import Plan
from registry.experiments.traffic import PastTraffic

ERRORS_OF_A_BROKEN_ONE = 0.2
NICENESS = 10
WITHIN_S = 120.0
_ONE_AT_A_TIME = Lock()


@dataclass(frozen=True, slots=True)
class Question:
    """A plan that is complete, what traffic was like, and what is assumed. Raises `InvalidInput` for what no simulation
    can tell.
    """

    plan: Plan
    past: PastTraffic
    units_a_day: float
    effect: float = 0.0
    """By how much a treatment differs on the primary metric, in its own unit."""
    control_mean: float | None = None
    """Of the primary metric, where traffic does not tell it."""
    runs: int = 200

    def __post_init__(self) -> None:
        plan = self.plan
        if not self.units_a_day > 0:
            raise InvalidInput("units_a_day is not known: there was no traffic; say how many", param="units_a_day")
        if plan.judged:
            raise InvalidInput(
                f"metric is {plan.metric.name}, of pairs that a judge decides, and traffic does not tell whom it "
                "prefers; docs/statistics.md says how many pairs find what: one that wins 60 % of them is found after "
                "about 200",
                param="metric",
            )
        if self.control_mean is None and plan.metric.name not in ("errors", *self.past.values):
            raise InvalidInput(
                f"control_mean is not known: traffic does not tell {plan.metric.name!r}; say what it is, such as 0.6",
                param="control_mean",
            )
        if is_rate(plan.metric.name):
            self._within_rate()

    def _within_rate(self) -> None:
        """A mean of what is either 0 or 1, and a difference of two."""
        name = self.plan.metric.name
        if self.control_mean is not None and not 0 <= self.control_mean <= 1:
            raise InvalidInput(
                f"control_mean is {self.control_mean:g}, and {name} is a part of all: from 0 to 1, such as 0.05",
                param="control_mean",
            )
        if not -1 <= self.effect <= 1:
            raise InvalidInput(
                f"effect is {self.effect:g}, and {name} is a part of all: from -1 to 1, such as 0.02 for two points",
                param="effect",
            )

    @property
    def left_out(self) -> tuple[str, ...]:
        """Guardrails on numbers that nothing is known of: between arms that are 0, nothing is ever certain. A rate of
        which nothing is known is 0.
        """
        plan = self.plan
        return tuple(
            one.metric
            for one in plan.guardrails
            if not is_rate(one.metric) and value_name(plan, one.metric) not in self.past.values
        )

    @property
    def cases(self) -> dict[str, dict[str, float]]:
        """What is assumed of a treatment, in words → by metric, by how much it differs."""
        metric = self.plan.metric.name
        cases: dict[str, dict[str, float]] = {"is no different": {}}
        if self.effect:
            cases[f"differs by {self.effect:+g} on {metric}"] = {metric: self.effect}
        cases[f"fails {ERRORS_OF_A_BROKEN_ONE:.0%} more of its requests"] = {"errors": ERRORS_OF_A_BROKEN_ONE}
        return cases

    def written(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "plan": self.plan.document,
            "past": asdict(self.past),
            "units_a_day": self.units_a_day,
            "effect": self.effect,
            "control_mean": self.control_mean,
            "runs": self.runs,
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Question:
        """What `written` made."""
        past = document["past"]
        values = {name: (mean, variance) for name, (mean, variance) in past["values"].items()}
        return cls(
            **{**document, "plan": Plan.stored(document["plan"]), "past": PastTraffic(**{**past, "values": values})}
        )


def asked(question: Question, within_s: float = WITHIN_S) -> dict[str, Any]:
    """Case in words → what came of its runs (`gateway.experiments.forecast.Forecast` as JSON). Blocks.

    Raises `Conflict` while another simulation runs here, and for one that takes longer; `InvalidInput` for a plan that
    cannot be simulated.
    """
    if not _ONE_AT_A_TIME.acquire(blocking=False):
        raise Conflict("another simulation runs; try again when it has ended", param="runs")
    try:
        said = ask_once(
            "the simulation", (sys.executable, "-m", __name__), orjson.dumps(question.written()), within_s=within_s
        )
    except ChildSlow:
        raise Conflict(
            f"runs is {question.runs}, which takes longer than {within_s:g} s; ask for fewer", param="runs"
        ) from None
    except ChildGone as gone:
        raise RegistryError(f"the simulation failed: {gone}") from None
    finally:
        _ONE_AT_A_TIME.release()
    answer: dict[str, Any] = orjson.loads(said)
    if "fault" in answer:
        raise InvalidInput(f"plan cannot be simulated: {answer['fault']}", param="plan")
    return answer


def main() -> int:
    """The child: requests go first."""
    os.nice(NICENESS)
    mouth = Mouth()
    try:
        found = _simulated(Question.read(orjson.loads(sys.stdin.buffer.read())))
    except (RegistryError, ArithmeticError, ValueError) as error:
        found = {"fault": f"{error}"[:1000]}
    mouth.say(orjson.dumps(found) + b"\n")
    return 0


def _simulated(question: Question) -> dict[str, Any]:
    from gateway.experiments.forecast import Traffic, Values, forecast

    kept = [one for one in question.plan.guardrails if one.metric not in question.left_out]
    plan = question.plan.model_copy(update={"guardrails": kept})
    metric = plan.metric.name
    values = {name: Values(mean, variance) for name, (mean, variance) in question.past.values.items()}
    assumed = question.control_mean
    if assumed is not None:
        values[metric] = Values(assumed)
    traffic = Traffic(question.units_a_day, values, frozenset({metric}) if assumed is not None else frozenset())
    return {
        what: asdict(forecast(plan, traffic, effects, runs=question.runs)) for what, effects in question.cases.items()
    }


if __name__ == "__main__":
    sys.exit(main())

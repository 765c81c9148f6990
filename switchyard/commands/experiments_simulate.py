"""`switchyard experiments simulate`: how long a plan would take on the adapter's own traffic, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from registry.errors import InvalidInput
from registry.names import PRODUCTION, parse_whole_adapter
from switchyard.commands.experiment_plans import plan_of
from switchyard.console import print_json, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from gateway.experiments.forecast import Forecast
    from registry.experiments.plan import Plan
    from registry.experiments.traffic import PastTraffic

ERRORS_OF_A_BROKEN_ONE = 0.2


def simulate(
    adapter: str = typer.Argument(help="tenant/adapter."),
    versions: list[str] = typer.Argument(None, help="Versions that would be tried, such as 1.1."),
    plan_file: Path | None = typer.Option(None, "--plan", help="The plan, as `experiments create` takes it."),
    alias: str = typer.Option(PRODUCTION, "--alias", help="The alias whose traffic is meant."),
    effect: float | None = typer.Option(
        None, "--effect", help="By how much a treatment differs on the primary metric, in its own unit. Default: 0."
    ),
    control_mean: float | None = typer.Option(
        None, "--control-mean", help="Of the primary metric, where nothing is known of it: 0.6 is 60 %."
    ),
    units_a_day: float | None = typer.Option(None, "--units-a-day", help="Instead of those of the last 7 days."),
    runs: int = typer.Option(200, "--runs", min=10, max=2_000, help="Simulated experiments."),
    json_output: bool = JsonFlag,
) -> None:
    """Say how long a plan would take on the traffic that there was, and how likely it finds what is there."""
    ref = parse_whole_adapter(adapter)
    with open_registry() as registry:
        plan = registry.experiments.completed(ref, plan_of(plan_file, versions or []), alias=alias)
        past = registry.experiments.traffic.of(ref, plan.window_ms)
    rate = units_a_day if units_a_day is not None else past.units_a_day
    if not rate > 0:
        raise InvalidInput(f"units_a_day is not known: {adapter} had no traffic; say how many", param="units_a_day")
    if plan.judged:
        raise InvalidInput(
            f"metric is {plan.metric.name}, of pairs that a judge decides, and traffic does not tell whom it prefers; "
            "docs/statistics.md says how many pairs find what: one that wins 60 % of them is found after about 200",
            param="metric",
        )
    if control_mean is None and plan.metric.name not in ("errors", *past.values):
        raise InvalidInput(
            f"control_mean is not known: traffic does not tell {plan.metric.name!r}; say what it is, such as 0.6",
            param="control_mean",
        )
    plan, left_out = _without_unknown(plan, past)
    found = _simulated(plan, past, rate, effect or 0.0, control_mean, runs)
    if json_output:
        print_json({"units_a_day": rate, "traffic": past, "left_out": left_out, "runs": found})
        return
    say(
        f"traffic of the last 7 days: {past.requests} requests of {past.units} {plan.counted}s; "
        f"{rate:,.0f} {plan.counted}s a day"
        + ("" if past.exact else " (requests are taken for units: nothing split them yet)")
    )
    if left_out:
        say(f"not simulated, as nothing is known of them: guardrails on {', '.join(left_out)}")
    say(*(f"if it {what}: {_told(one, plan.counted)}" for what, one in found.items()))


def _without_unknown(plan: Plan, past: PastTraffic) -> tuple[Plan, list[str]]:
    """The plan without guardrails on numbers that nothing is known of, and which: between arms that are 0, nothing is
    ever certain. A rate of which nothing is known is 0.
    """
    from gateway.experiments.metric_states import is_rate, value_name

    unknown = [
        one.metric
        for one in plan.guardrails
        if not is_rate(one.metric) and value_name(plan, one.metric) not in past.values
    ]
    kept = [one for one in plan.guardrails if one.metric not in unknown]
    return plan.model_copy(update={"guardrails": kept}), unknown


def _simulated(
    plan: Plan, past: PastTraffic, rate: float, effect: float, control_mean: float | None, runs: int
) -> Mapping[str, Forecast]:
    """What is → what would come of it."""
    from gateway.experiments.forecast import Traffic, Values, forecast

    metric = plan.metric.name
    values = {name: Values(mean, variance) for name, (mean, variance) in past.values.items()}
    if control_mean is not None:
        values[metric] = Values(control_mean)
    traffic = Traffic(rate, values, frozenset({metric}) if control_mean is not None else frozenset())
    cases: dict[str, dict[str, float]] = {"is no different": {}}
    if effect:
        cases[f"differs by {effect:+g} on {metric}"] = {metric: effect}
    cases[f"fails {ERRORS_OF_A_BROKEN_ONE:.0%} more of its requests"] = {"errors": ERRORS_OF_A_BROKEN_ONE}
    return {what: forecast(plan, traffic, effects, runs=runs) for what, effects in cases.items()}


def _told(found: Any, counted: str) -> str:
    shares = f"wins in {found.won:.0%}, is rolled back in {found.harmed:.0%}, undecided in {found.undecided:.0%}"
    days = f"{found.days[0]:.3g} days ({found.units[0]} {counted}s) in the middle, {found.days[1]:.3g} in nine of ten"
    return f"{shares} of {found.runs} runs; {days}; {found.treated[0]} {counted}s meet it"

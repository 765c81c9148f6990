"""What a plan would come to: by the rule that decides real experiments, over the tenant's own traffic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.experiments.forecast import Traffic, Values, forecast
from registry.experiments.plan import Plan

RUNS = 12
TRAFFIC = Traffic(
    2_000,
    {"errors": Values(0.02), "latency_ms": Values(500.0, 200.0**2), "accepted": Values(0.6)},
    frozenset({"accepted"}),
)


def plan(**changes: object) -> Plan:
    ramp = [{"percent": percent, "dwell_s": 600, "min_units": 50} for percent in (10, 50, 100)]
    guardrails = [{"metric": "errors", "margin": 0.03}]
    given = {
        "treatments": ["1.1"],
        "control": "1.0",
        "ramp": ramp,
        "guardrails": guardrails,
        "budget": {"units": 2_500},
    }
    return Plan.of({**given, **changes})


def test_a_version_that_fails_a_fifth_of_its_units_is_rolled_back_in_every_run_before_many_have_met_it() -> None:
    found = forecast(plan(), TRAFFIC, {"errors": 0.2}, runs=RUNS)
    assert found.harmed == 1
    assert found.treated[1] < 200
    assert sum(found.reasons.values()) == RUNS
    assert all(code.startswith("harmed") for code in found.reasons)


def test_a_version_that_is_much_better_wins_and_its_days_are_those_of_its_units() -> None:
    metric = {"name": "accepted", "direction": "higher", "margin": 0.0, "window_s": 0}
    found = forecast(plan(metric=metric), TRAFFIC, {"accepted": 0.2}, runs=RUNS)
    assert found.won >= 0.9
    assert found.won_low < found.won <= found.won_high
    assert found.days[0] == pytest.approx(found.units[0] / TRAFFIC.units_a_day, rel=0.01)
    assert found.days[0] <= found.days[1]
    same = forecast(plan(metric=metric), TRAFFIC, runs=RUNS)
    assert same.won + same.harmed < 0.3 < same.undecided
    assert forecast(plan(metric=metric), TRAFFIC, runs=RUNS) == same


def test_several_treatments_and_guardrails_of_quantiles_are_simulated_too() -> None:
    guardrails = [{"metric": "latency_p95", "margin": 0.5, "relative": True}]
    given = plan(treatments=["1.1", "1.2"], guardrails=guardrails, budget={"units": 1_500})
    found = forecast(given, TRAFFIC, {"latency_ms": 1_000.0}, runs=4)
    assert found.harmed == 1
    assert set(found.reasons) == {"harmed: guardrail"}


def test_a_metrics_window_must_pass_before_anything_is_known() -> None:
    late = {"name": "refusal", "direction": "lower", "margin": 0.01, "window_s": 21_600}
    found = forecast(plan(metric=late), TRAFFIC, {"refusal": 0.5}, runs=4)
    assert found.harmed == 1
    assert 0.25 < found.days[0] < 1.25


def test_without_traffic_there_is_no_forecast() -> None:
    with pytest.raises(ValueError, match="units_a_day is 0; without traffic an experiment has no end"):
        forecast(plan(), replace(TRAFFIC, units_a_day=0.0))

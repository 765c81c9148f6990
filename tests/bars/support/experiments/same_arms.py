"""Experiments whose arms are the same (A/A), by the whole rule: how many are rolled back, and how many are won."""

from __future__ import annotations

from pathlib import Path

from gateway.experiments.forecast import Traffic, Values, forecast
from registry.experiments.plan import Plan
from registry.wilson import wilson
from tests.bars.support.experiments import Part

RUNS, LEAST_RUNS, UNITS = 200, 20, 10_000
PLAN = {
    "treatments": ["1.1"],
    "control": "1.0",
    "metric": {"name": "accepted", "direction": "higher", "margin": 0.0},
    "budget": {"units": UNITS},
}
"""The usual ramp and guardrails; a win is a treatment that is better."""
TRAFFIC = Traffic(
    units_a_day=5_000,
    values={
        "accepted": Values(0.6),
        "errors": Values(0.01),
        "empty": Values(0.01),
        "latency_ms": Values(800.0, 600.0**2),
    },
    rates=frozenset({"accepted"}),
)


def measure(folder: Path, scale: float) -> Part:
    """All runs at once; neither happens more often than alpha says."""
    runs, plan = max(LEAST_RUNS, int(RUNS * min(1.0, scale))), Plan.of(PLAN)
    found = forecast(plan, TRAFFIC, runs=runs, seed=51)
    harmed, won = round(found.harmed * runs), round(found.won * runs)
    allowed = plan.alpha * runs
    return Part(
        figures={"aa_rollbacks": harmed, "aa_wins": won},
        bars={
            f"of {runs} experiments with the same arms at most {allowed:g} are rolled back": harmed <= allowed,
            "and no more are won than alpha says": wilson(won, runs)[0] <= plan.alpha,
        },
        detail={"same_arms": {"runs": runs, **found.reasons}},
    )

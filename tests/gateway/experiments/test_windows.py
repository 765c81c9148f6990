"""Experiments whose units are windows of time: what they find where arms share engines, and how a broken one ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gateway.experiments.analyst import step
from gateway.experiments.comparing import Comparisons
from gateway.experiments.deciding import Decider
from gateway.experiments.forecast import Traffic as Expected
from gateway.experiments.forecast import Values, forecast
from gateway.experiments.inference.verdicts import Verdict
from gateway.experiments.replay import Replay
from gateway.experiments.standing import Standing
from registry.db import now_ms
from registry.experiments.export import export, read_export
from registry.experiments.plan import Plan
from registry.fleet.leadership import Lease
from tests.support.experiment_parts import Traffic, begun, carried_out
from tests.support.stack import House

EVEN = (0.5, 0.5)
LATENCY: dict[str, Any] = {"metric": "latency_p95", "margin": 0.5, "relative": True}
PLAN: dict[str, Any] = {"treatments": ["1.1"], "control": "1.0", "guardrails": [LATENCY]}
WORK, BUSY = 1.3, 0.5
"""Of the treatment's answers, where the control's is 1; and of an engine that the control has alone."""
TRUTH = WORK * (1 - BUSY) / (1 - BUSY * WORK) - 1
"""By how much all times are longer when all traffic is the treatment's."""
REQUESTS = 60
"""That come in a window."""
WINDOW_MS = 60_000


def slowed(work: float, load: float) -> float:
    """How long an answer takes on an engine that is so busy with others."""
    return work / (1 - load)


def by_units(chance: np.random.Generator, comparisons: Comparisons, units: int) -> Verdict:
    """Conversations of both arms on one engine at the same time."""
    load = BUSY * (1 + WORK) / 2
    for _ in range(units):
        arm = int(chance.random() < 0.5)
        time = slowed(WORK if arm else 1.0, load) * 100 * chance.lognormal(sigma=0.5)
        comparisons.fold(arm, EVEN, {"latency_ms": time})
    return comparisons.found().guardrails["latency_p95"]["1.1"]


def by_windows(chance: np.random.Generator, comparisons: Comparisons, windows: int) -> Verdict:
    """Each window has one arm alone, after what the one before has left behind is done."""
    for _ in range(windows):
        arm = int(chance.random() < 0.5)
        work = WORK if arm else 1.0
        times = slowed(work, BUSY * work) * 100 * chance.lognormal(sigma=0.5, size=REQUESTS)
        comparisons.fold(arm, EVEN, {"latency_p95": float(np.quantile(times, 0.95))})
    return comparisons.found().guardrails["latency_p95"]["1.1"]


def test_where_arms_slow_each_other_down_units_misjudge_times_and_windows_do_not() -> None:
    together = by_units(np.random.default_rng(7), Comparisons(Plan.of(PLAN)), 6_000)
    apart = by_windows(np.random.default_rng(7), Comparisons(Plan.of({**PLAN, "unit": "window"})), 600)
    assert together.low is not None
    assert together.high is not None
    assert apart.low is not None
    assert apart.high is not None
    assert together.word == "non_inferior"
    assert together.high < 0.5 < TRUTH, "certain, and wrong"
    assert apart.word == "worse"
    assert apart.low < TRUTH < apart.high
    ends = (together.low, together.high, apart.low, apart.high)
    assert [round(100 * end) for end in ends] == [8, 40, 80, 95], "as docs/experiments.md has them"


def test_times_of_windows_are_not_marked_as_biased() -> None:
    assert len(Comparisons(Plan.of(PLAN)).found().notes) == 2
    found = Comparisons(Plan.of({**PLAN, "unit": "window"})).found()
    assert (found.notes, found.strata) == ([], {})


def test_a_plan_of_windows_is_simulated_by_values_of_windows() -> None:
    plan = Plan.of({**PLAN, "unit": "window", "metric": {"name": "latency_p95", "margin": 0.0}})
    expected = Expected(1_440, {"latency_p95": Values(300.0, 900.0), "errors": Values(0.01, 1e-4)})
    slower = forecast(plan, expected, {"latency_p95": 300.0}, runs=20)
    assert slower.harmed == 1
    assert slower.units[1] <= 1_000
    faster = forecast(plan, expected, {"latency_p95": -30.0}, runs=20)
    assert faster.won >= 0.9


@pytest.fixture
def traffic(house: House) -> Traffic:
    """Of an experiment with windows of a minute."""
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    return Traffic(house.registry, begun(house.registry, unit="window"))


@pytest.fixture
def lease(house: House) -> Lease:
    found = house.registry.leadership.acquire("test", "here")
    assert found is not None
    return found


def requests(traffic: Traffic, window: int, arm: str, *, failing: bool) -> Iterator[dict[str, Any]]:
    """One a second."""
    for second in range(60):
        at_ms = window * WINDOW_MS + 1000 * second
        own = {"request_id": f"{at_ms:012x}{traffic.number:020x}", "unit_source": "window"}
        make = traffic.failed if failing else traffic.row
        yield make(f"window:{window}", arm, started_at_ms=at_ms, **own)


def look(traffic: Traffic, lease: Lease) -> None:
    """As the leader does it, and its swap at once."""
    step(traffic.registry.experiments.analysis, traffic.info.id, lease.token, 0)
    Decider(traffic.registry, lease.token).decide(traffic.info.id)
    traffic.info = carried_out(traffic.registry, traffic.info.id)


def state(traffic: Traffic) -> str:
    return traffic.info.state


def differences(traffic: Traffic) -> list[str]:
    """What comes out otherwise when the log is made again."""
    found = read_export(json.dumps(line) for line in export(traffic.registry.db, str(traffic.info.id)))
    replayed = Replay(found.plan, found.shares, found.units).run(found.log)
    return [one for line in replayed for one in line.differences]


def test_a_treatment_that_fails_its_window_is_rolled_back_before_the_window_is_over(
    traffic: Traffic, lease: Lease
) -> None:
    window = now_ms() // WINDOW_MS - 3
    traffic.book(*requests(traffic, window, "1.0", failing=False))
    look(traffic, lease)
    broken = list(requests(traffic, window + 1, "1.1", failing=True))
    traffic.book(*broken[:10])
    look(traffic, lease)
    assert state(traffic) == "running", "ten seconds may be a moment's trouble"
    traffic.book(*broken[10:16])
    look(traffic, lease)
    assert state(traffic) == "rolled_back"
    last = traffic.registry.experiments.decisions(traffic.info.id)[-1]
    assert last.reason == "1.1 failed 1 window while 1.0 failed 0: most requests of a window"
    assert differences(traffic) == []


def test_an_outage_that_began_in_a_window_of_the_control_is_not_the_treatments(traffic: Traffic, lease: Lease) -> None:
    window = now_ms() // WINDOW_MS - 3
    for number, arm in enumerate(("1.0", "1.1")):
        traffic.book(*requests(traffic, window + number, arm, failing=True))
        look(traffic, lease)
    assert state(traffic) == "running"
    standing = Standing.of(traffic.registry.experiments.get(traffic.info.id).standing["standing"])  # type: ignore[index]
    assert (standing.breakers["1.1"].candidate, standing.breakers["1.1"].control) == (1, 1)

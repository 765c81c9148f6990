"""Experiments that decide by themselves: a whole gateway, its leader and analyst, and a mock engine that fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from gateway.engines.names import short_digest
from registry.errors import Conflict
from registry.experiments.infos import Decision, DecisionInfo, ExperimentInfo
from registry.names import parse_ref
from registry.splits.ranges import FULL_WEIGHT
from tests.support.deciding_stack import TRIAGE, deciding_stack, pointed_at
from tests.support.deciding_stack import begun as deciding_begun
from tests.support.stack import Stack
from tests.support.waiting import wait_until

ONE, TWO = "acme/triage@1.0", "acme/triage@1.1"
MANY = 100_000
QUICK: dict[str, Any] = {"metric": {"name": "errors", "window_s": 0, "margin": 0.05}, "guardrails": []}
UNITS = count()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with deciding_stack(tmp_path_factory.mktemp("experiments")) as stack:
        yield stack


@pytest.fixture
def running(stack: Stack) -> Iterator[Stack]:
    """The same; whatever experiment a test leaves behind is ended, and faults are gone."""
    yield stack
    stack.heal()
    for info in stack.house.registry.experiments.under_way():
        stopped(stack, info)
    newest = stack.house.registry.experiments.find("acme/triage")
    wait_until("its last swap to end", lambda: not now(stack, newest).moving)
    if pointed_at(stack) != "1.0":
        stack.house.promote("acme/triage", "1.0")


def begun(stack: Stack, **plan: Any) -> ExperimentInfo:
    """An experiment whose first step routes."""
    return deciding_begun(stack, {**QUICK, **plan})


def now(stack: Stack, info: ExperimentInfo) -> ExperimentInfo:
    return stack.house.registry.experiments.get(info.id)


def stopped(stack: Stack, info: ExperimentInfo) -> None:
    def stop() -> bool:
        try:
            stack.house.registry.experiments.decide(info.id, Decision("stop", "the test is over"))
        except Conflict:  # a swap is under way, or it has ended
            return now(stack, info).ended_at_ms is not None
        return True

    wait_until("it to be stopped", stop)
    wait_until("it to end", lambda: now(stack, info).ended_at_ms and not now(stack, info).moving)


def log_of(stack: Stack, info: ExperimentInfo) -> list[DecisionInfo]:
    return stack.house.registry.experiments.decisions(info.id)


def ask(stack: Stack, requests: int) -> None:
    """One request each of so many new units."""
    for _ in range(requests):
        stack.chat("acme/triage", headers={"X-Switchyard-Unit": f"unit {next(UNITS)}"})


def asked_until(stack: Stack, what: str, done: Callable[[], Any]) -> None:
    """New units go on asking until it is so."""

    def asked_or_done() -> bool:
        ask(stack, 10)
        return bool(done())

    wait_until(what, asked_or_done)


def fail(stack: Stack, version: str, share: float) -> None:
    """Such a part of the version's requests gets a 500 from the engine."""
    digest = stack.house.registry.adapters.get(parse_ref(version)).manifest_digest
    stack.faults(fail_share=share, fail_share_with=short_digest(digest))


def test_a_canary_that_fails_is_rolled_back_by_the_breaker_before_any_statistics(running: Stack) -> None:
    info = begun(running, ramp=[{"percent": 20, "dwell_s": 3_600, "min_units": MANY}])
    fail(running, TWO, 1.0)
    asked_until(running, "the rollback", lambda: now(running, info).ended_at_ms)
    assert now(running, info).state == "rolled_back"
    last = log_of(running, info)[-1]
    assert (last.kind, last.figures["code"], last.weights) == ("rollback", "broken", {"1.0": FULL_WEIGHT})
    assert last.figures["standing"]["cursor"]["folded"] < 200
    assert running.house.registry.splits.history(TRIAGE)[-1].ended_at_ms is not None
    served = [running.chat("acme/triage", headers={"X-Switchyard-Unit": f"after {n}"}) for n in range(20)]
    assert {answer.headers["x-switchyard-model"] for answer in served} == {ONE}
    assert {answer.status_code for answer in served} == {200}


def test_a_treatment_that_does_no_harm_is_ramped_and_promoted(running: Stack) -> None:
    ramp = [{"percent": percent, "dwell_s": 0, "min_units": 5} for percent in (30, 60, 100)]
    ramp[-1]["min_units"] = 0
    info = begun(running, ramp=ramp, metric={"name": "errors", "window_s": 0, "margin": 0.5})
    asked_until(running, "the promotion", lambda: now(running, info).ended_at_ms)
    assert now(running, info).state == "promoted"
    assert pointed_at(running) == "1.1"
    kinds = [line.kind for line in log_of(running, info) if line.kind not in ("hold", "alarm")]
    assert kinds == ["start", "ramp", "ramp", "promote"]
    assert "any time" in log_of(running, info)[-1].reason
    weights = [line.weights["1.1"] for line in log_of(running, info) if line.kind in ("start", "ramp")]
    assert weights == [3_000, 6_000, FULL_WEIGHT]


def test_a_canary_that_fails_while_a_person_has_paused_it_is_rolled_back_too(running: Stack) -> None:
    info = begun(running, ramp=[{"percent": 20, "dwell_s": 3_600, "min_units": MANY}])
    running.house.registry.experiments.decide(info.id, Decision("pause", "to look at it"))
    fail(running, TWO, 1.0)
    asked_until(running, "the rollback", lambda: now(running, info).ended_at_ms)
    assert [line.kind for line in log_of(running, info)][-2:] == ["pause", "rollback"]


def test_equal_failures_of_both_arms_roll_nothing_back(running: Stack) -> None:
    info = begun(running, ramp=[{"percent": 50, "dwell_s": 3_600, "min_units": MANY}])
    running.faults(fail_share=0.3)

    def seen() -> bool:
        standing = now(running, info).standing
        return standing is not None and sum(one["attempts"] for one in standing["counts"].values()) >= 150

    ask(running, 150)
    wait_until("attempts to be seen", seen)
    assert now(running, info).state == "running"
    assert [line.kind for line in log_of(running, info) if line.kind not in ("hold", "alarm")] == ["start"]


def test_a_killed_analyst_is_followed_by_another_and_no_unit_is_seen_twice(running: Stack) -> None:
    info = begun(running, ramp=[{"percent": 50, "dwell_s": 3_600, "min_units": MANY}])

    def exposed() -> int:
        standing = now(running, info).standing
        return 0 if standing is None else int(standing["standing"]["cursor"]["exposed"])

    ask(running, 20)
    wait_until("the first units", lambda: exposed() == 20)
    process = running.controller._experiments._analyst.child.process
    assert process is not None
    process.kill()
    ask(running, 20)
    wait_until("more units", lambda: exposed() == 40)
    wait_until("a fault that is over", lambda: running.controller.document()["duties"]["experiments"] == "ok")


def test_the_analyst_runs_while_an_experiment_does_and_no_longer(running: Stack) -> None:
    def child() -> subprocess.Popen[bytes] | None:
        return running.controller._experiments._analyst.child.process

    wait_until("no analyst", lambda: child() is None)
    info = begun(running, ramp=[{"percent": 50, "dwell_s": 3_600, "min_units": MANY}])
    wait_until("an analyst", child)
    stopped(running, info)
    wait_until("no analyst again", lambda: child() is None)


def test_the_gateway_loads_no_numpy_for_it() -> None:
    code = "import sys, gateway.fleet.controller, gateway.app; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize(("arm", "ends"), [("1.1", ("rollback", "rolled_back")), ("1.0", ("ask", "paused"))])
def test_a_version_that_is_quarantined_while_it_is_an_arm_ends_the_experiment_or_asks(
    running: Stack, arm: str, ends: tuple[str, str]
) -> None:
    info = begun(running, ramp=[{"percent": 20, "dwell_s": 3_600, "min_units": MANY}])
    adapters = running.house.registry.adapters
    version = adapters.get(parse_ref(f"acme/triage@{arm}"))
    adapters.quarantine(version.id, "it swears")
    try:
        wait_until("the decision to be in force", lambda: now(running, info).state == ends[1])
    finally:
        adapters.release(version.id)
    last = log_of(running, info)[-1]
    assert (last.kind, last.figures["code"], last.figures["course"]["quarantined"]) == (
        ends[0],
        "quarantined",
        {arm: "it swears"},
    )

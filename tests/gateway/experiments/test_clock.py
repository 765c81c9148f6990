"""Clocks that are put forward and back by an hour: no dwell, window, pause or decision is another one by it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.experiments.analyst import step
from gateway.experiments.clock import SteadyClock
from gateway.experiments.deciding import Decider
from registry.db import now_ms
from registry.experiments.infos import ExperimentInfo
from registry.fleet.leadership import Lease
from registry.swaps.infos import FAILED
from tests.support.experiment_parts import ADAPTER, Traffic, begun, carried_out
from tests.support.stack import House

HOUR_MS = 3_600_000
DWELL_S = 100


@dataclass
class Hands:
    """Of both clocks; `put` is what somebody does to the wall clock."""

    wall_ms: int
    steady_ms: int = 0

    def pass_s(self, seconds: float) -> None:
        self.wall_ms += round(1000 * seconds)
        self.steady_ms += round(1000 * seconds)

    def put(self, by_ms: int) -> None:
        self.wall_ms += by_ms


@pytest.fixture
def hands() -> Hands:
    return Hands(now_ms())


@pytest.fixture
def clock(hands: Hands) -> SteadyClock:
    made = SteadyClock(lambda: hands.wall_ms, lambda: hands.steady_ms)
    made.look()
    return made


@pytest.fixture
def lease(house: House) -> Lease:
    found = house.registry.leadership.acquire("test", "here")
    assert found is not None
    return found


@pytest.fixture
def traffic(house: House) -> Traffic:
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    ramp = [{"percent": 50, "dwell_s": DWELL_S, "min_units": 0}, {"percent": 60, "dwell_s": 0, "min_units": 0}]
    metric = {"name": "errors", "window_s": 10}
    return Traffic(house.registry, begun(house.registry, metric=metric, ramp=ramp, guardrails=[]))


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch, hands: Hands) -> None:
    """The analysis has the wall clock that somebody plays with."""
    monkeypatch.setattr("registry.experiments.analysis.now_ms", lambda: hands.wall_ms)
    monkeypatch.setattr("gateway.experiments.deciding.now_ms", lambda: hands.wall_ms)


def now(traffic: Traffic) -> ExperimentInfo:
    return traffic.registry.experiments.get(traffic.info.id)


def kinds(traffic: Traffic) -> list[str]:
    return [line.kind for line in traffic.registry.experiments.decisions(traffic.info.id)]


@pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS])
def test_a_step_lasts_its_dwell_whatever_is_done_to_the_clock(
    traffic: Traffic, lease: Lease, hands: Hands, clock: SteadyClock, patched: None, by_ms: int
) -> None:
    books, decider = traffic.registry.experiments.analysis, Decider(traffic.registry, lease.token, clock)

    def look() -> None:
        clock.look()
        step(books, traffic.info.id, lease.token, 0, clock.jumps, clock.now_ms())
        decider.decide(traffic.info.id)

    traffic.book(traffic.row("a", "1.0", started_at_ms=hands.wall_ms - 60_000))
    look()
    hands.pass_s(DWELL_S / 2)
    hands.put(by_ms)
    look()
    assert kinds(traffic) == ["start", "hold"]
    hands.pass_s(DWELL_S / 2 - 2)
    look()
    assert "ramp" not in kinds(traffic), "half of it was before"
    hands.pass_s(2.5)
    look()
    assert kinds(traffic)[-1] == "ramp"


def test_a_unit_is_valued_after_its_window_and_not_when_the_clock_is_put_forward(
    traffic: Traffic, lease: Lease, hands: Hands, clock: SteadyClock, patched: None
) -> None:
    books = traffic.registry.experiments.analysis

    def valued() -> int:
        clock.look()
        step(books, traffic.info.id, lease.token, 0, clock.jumps, clock.now_ms())
        found: int = step(books, traffic.info.id, lease.token, 0, clock.jumps, clock.now_ms())["folded"]
        return found

    traffic.book(traffic.row("before", "1.0", started_at_ms=hands.wall_ms))
    assert valued() == 0
    hands.pass_s(4)
    hands.put(HOUR_MS)
    assert valued() == 0, "four of its ten seconds are over"
    traffic.book(traffic.row("after", "1.0", started_at_ms=hands.wall_ms))
    hands.pass_s(7)
    assert valued() == 1
    hands.pass_s(4)
    assert valued() == 2


@pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS])
def test_what_averts_harm_is_tried_again_after_its_pause(
    traffic: Traffic, lease: Lease, hands: Hands, clock: SteadyClock, patched: None, by_ms: int
) -> None:
    registry, decider = traffic.registry, Decider(traffic.registry, lease.token, clock)
    began_ms = hands.wall_ms - 60_000
    traffic.book(*(traffic.failed(f"unit {number}", "1.1", started_at_ms=began_ms) for number in range(60)))

    def look() -> Any:
        clock.look()
        step(registry.experiments.analysis, traffic.info.id, lease.token, 0, clock.jumps, clock.now_ms())
        return decider.decide(traffic.info.id)

    made = look()
    assert made.kind == "rollback"
    registry.swaps.advance(made.swap_id, FAILED, error="no engine")
    assert look() is not None, "the log says once that it is tried again"
    hands.put(by_ms)
    hands.pass_s(3)
    assert look() is None
    hands.pass_s(3)
    again = look()
    assert (again.kind, again.figures["code"]) == ("rollback", "broken")
    assert carried_out(registry, traffic.info.id).state == "rolled_back"
    assert registry.splits.history(ADAPTER)[-1].ended_at_ms is not None


def test_a_jump_is_told_and_a_slow_correction_is_none(
    hands: Hands, clock: SteadyClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            hands.pass_s(2)
            hands.put(20)
            clock.look()
        assert (clock.jumps, caplog.messages) == ([], [])
        hands.put(-HOUR_MS)
        clock.look()
    assert clock.jumps == []
    assert "the clock was put -3600.0 s" in caplog.messages[0]


def test_what_is_done_to_the_clock_counts_from_the_look_that_finds_it(hands: Hands, clock: SteadyClock) -> None:
    began_ms = hands.wall_ms
    hands.pass_s(1)
    hands.put(HOUR_MS)
    assert clock.now_ms() == began_ms + 1_000
    assert clock.age_ms("it", began_ms) == 1_000
    clock.look()
    assert clock.now_ms() == hands.wall_ms
    assert clock.age_ms("another", began_ms) == clock.age_ms("it", began_ms) == 1_000

"""Leaders that die between a decision and its swap, or come back too late: what was decided is done once."""

from __future__ import annotations

import pytest

from gateway.experiments.analyst import step
from gateway.experiments.deciding import Decider
from registry.errors import Conflict
from registry.fleet.leadership import Lease
from tests.support.experiment_parts import Traffic, begun
from tests.support.stack import House, run_stack
from tests.support.waiting import wait_until


@pytest.fixture
def broken(house: House) -> Traffic:
    """Of an experiment whose treatment fails; nobody has looked at it yet."""
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    ramp = [{"percent": 20, "dwell_s": 3_600, "min_units": 1_000}]
    traffic = Traffic(house.registry, begun(house.registry, ramp=ramp))
    traffic.book(*(traffic.failed(f"unit {number}", "1.1") for number in range(40)))
    return traffic


def led(house: House, name: str) -> Lease:
    found = house.registry.leadership.acquire(name, "here")
    assert found is not None
    return found


def kinds(traffic: Traffic) -> list[str]:
    return [line.kind for line in traffic.registry.experiments.decisions(traffic.info.id)]


def test_what_a_leader_decided_before_it_died_its_successor_carries_out_once(house: House, broken: Traffic) -> None:
    lease, experiments = led(house, "first"), house.registry.experiments
    step(experiments.analysis, broken.info.id, lease.token, 0)
    Decider(house.registry, lease.token).decide(broken.info.id)
    decided = experiments.get(broken.info.id)
    assert (decided.state, decided.moving) == ("running", True), "it says what routes, and nothing has moved yet"
    house.registry.leadership.release("first")
    with run_stack(house):
        wait_until("the rollback", lambda: experiments.get(broken.info.id).ended_at_ms)
        wait_until("its swap to end", lambda: not experiments.get(broken.info.id).moving)
    assert experiments.get(broken.info.id).state == "rolled_back"
    assert kinds(broken) == ["start", "rollback"]
    assert [swap.state for swap in house.registry.swaps.recent(10) if "experiment" in swap.detail] == ["done", "done"]
    assert experiments.faults(broken.info.id) == []


def test_a_leader_that_was_succeeded_decides_nothing(house: House, broken: Traffic) -> None:
    old = led(house, "first")
    step(house.registry.experiments.analysis, broken.info.id, old.token, 0)
    house.registry.leadership.release("first")
    new = led(house, "second")
    assert Decider(house.registry, old.token).decide(broken.info.id) is None
    with pytest.raises(Conflict, match="was succeeded by"):
        step(house.registry.experiments.analysis, traffic_again(broken), old.token, 0)
    assert kinds(broken) == ["start"]
    assert Decider(house.registry, new.token).decide(broken.info.id) is not None
    assert kinds(broken) == ["start", "rollback"]


def traffic_again(traffic: Traffic) -> int:
    """Something is new of the experiment; its id."""
    traffic.book(traffic.row("another", "1.0"))
    return traffic.info.id


def test_a_decision_is_made_once_however_often_one_looks(house: House, broken: Traffic) -> None:
    lease = led(house, "first")
    decider = Decider(house.registry, lease.token)
    for _ in range(3):
        step(house.registry.experiments.analysis, broken.info.id, lease.token, 0)
        decider.decide(broken.info.id)
    assert kinds(broken) == ["start", "rollback"]


def test_a_step_that_holds_says_so_once(house: House, broken: Traffic) -> None:
    traffic = broken
    lease = led(house, "first")
    decider = Decider(house.registry, lease.token)
    experiments = house.registry.experiments
    other = [traffic.row(f"fine {number}", "1.0") for number in range(3)]
    assert experiments.get(traffic.info.id).standing is None
    assert decider.decide(traffic.info.id) is None, "nothing is known yet"
    traffic.book(*other)
    step(experiments.analysis, traffic.info.id, lease.token, 0)
    assert decider.decide(traffic.info.id) is not None
    assert decider.decide(traffic.info.id) is None


def test_a_ramp_that_is_still_being_prepared_is_taken_back_when_harm_shows(house: House) -> None:
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    ramp = [{"percent": percent, "dwell_s": 0, "min_units": 0} for percent in (20, 50)]
    traffic = Traffic(house.registry, begun(house.registry, ramp=ramp))
    lease, experiments = led(house, "first"), house.registry.experiments
    decider = Decider(house.registry, lease.token)
    traffic.book(traffic.row("first", "1.0"))
    step(experiments.analysis, traffic.info.id, lease.token, 0)
    made = decider.decide(traffic.info.id)
    assert made is not None
    assert made.kind == "ramp"
    traffic.book(*(traffic.failed(f"unit {number}", "1.1") for number in range(40)))
    step(experiments.analysis, traffic.info.id, lease.token, 0)
    assert decider.decide(traffic.info.id) is None
    assert kinds(traffic) == ["start", "ramp", "failed"]
    wait_until("the rollback to follow", lambda: decider.decide(traffic.info.id))
    assert kinds(traffic)[-1] == "rollback"

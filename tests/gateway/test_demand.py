"""How many homes an adapter has, and who loads first: follows the traffic, and does not flutter."""

from __future__ import annotations

import pytest

from gateway.fleet.demand import MEMORY_S, Demand, RecentUses

HOT, COLD = 1, 2
ROUND_S = 1.0


def settle(demand: Demand, in_flight: int, rounds: int = 60, version: int = HOT) -> None:
    """So many requests in flight for so many seconds."""
    for _ in range(rounds):
        demand.observe({version: 5}, {version: in_flight}, ROUND_S)


def test_an_adapter_has_one_home_until_it_needs_more() -> None:
    demand = Demand(per_home=10)
    settle(demand, 9)
    assert demand.copies == {}


def test_a_hot_adapter_gets_as_many_homes_as_its_requests_fill() -> None:
    demand = Demand(per_home=10)
    settle(demand, 35)
    assert demand.copies == {HOT: 4}


def test_homes_come_one_after_the_other_and_not_at_the_first_burst() -> None:
    demand, seen = Demand(per_home=10), []
    for _ in range(60):
        demand.observe({}, {HOT: 45}, ROUND_S)
        seen.append(demand.copies.get(HOT, 1))
    assert seen[0] == 1
    assert seen == sorted(seen)
    assert set(seen) == {1, 2, 3, 4, 5}


def test_homes_are_given_up_as_an_adapter_cools() -> None:
    demand, seen = Demand(per_home=10), []
    settle(demand, 35)
    for _ in range(120):
        demand.observe({}, {}, ROUND_S)
        seen.append(demand.copies.get(HOT, 1))
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == 4
    assert seen[-1] == 1
    assert demand.copies == {}


def test_traffic_that_swings_around_a_threshold_changes_nothing() -> None:
    demand = Demand(per_home=10)
    settle(demand, 21)
    assert demand.copies == {HOT: 3}
    changes = []
    for number in range(600):
        demand.observe({}, {HOT: 16 if number // 20 % 2 else 24}, ROUND_S)
        changes.append(demand.copies.get(HOT))
    assert set(changes) == {3}


def test_the_length_of_a_round_does_not_matter() -> None:
    short, long = Demand(per_home=10), Demand(per_home=10)
    for _ in range(200):
        short.observe({HOT: 1}, {HOT: 30}, 0.1)
    for _ in range(4):
        long.observe({HOT: 50}, {HOT: 30}, 5.0)
    assert abs(short.heat(HOT) - long.heat(HOT)) < 0.01
    assert short.copies == long.copies == {HOT: 3}


def test_what_is_asked_for_most_comes_first() -> None:
    demand = Demand(per_home=10)
    for _ in range(20):
        demand.observe({COLD: 1, HOT: 30, 3: 7}, {}, ROUND_S)
    assert demand.hottest() == [HOT, 3, COLD]
    assert demand.heat(HOT) > demand.heat(COLD) > 0
    assert demand.heat(99) == 0


def test_what_nobody_asks_for_any_more_is_forgotten() -> None:
    demand = Demand(per_home=10)
    settle(demand, 35)
    demand.observe({}, {}, 100 * MEMORY_S)
    assert demand.hottest() == []
    assert (demand._rate, demand._busy, demand.copies) == ({}, {}, {})


def test_a_version_that_follows_another_is_as_hot_from_its_first_request_on() -> None:
    demand = Demand(per_home=10)
    settle(demand, 35)
    demand.inherit(7, HOT)
    assert demand.heat(7) == demand.heat(HOT)
    assert demand.copies == {HOT: 4, 7: 4}
    demand.observe({}, {7: 35}, ROUND_S)
    assert demand.copies[7] == 4, "and stays so while the traffic moves over"


def test_a_version_that_is_hotter_than_the_one_it_follows_stays_so() -> None:
    demand = Demand(per_home=10)
    settle(demand, 35)
    settle(demand, 15, version=COLD, rounds=5)
    before = demand.heat(HOT)
    demand.inherit(HOT, COLD)
    assert demand.heat(HOT) == before


def test_following_what_nobody_uses_changes_nothing() -> None:
    demand = Demand(per_home=10)
    demand.inherit(7, HOT)
    assert demand.hottest() == []
    assert demand.copies == {}


def test_what_a_worker_saw_is_taken_over_once_however_often_it_links() -> None:
    demand = Demand(per_home=10)
    for _ in range(3):
        demand.take_over({HOT: 30.0, COLD: 2.0})
    assert (demand.heat(HOT), demand.heat(COLD)) == (30.0, 2.0)
    demand.take_over({HOT: 5.0})
    assert demand.heat(HOT) == 30.0


def test_a_workers_rates_are_those_that_a_controller_sees() -> None:
    recent, demand = RecentUses(), Demand(per_home=10)
    for second in range(100):
        recent.note(HOT, 30, second)
        demand.observe({HOT: 30}, {}, ROUND_S)
    assert recent.rates(99) == {HOT: pytest.approx(demand.heat(HOT), rel=0.06)}


def test_what_a_worker_has_not_served_for_long_is_no_longer_hot_and_is_forgotten() -> None:
    recent = RecentUses()
    for version in range(10_000):
        recent.note(version, 1, now_s=version)
    assert len(recent._counts) <= 1025
    recent.note(HOT, 100, now_s=10_000)
    assert max(recent.rates(10_000).values()) == recent.rates(10_000)[HOT]
    assert recent.rates(10_000 + 20 * MEMORY_S) == {}
    assert recent._counts == {}

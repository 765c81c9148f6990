"""Which engines an adapter lives on: stable, spread by weight, and the same in every process."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from gateway.fleet.homes import Homes

NAMES = [f"tenant-{number % 97}/adapter-{number}@1.0" for number in range(4000)]
FOUR = {f"http://10.0.0.{number}:8000": 16 for number in range(4)}
PRINT_ORDERS = """
import sys
from gateway.fleet.homes import Homes
homes = Homes({f"http://10.0.0.{number}:8000": 16 for number in reversed(range(4))})
print([homes.order(name) for name in sys.argv[1:]])
"""


def first_homes(weights: dict[str, int]) -> dict[str, str]:
    homes = Homes(weights)
    return {name: homes.order(name)[0] for name in NAMES}


def test_every_engine_is_in_the_order_once() -> None:
    homes = Homes(FOUR)
    assert all(sorted(homes.order(name)) == sorted(FOUR) for name in NAMES[:100])


def test_an_engine_that_leaves_moves_only_its_own_adapters() -> None:
    gone = next(iter(FOUR))
    before, after = Homes(FOUR), Homes({url: weight for url, weight in FOUR.items() if url != gone})
    for name in NAMES:
        assert after.order(name) == tuple(url for url in before.order(name) if url != gone)


def test_an_engine_that_comes_takes_its_share_and_moves_nothing_else() -> None:
    new = "http://10.0.0.9:8000"
    before, after = first_homes(FOUR), first_homes({**FOUR, new: 16})
    moved = [name for name in NAMES if before[name] != after[name]]
    assert {after[name] for name in moved} == {new}
    assert len(moved) / len(NAMES) == pytest.approx(1 / 5, abs=0.03)


def test_the_share_follows_the_weight() -> None:
    weights = {"http://a": 8, "http://b": 16, "http://c": 40}
    shares = Counter(first_homes(weights).values())
    for url, weight in weights.items():
        assert shares[url] / len(NAMES) == pytest.approx(weight / 64, abs=0.03)


def test_a_weight_that_changes_moves_adapters_to_or_from_that_engine_only() -> None:
    grown = next(iter(FOUR))
    before, after = first_homes(FOUR), first_homes({**FOUR, grown: 32})
    moved = [name for name in NAMES if before[name] != after[name]]
    assert moved
    assert {after[name] for name in moved} == {grown}


def test_second_homes_are_spread_too() -> None:
    homes = Homes(FOUR)
    for first in FOUR:
        seconds = Counter(order[1] for name in NAMES if (order := homes.order(name))[0] == first)
        assert set(seconds) == set(FOUR) - {first}
        assert min(seconds.values()) > 0.7 * sum(seconds.values()) / 3


def test_another_process_comes_to_the_same_order_whatever_the_order_of_its_engines() -> None:
    done = subprocess.run([sys.executable, "-c", PRINT_ORDERS, *NAMES[:20]], capture_output=True, text=True, check=True)
    homes = Homes(FOUR)
    assert done.stdout.strip() == str([homes.order(name) for name in NAMES[:20]])


def test_the_same_engines_are_the_same_homes() -> None:
    homes = Homes(FOUR)
    assert homes.same_as(dict(reversed(FOUR.items())))
    assert not homes.same_as({**FOUR, "http://10.0.0.0:8000": 8})
    assert Homes({}).order("acme/triage@1.0") == ()

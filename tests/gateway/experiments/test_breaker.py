"""The hard breaker: what it lets pass, what it does not, and how often it is wrong."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from gateway.experiments.breaker import FALSE_ALARM, Breaker


def after(failures: str, share: float) -> Breaker:
    """`B` is a unit that failed on the candidate, `A` one on the control."""
    breaker = Breaker()
    for one in failures:
        breaker = breaker.failed(one == "B", share)
    return breaker


def opened(seed: int, share: float, control_rate: float, candidate_rate: float, units: int) -> int | None:
    """How many units had met the candidate when the breaker opened."""
    chance, breaker, met = random.Random(seed), Breaker(), 0
    for _ in range(units):
        of_candidate = chance.random() < share
        met += of_candidate
        if chance.random() < (candidate_rate if of_candidate else control_rate):
            breaker = breaker.failed(of_candidate, share)
            if breaker.is_open(treatments=1):
                return met
    return None


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_its_evidence_is_worth_one_on_average_while_nothing_is_wrong(share: float) -> None:
    worth = 0.0
    for failures in itertools.product("AB", repeat=10):
        of_candidate = failures.count("B")
        chance = share**of_candidate * (1 - share) ** (10 - of_candidate)
        worth += chance * math.exp(after("".join(failures), share).log_e)
    assert worth == pytest.approx(1.0), "so it ever reaches 1 / FALSE_ALARM with that chance at most"


def test_a_candidate_of_five_percent_that_fails_twenty_points_more_is_found_in_a_few_units() -> None:
    for control_rate in (0.0, 0.01, 0.05):
        met = [opened(seed, 0.05, control_rate, control_rate + 0.2, 10_000) for seed in range(60)]
        assert all(one is not None and one <= 250 for one in met), met


def test_a_candidate_that_fails_as_often_as_the_control_passes() -> None:
    for seed in range(60):
        assert opened(seed, 0.05, 0.2, 0.2, 5_000) is None


def test_an_outage_of_both_arms_opens_nothing() -> None:
    assert not after("A" * 190 + "B" * 10, 0.05).is_open(treatments=1)


def test_a_handful_of_failures_on_the_candidate_alone_opens_it() -> None:
    assert not after("BBB", 0.05).is_open(treatments=1)
    assert after("BBBBB", 0.05).is_open(treatments=1)


def test_more_candidates_share_one_chance_of_a_false_alarm() -> None:
    breaker = after("BBBBB", 0.05)
    assert breaker.is_open(treatments=1)
    assert breaker.log_e < math.log(50 / FALSE_ALARM)
    assert not breaker.is_open(treatments=50)


def test_failures_while_one_arm_had_no_traffic_tell_nothing() -> None:
    assert Breaker().failed(True, 1.0) == Breaker().failed(False, 0.0) == Breaker()

"""Relative differences of means, ratios of means and quantiles: against plain formulas, in ramps, as documents."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from gateway.experiments.inference.quantiles import GROWTH, QuantileDifference
from gateway.experiments.inference.ratios import RatioDifference

ALPHA = 0.05
EVEN = (0.5, 0.5)
COUNT = 4_000


def test_dollars_per_accepted_answer_have_the_delta_methods_error_at_an_even_split() -> None:
    chance = np.random.default_rng(5)
    arms = chance.random(COUNT) < 0.5
    accepted = (chance.random(COUNT) < 0.6) * 1.0
    dollars = chance.lognormal(size=COUNT) * np.where(arms, 0.62, 1.0)
    state = RatioDifference.start()
    for arm, dollar, good in zip(arms, dollars, accepted, strict=True):
        state = state.fold(int(arm), EVEN, float(dollar), float(good))
    found = state.interval(ALPHA)
    sides = [(dollars[side], accepted[side]) for side in (arms, ~arms)]
    ratios = [cost.mean() / good.mean() for cost, good in sides]
    error = math.sqrt(sum(np.var(cost / cost.mean() - good / good.mean()) / len(cost) for cost, good in sides))
    _, spread, _ = state.contrasts[1].log_ratio()
    assert found.estimate == pytest.approx(ratios[0] / ratios[1] - 1, abs=0.01)
    assert math.sqrt(float(spread) / float(state.contrasts[1].weight)) == pytest.approx(error, rel=0.02)
    assert found.low < -0.38 < found.high < -0.2


def test_a_ramp_with_drift_makes_no_difference_of_means_ratios_or_quantiles() -> None:
    """Latency doubles while the treatment's share rises: what the arms' own averages are is far apart."""
    chance = np.random.default_rng(8)
    means, ratios, quantiles = RatioDifference.start(), RatioDifference.start(), QuantileDifference.start(share=0.5)
    by_arm: dict[int, list[float]] = {0: [], 1: []}
    for share, level in ((0.05, 100.0), (0.25, 130.0), (0.5, 160.0), (0.9, 200.0)):
        for _ in range(1_500):
            arm, value = int(chance.random() < share), level * float(chance.lognormal(sigma=0.2))
            shares = (1 - share, share)
            means, quantiles = means.fold(arm, shares, value), quantiles.fold(arm, shares, value)
            ratios = ratios.fold(arm, shares, value, float(chance.random() < 100 / level))
            by_arm[arm].append(value)
    assert np.mean(by_arm[1]) / np.mean(by_arm[0]) > 1.3
    assert np.median(by_arm[1]) / np.median(by_arm[0]) > 1.3
    for found in (means.interval(ALPHA), ratios.interval(ALPHA), quantiles.interval(ALPHA)):
        assert -0.3 < found.low < 0 < found.high < 0.35


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_quantile_that_is_half_as_large_again_is_found_within_the_ends(share: float) -> None:
    chance = np.random.default_rng(9)
    arms = (chance.random(2 * COUNT) < 0.5).astype(np.int64)
    values = 100 * chance.lognormal(sigma=0.5, size=2 * COUNT) * np.where(arms, 1.5, 1.0)
    state = QuantileDifference.start(share=share).fold(arms, EVEN, values)
    sides = [float(np.quantile(values[arms == arm], share)) for arm in (0, 1)]
    found, plain = state.interval(ALPHA), state.interval(ALPHA, relative=False)
    assert found.estimate == pytest.approx(sides[1] / sides[0] - 1, abs=2 * GROWTH - 2 + 0.02)
    assert plain.estimate == pytest.approx(sides[1] - sides[0], rel=0.2)
    assert 0.2 < found.low < 0.5 < found.high < 0.9
    assert 0 < plain.low < plain.high
    one_sided = state.interval(ALPHA, one_sided=True)
    assert found.low <= one_sided.low < one_sided.high <= found.high


def test_units_one_by_one_and_many_at_once_are_the_same_quantiles_also_through_a_document() -> None:
    chance = np.random.default_rng(1)
    arms, values = chance.integers(0, 3, 600), chance.lognormal(5, 1, 600)
    shares = (1 / 3,) * 3
    state = QuantileDifference.start(3)
    for arm, value in zip(arms[:300], values[:300], strict=True):
        state = state.fold(int(arm), shares, float(value))
    read = QuantileDifference.read(json.loads(json.dumps(state.written())))
    later = read.fold(arms[300:], shares, values[300:])
    at_once = QuantileDifference.start(3).fold(arms, shares, values)
    for arm in (1, 2):
        assert later.interval(ALPHA, arm) == at_once.interval(ALPHA, arm)


def test_a_ratio_goes_on_from_its_document() -> None:
    chance = np.random.default_rng(6)
    state = RatioDifference.start(3)
    for _ in range(400):
        state = state.fold(int(chance.integers(0, 3)), (1 / 3,) * 3, float(chance.lognormal()))
    assert RatioDifference.read(json.loads(json.dumps(state.written()))) == state


def test_nothing_is_said_of_a_ratio_whose_parts_may_still_be_nothing() -> None:
    state = RatioDifference.start()
    for number in range(2_000):
        state = state.fold(number % 2, EVEN, 0.01, 1.0 if number in (400, 401) else 0.0)
    assert state.interval(ALPHA).low == -math.inf
    free = RatioDifference.start()
    for number in range(2_000):
        free = free.fold(number % 2, EVEN, 0.0)
    assert free.interval(ALPHA).high == math.inf


def test_nothing_is_said_of_a_quantile_before_there_are_units_beyond_it() -> None:
    empty = QuantileDifference.start()
    assert empty.interval(ALPHA).low == -math.inf
    few = empty.fold(np.arange(200) % 2, EVEN, np.full(200, 50.0))
    assert few.interval(ALPHA).high == math.inf


def test_windows_of_a_switchback_are_units_whose_value_is_their_own_quantile() -> None:
    """What a busy engine does to both arms is in both kinds of windows; a window is one value, of many requests."""
    chance = np.random.default_rng(12)
    state = RatioDifference.start()
    for _ in range(400):
        arm = int(chance.random() < 0.5)
        load = float(chance.lognormal(sigma=0.3))
        window = 100 * load * (1.3 if arm else 1.0) * chance.lognormal(sigma=0.5, size=50)
        state = state.fold(arm, EVEN, float(np.quantile(window, 0.95)))
    found = state.interval(ALPHA)
    assert 0.1 < found.low < 0.3 < found.high < 0.55

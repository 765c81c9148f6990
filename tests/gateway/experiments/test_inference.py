"""The states of an experiment's statistics: what they count, that they are documents, and that lanes are the same."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gateway.experiments.inference.boundary import log_e_value, radius
from gateway.experiments.inference.means import LEAST_EXPECTED, MeanDifference
from gateway.experiments.inference.pairs import PRIOR, PairWins
from gateway.experiments.inference.sample_ratio import CONCENTRATION, SampleRatio
from gateway.experiments.inference.several import shared_alpha
from registry.wilson import wilson

ALPHA = 0.05
EVEN = (0.5, 0.5)
Unit = tuple[int, tuple[float, ...], float]


def drawn(count: int, seed: int = 7, shares: tuple[float, ...] = EVEN) -> list[Unit]:
    chance = np.random.default_rng(seed)
    arms = chance.choice(len(shares), size=count, p=shares)
    return [(int(arm), shares, float(chance.normal(3 + 0.2 * arm))) for arm in arms]


def folded(units: Sequence[Unit], **options: Any) -> MeanDifference:
    state = MeanDifference.start(len(units[0][1]), **options)
    for unit in units:
        state = state.fold(*unit)
    return state


def test_at_an_even_split_the_sequence_is_the_papers_on_the_papers_pseudo_outcomes() -> None:
    units = drawn(2_000)
    values = np.array([value for _, _, value in units])
    before = np.cumsum(values)[:-1] / np.arange(1, len(values))
    signs = np.array([2.0 if arm else -2.0 for arm, _, _ in units])[1:]
    phi = (values[1:] - before) * signs
    t, rho2 = len(phi), (-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / 5_000
    half = phi.std() * math.sqrt(2 * (t * rho2 + 1) / (t * t * rho2) * math.log(math.sqrt(t * rho2 + 1) / ALPHA))
    found = folded(units).interval(ALPHA)
    assert found.estimate == pytest.approx(phi.mean(), rel=1e-9)
    assert (found.low, found.high) == pytest.approx((phi.mean() - half, phi.mean() + half), rel=1e-9)


def test_the_evidence_against_a_mean_is_one_to_alpha_at_the_end_of_its_sequence() -> None:
    end = radius(0.3, 900.0, 0.002, 0.01)
    assert math.exp(log_e_value(end, 0.3, 900.0, 0.002)) == pytest.approx(100)
    assert log_e_value(0.0, 0.3, 900.0, 0.002) < 0


def test_each_end_of_a_one_sided_sequence_is_nearer() -> None:
    state = folded(drawn(1_000))
    found = state.interval(0.01)
    one_sided = state.interval(0.01, one_sided=True)
    assert found.low < one_sided.low < one_sided.high < found.high


def test_a_lane_of_many_is_what_a_float_comes_to() -> None:
    lanes = [drawn(500, seed) for seed in range(3)]
    together, ratio, pairs = MeanDifference.start(span=1.0), SampleRatio.start(), PairWins.start()
    for step in zip(*lanes, strict=True):
        arms, values = np.array([unit[0] for unit in step]), np.array([unit[2] for unit in step])
        together, ratio = together.fold(arms, EVEN, values), ratio.fold(arms, EVEN)
        pairs = pairs.fold(2 * arms - 1)
    found, rate = together.interval(ALPHA), pairs.interval(ALPHA)
    for lane, units in enumerate(lanes):
        alone, alone_ratio, alone_pairs = folded(units, span=1.0), SampleRatio.start(), PairWins.start()
        for arm, shares, _ in units:
            alone_ratio, alone_pairs = alone_ratio.fold(arm, shares), alone_pairs.fold(2 * arm - 1)
        assert np.asarray(found.low)[lane] == pytest.approx(alone.interval(ALPHA).low, rel=1e-10)
        assert np.asarray(ratio.peak)[lane] == pytest.approx(alone_ratio.peak, abs=1e-10)
        assert np.asarray(rate.high)[lane] == pytest.approx(alone_pairs.interval(ALPHA).high, rel=1e-10)


def test_states_are_documents_and_go_on_from_them() -> None:
    units = drawn(300, shares=(0.6, 0.3, 0.1))
    state, ratio, pairs = folded(units[:150], span=1.0), SampleRatio.start(3), PairWins.start().fold(1).fold(0)
    for arm, shares, _ in units[:150]:
        ratio = ratio.fold(arm, shares)
    read = MeanDifference.read(json.loads(json.dumps(state.written())))
    for unit in units[150:]:
        state, read = state.fold(*unit), read.fold(*unit)
    assert read == state
    assert SampleRatio.read(json.loads(json.dumps(ratio.written()))) == ratio
    assert PairWins.read(json.loads(json.dumps(pairs.written()))) == pairs


def test_each_of_several_arms_is_compared_with_the_control_alone() -> None:
    shares, swapped = (0.5, 0.3, 0.2), {0: 1, 1: 0, 2: 2}
    units = drawn(3_000, shares=shares)
    state = folded(units)
    assert state.interval(ALPHA, 0).low == -math.inf
    moved = [(swapped[arm], (0.3, 0.5, 0.2), value) for arm, _, value in units]
    assert folded(moved, control=1).interval(ALPHA, 2) == state.interval(ALPHA, 2)
    for arm in (1, 2):
        found = state.interval(ALPHA, arm)
        assert found.low < 0.2 * arm < found.high


def test_nothing_is_said_before_the_smaller_arm_should_have_thirty_units() -> None:
    units = drawn(601, shares=(0.95, 0.05))
    assert LEAST_EXPECTED == 600 * 0.05
    assert folded(units[:-1]).interval(ALPHA).low == -math.inf
    assert folded(units).interval(ALPHA).low > -math.inf


def test_what_never_happened_yet_is_not_certain_never_to_happen() -> None:
    nothing = [(number % 2, EVEN, 0.0) for number in range(1_000)]
    assert folded(nothing).interval(ALPHA).low == -math.inf
    found = folded(nothing, span=1.0).interval(ALPHA)
    assert -0.03 < found.low < 0 < found.high < 0.03


def test_units_without_a_control_beside_them_say_nothing() -> None:
    units = drawn(1_000)
    more = units + [(1, (0.0, 1.0), 9.0) for _ in range(500)]
    assert folded(more).interval(ALPHA) == folded(units).interval(ALPHA)


def test_a_covariate_that_is_known_before_makes_the_interval_narrower_and_moves_it_little() -> None:
    chance = np.random.default_rng(3)
    with_it = without = MeanDifference.start()
    for _ in range(4_000):
        arm, shadow = int(chance.random() < 0.5), float(chance.normal())
        value = 2 * shadow + 0.3 * arm + float(chance.normal())
        with_it, without = with_it.fold(arm, EVEN, value, shadow), without.fold(arm, EVEN, value)
    narrow, wide = with_it.interval(ALPHA), without.interval(ALPHA)
    assert float(narrow.high - narrow.low) < 0.55 * float(wide.high - wide.low)
    assert narrow.low < 0.3 < narrow.high


def log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def test_the_evidence_of_pairs_is_the_beta_binomial_ratio_and_ties_are_told_and_not_counted() -> None:
    state = PairWins.start()
    for winner in [1] * 70 + [0] * 25 + [-1] * 30:
        state = state.fold(winner)
    expected = log_beta(PRIOR + 70, PRIOR + 30) - log_beta(PRIOR, PRIOR) + 100 * math.log(2)
    assert state.log_e == pytest.approx(expected, rel=1e-12)
    assert state.ties == 25
    found = state.interval(ALPHA)
    for end in (float(found.low), float(found.high)):
        likelihood = 70 * math.log(end) + 30 * math.log(1 - end)
        assert state.log_e - 100 * math.log(2) - likelihood == pytest.approx(math.log(1 / ALPHA))
    assert bool(state.decided(ALPHA)) == (state.peak >= math.log(1 / ALPHA))


def test_pairs_that_one_side_always_wins_have_an_interval_up_to_the_end() -> None:
    state = PairWins.start()
    assert (state.interval(ALPHA).low, state.interval(ALPHA).high) == (0, 1)
    for _ in range(50):
        state = state.fold(1)
    assert state.interval(ALPHA).high == 1
    assert state.interval(ALPHA).low > 0.6


def test_with_constant_shares_the_evidence_of_a_wrong_ratio_is_the_dirichlet_multinomial_one() -> None:
    shares, counts = (0.2, 0.3, 0.5), (60, 90, 50)
    state = SampleRatio.start(3)
    for arm in np.random.default_rng(5).permutation(np.repeat([0, 1, 2], counts)):
        state = state.fold(int(arm), shares)
    total = math.lgamma(CONCENTRATION) - math.lgamma(CONCENTRATION + sum(counts))
    for share, count in zip(shares, counts, strict=True):
        prior = CONCENTRATION * share
        total += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    assert state.log_e == pytest.approx(total, rel=1e-10)
    assert state.counts == counts


def test_a_ramp_of_shares_is_no_wrong_ratio_and_a_wrong_ratio_in_a_ramp_is_one() -> None:
    chance = np.random.default_rng(2)
    well, wrong = SampleRatio.start(), SampleRatio.start()
    for share in np.repeat([0.05, 0.25, 0.5, 0.9], 1_500):
        shares = (1 - share, share)
        well = well.fold(int(chance.random() < share), shares)
        wrong = wrong.fold(int(chance.random() < 0.85 * share), shares)
    assert not well.alarms()
    assert wrong.alarms()


def test_a_unit_of_an_arm_without_a_share_is_refused() -> None:
    with pytest.raises(ValueError, match="arm 1, whose share was 0"):
        SampleRatio.start().fold(1, (1.0, 0.0))


def test_wilsons_interval_is_within_zero_and_one() -> None:
    assert (wilson(0, 10)[0], wilson(10, 10)[1]) == (0, 1)
    assert wilson(60, 100)[0] == pytest.approx(0.50200, abs=1e-5)


def test_alpha_is_shared() -> None:
    assert shared_alpha(0.05, 10) == pytest.approx(0.005)

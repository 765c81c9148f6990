"""Our formulas against what others compute: scipy here, ville by the numbers in `oracles.json`.

`python -m tests.support.on_demand ville` installs it under var/; then it is asked anew.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.experiments.inference.boundary import radius, radius_one_sided
from gateway.experiments.inference.means import MeanDifference
from gateway.experiments.inference.pairs import PRIOR, PairWins
from gateway.experiments.inference.sample_ratio import CONCENTRATION, SampleRatio
from registry.wilson import wilson
from tests.gateway.experiments import oracles
from tests.support.on_demand import VILLE

GOLDEN = json.loads(Path(__file__).with_name("oracles.json").read_text())
"""ville 0.1.0 from PyPI, numpy 2.4.6, scipy 1.17.1."""


@pytest.mark.parametrize("number", range(len(oracles.BOUNDARIES)))
def test_the_boundary_is_the_normal_mixtures_and_the_one_sided_one_a_little_above_its_own(number: int) -> None:
    """Of one side there is no closed form: the paper's is an upper bound of what ville solves for."""
    (count, alpha, mixing), (both, one) = oracles.BOUNDARIES[number], GOLDEN["boundaries"][number]
    assert float(radius(1.0, float(count), mixing, alpha)) * count == pytest.approx(both, rel=1e-12)
    found = float(radius_one_sided(1.0, float(count), mixing, alpha)) * count
    assert one < found < 1.03 * one


@pytest.mark.parametrize(("name", "share"), [("even", 0.5), ("fifth", 0.2)])
def test_with_a_constant_split_the_difference_of_means_is_villes_and_the_interval_is_no_narrower(
    name: str, share: float
) -> None:
    """It counts the first unit, whose pseudo-outcome is 0 here; we begin behind it."""
    estimate, low, high = GOLDEN[name]
    drawn = oracles.units(2_000, round(1_000 * share))
    state = MeanDifference.start(tuned_for=5_000 * 4 * share * (1 - share))
    for arm, value in drawn:
        state = state.fold(arm, (1 - share, share), value)
    found = state.interval(0.05)
    assert found.estimate == pytest.approx(estimate * 2_000 / 1_999, rel=1e-9)
    assert 0.999 < float(found.high - found.low) / (high - low) < (1.005 if share == 0.5 else 1.1)


def test_wins_of_pairs_have_villes_evidence_and_interval() -> None:
    state = PairWins.start()
    for won in oracles.wins(200):
        state = state.fold(2 * won - 1)
    found = state.interval(0.05)
    assert [state.log_e, found.low, found.high] == pytest.approx(GOLDEN["pairs"], rel=1e-9)


def test_scipy_knows_the_same_pairs_ratios_and_wilson_intervals() -> None:
    from scipy.special import betaln
    from scipy.stats import binomtest, dirichlet_multinomial, multinomial

    state, ratio, shares = PairWins.start(), SampleRatio.start(3), (0.5, 0.3, 0.2)
    arms = [0, 1, 2, 0, 0, 1, 0, 2, 2, 0] * 30
    for number, arm in enumerate(arms):
        state, ratio = state.fold(1 if number % 3 else -1), ratio.fold(arm, shares)
    wins, losses = int(state.wins), int(state.losses)
    expected = betaln(PRIOR + wins, PRIOR + losses) - betaln(PRIOR, PRIOR) + 300 * math.log(2)
    assert state.log_e == pytest.approx(float(expected), rel=1e-10)
    counts = [int(count) for count in ratio.counts]
    prior = [CONCENTRATION * share for share in shares]
    over = dirichlet_multinomial.logpmf(counts, prior, 300) - multinomial.logpmf(counts, 300, shares)
    assert ratio.log_e == pytest.approx(float(over), rel=1e-9)
    for right, total in ((0, 7), (13, 40), (999, 1_000)):
        theirs = binomtest(right, total).proportion_ci(0.95, method="wilson")
        assert (wilson(right, total)[0], wilson(right, total)[1]) == pytest.approx((theirs.low, theirs.high))


@VILLE.needed
def test_ville_still_says_what_is_written_down() -> None:
    done = subprocess.run(
        [sys.executable, oracles.__file__],
        env=os.environ | VILLE.environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    assert found.pop("boundaries") == [pytest.approx(pair) for pair in GOLDEN["boundaries"]]
    assert found == {name: pytest.approx(value) for name, value in GOLDEN.items() if name != "boundaries"}

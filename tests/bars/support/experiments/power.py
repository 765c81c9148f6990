"""How soon what is there is found: judges' wins, a drop in quality, and arms that got other units than planned."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import NormalDist

import numpy as np

from gateway.experiments.inference.means import MeanDifference
from gateway.experiments.inference.pairs import PairWins
from gateway.experiments.inference.sample_ratio import SampleRatio
from registry.wilson import wilson
from tests.bars.support.experiments import Part

RUNS, LEAST_RUNS = 2_000, 200
ALPHA, POWER = 0.05, 0.8
WIN_RATE, MOST_PAIRS = 0.6, 300
RATE, DROP, MOST_RATIO = 0.6, 0.02, 2.5
WRONG_SHARE, WITHIN_UNITS, LEAST_FLAGGED = 0.55, 3_000, 0.95
EVERY = 100
"""Units from one look at the drop to the next."""
NEVER = 10**9
EVEN = (0.5, 0.5)


def measure(folder: Path, scale: float) -> Part:
    """All three, and how often pairs of equals are decided."""
    runs = max(LEAST_RUNS, int(RUNS * scale))
    pairs, sample, flagged, decided = _pairs(runs), _drop(runs), _flagged(runs), _decided_alike(runs)
    return Part(
        figures={"pairs_to_decide": pairs, "sample_ratio": sample, "srm_flagged": flagged, "pairs_fpr": decided},
        bars={
            f"wins of {WIN_RATE:.0%} are decided in {MOST_PAIRS} pairs, at the median": pairs <= MOST_PAIRS,
            f"a drop by 2 points is found in {MOST_RATIO:g} times the fixed sample, as surely": sample <= MOST_RATIO,
            f"{WRONG_SHARE:.0%} instead of 50 % is flagged in {WITHIN_UNITS} units in 95 % of runs": (
                flagged >= LEAST_FLAGGED
            ),
            "pairs of equals are decided in 5 % of runs at most": wilson(round(decided * runs), runs)[0] <= ALPHA,
        },
        detail={"fixed_sample": _fixed_sample()},
    )


def _pairs(runs: int) -> float:
    chance, state = np.random.default_rng(31), PairWins.start()
    found = np.full(runs, NEVER)
    for number in range(1, 4 * MOST_PAIRS):
        state = state.fold(np.where(chance.random(runs) < WIN_RATE, 1, -1))
        found = np.where(np.asarray(state.decided(ALPHA)) & (found == NEVER), number, found)
    return float(np.median(found))


def _decided_alike(runs: int) -> float:
    """Pairs a fifth of which are ties, none of them better."""
    chance, state = np.random.default_rng(32), PairWins.start()
    for _ in range(2_000):
        drawn = chance.random(runs)
        state = state.fold(np.where(drawn < 0.4, 1, np.where(drawn < 0.8, -1, 0)))
    return round(float(np.mean(state.decided(ALPHA))), 4)


def _fixed_sample() -> int:
    """Units of both arms with which one planned look finds the drop in 80 % of runs."""
    z = NormalDist().inv_cdf(1 - ALPHA / 2) + NormalDist().inv_cdf(POWER)
    return round(4 * RATE * (1 - RATE) * (z / DROP) ** 2)


def _drop(runs: int) -> float:
    """Units within which the sequence has found it in 80 % of runs, as a multiple of the fixed sample."""
    chance, state = np.random.default_rng(33), MeanDifference.start(span=1.0)
    fixed, found = _fixed_sample(), np.zeros(runs, np.bool_)
    for number in range(1, int(MOST_RATIO * fixed) + EVERY):
        arms = (chance.random(runs, dtype=np.float32) < EVEN[1]).astype(np.int64)
        state = state.fold(arms, EVEN, (chance.random(runs, dtype=np.float32) < RATE - DROP * arms) * 1.0)
        if number % EVERY == 0:
            found |= np.asarray(state.interval(ALPHA).high < 0)
            if float(np.mean(found)) >= POWER:
                return round(number / fixed, 3)
    return math.inf


def _flagged(runs: int) -> float:
    chance, state = np.random.default_rng(34), SampleRatio.start()
    for _ in range(WITHIN_UNITS):
        state = state.fold((chance.random(runs) < WRONG_SHARE).astype(np.int64), EVEN)
    return round(float(np.mean(state.alarms())), 4)

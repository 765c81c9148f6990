"""False positives of relative differences: of means, of dollars per accepted answer, of medians and of P95."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gateway.experiments.inference.quantiles import QuantileDifference
from gateway.experiments.inference.ratios import RatioDifference
from registry.wilson import wilson
from tests.bars.support.experiments import Part
from tests.bars.support.experiments.shapes import DRIFT, RAMP

RUNS, LEAST_RUNS, UNITS, LOOKS = 4_000, 40, 4_000, 50
QUANTILE_RUNS = 1_000
ALPHA = 0.05


def measure(folder: Path, scale: float) -> Part:
    """On lognormal values, at an even split and in a ramp with drift."""
    runs = max(LEAST_RUNS, int(RUNS * scale))
    wrong = {}
    for name, shares in (("even", (0.5,)), ("ramp", RAMP)):
        wrong[f"mean, {name}"] = _ratio(runs, shares, accepted=None)
        wrong[f"dollars per accepted, {name}"] = _ratio(runs, shares, accepted=0.6)
        for share in (0.5, 0.95):
            wrong[f"P{100 * share:.0f}, {name}"] = _quantile(min(runs, QUANTILE_RUNS), shares, share)
    most = max(wilson(count, total)[0] for count, total in wrong.values())
    rates = {name: count / total for name, (count, total) in wrong.items()}
    return Part(
        figures={"relative_fpr": max(rates.values())},
        bars={"relative differences of equals are found in 5 % of runs at most": most <= ALPHA},
        detail={"relative_false_positives": rates},
    )


def _share(shares: tuple[float, ...], number: int) -> tuple[float, float]:
    share = shares[number * len(shares) // UNITS]
    return (1 - share, share)


def _level(shares: tuple[float, ...], number: int) -> float:
    return 1 + (DRIFT - 1) * number / UNITS if len(shares) > 1 else 1.0


def _ratio(runs: int, shares: tuple[float, ...], accepted: float | None) -> tuple[int, int]:
    chance, state, wrong = np.random.default_rng(41), RatioDifference.start(), np.zeros(runs, np.bool_)
    for number in range(UNITS):
        arms = (chance.random(runs) < _share(shares, number)[1]).astype(np.int64)
        values = _level(shares, number) * chance.lognormal(size=runs)
        per = 1.0 if accepted is None else (chance.random(runs) < accepted * _level(shares, number)) * 1.0
        state = state.fold(arms, _share(shares, number), values, per)
        if number % (UNITS // LOOKS) == 0:
            found = state.interval(ALPHA)
            wrong |= np.asarray((found.low > 0) | (found.high < 0))
    return int(wrong.sum()), runs


def _quantile(runs: int, shares: tuple[float, ...], share: float) -> tuple[int, int]:
    chance, wrong, each = np.random.default_rng(42), 0, UNITS // LOOKS
    for _ in range(runs):
        state = QuantileDifference.start(share=share)
        for look in range(LOOKS):
            now = _share(shares, look * each)
            arms = (chance.random(each) < now[1]).astype(np.int64)
            state = state.fold(arms, now, 300 * _level(shares, look * each) * chance.lognormal(size=each))
            found = state.interval(ALPHA)
            if found.low > 0 or found.high < 0:
                wrong += 1
                break
    return wrong, runs

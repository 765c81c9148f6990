"""Runs in which arms are the same, looked at 100 times: how often a difference is found, by our statistics and naively.

And runs with a difference: how often the sequence contains it at every look. Each unit is folded by the module's own
states, which hold one number a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.experiments.inference.means import LEAST_UNITS, MeanDifference
from gateway.experiments.inference.sample_ratio import SampleRatio
from registry.wilson import wilson
from tests.bars.support.experiments import Part
from tests.bars.support.experiments.shapes import PATTERNS, SHAPES, Floats, Units, units_of

RUNS, UNITS, LOOKS = 10_000, 10_000, 100
CONVERSATIONS = 2_000
"""Of about six turns: as many requests as there are units else, or a few more."""
AT_ONCE = 2_500
LEAST_RUNS, LEAST_UNITS_EACH = 200, 500
PROCESSES = 2
ALPHA, RATIO_ALPHA = 0.05, 0.01
Z = 1.959964
Lanes = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Naive:
    """Sums of requests by arm, for the usual z-test of two averages."""

    counts: Floats
    totals: Floats
    squares: Floats

    @classmethod
    def start(cls, lanes: int) -> Naive:
        """Without requests."""
        return cls(*(np.zeros((2, lanes)) for _ in range(3)))

    def fold(self, units: Units) -> Naive:
        """With one unit in each lane more."""
        sides = np.stack([units.arms == 0, units.arms == 1])
        total, squares = units.alike
        return Naive(self.counts + sides * units.turns, self.totals + sides * total, self.squares + sides * squares)

    def rejects(self) -> Lanes:
        """Whether the averages differ by more than 1.96 standard errors."""
        counts = np.maximum(self.counts, 2)
        means = self.totals / counts
        variances = np.maximum(self.squares / counts - means**2, 1e-12) / counts
        return np.asarray(np.abs(means[1] - means[0]) > Z * np.sqrt(variances.sum(axis=0)))


@dataclass(frozen=True, slots=True)
class Found:
    """Of one shape and pattern: runs, and in how many of them there was a difference at any look, and so on."""

    shape: str
    pattern: str
    runs: int
    ours: int
    missed: int
    """Runs with a difference that the sequence did not contain at some look."""
    naive_any: int
    naive_last: int

    def row(self) -> dict[str, Any]:
        """For the result's file and the table."""
        low, high = wilson(self.ours, self.runs)
        rates = {name: getattr(self, name) / self.runs for name in ("ours", "naive_any", "naive_last")}
        coverage = 1 - self.missed / self.runs
        bounds = {"lower": round(low, 4), "upper": round(high, 4)}
        return {"shape": self.shape, "pattern": self.pattern, **rates, **bounds, "coverage": coverage}


@dataclass(frozen=True, slots=True)
class Task:
    """A part of the runs of one case."""

    shape: int
    pattern: int
    chunk: int
    lanes: int
    units: int


def measure(folder: Path, scale: float) -> Part:
    """All shapes in all patterns, in two processes."""
    runs, units = max(LEAST_RUNS, int(RUNS * scale)), max(LEAST_UNITS_EACH, int(UNITS * min(1.0, scale)))
    lanes = min(runs, AT_ONCE)
    chunks = range(runs // lanes)
    cases = list(product(range(len(SHAPES)), range(len(PATTERNS))))
    tasks = [Task(shape, pattern, chunk, lanes, units) for shape, pattern in cases for chunk in chunks]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        found = list(_told(pool.map(_found, tasks), len(tasks)))
        ratios = [Task(0, pattern, chunk, lanes, units) for pattern in range(2) for chunk in chunks]
        alarms = list(pool.map(_alarms, ratios))
    whole = len(chunks)
    rows = [_sum(found[start : start + whole]).row() for start in range(0, len(found), whole)]
    alarmed = [sum(alarms[start : start + whole]) / (whole * lanes) for start in range(0, len(alarms), whole)]
    return _part(rows, alarmed, whole * lanes, scale)


def _told(done: Iterator[Found], of: int) -> Iterator[Found]:
    """The same, while a line is said at each tenth."""
    for number, one in enumerate(done, 1):
        if number * 10 // of > (number - 1) * 10 // of:
            print(f"  false_positives: {number} of {of} simulations", flush=True)
        yield one


def _part(rows: list[dict[str, Any]], alarmed: list[float], runs: int, scale: float) -> Part:
    uppers, lowers = [row["upper"] for row in rows], [row["lower"] for row in rows]
    least = min(row["coverage"] for row in rows)
    full = scale >= 1
    bound = "upper" if full else "lower"  # a few runs cannot prove it, but refute it
    most = wilson(round(max(alarmed) * runs), runs)[0] if not full else max(alarmed)
    return Part(
        figures={"fpr_upper_max": max(uppers), "coverage_min": round(least, 4), "srm_fpr": round(max(alarmed), 4)},
        bars={
            f"false positives within {ALPHA:g} at 100 looks, by Wilson's {bound} bound": max(uppers if full else lowers)
            <= ALPHA,
            "the difference lies in 95 % of sequences at all looks": (
                wilson(round(least * runs), runs)[1] if not full else least
            )
            >= 1 - ALPHA,
            f"wrong alarms of the sample ratio within {RATIO_ALPHA:g}": most <= RATIO_ALPHA,
        },
        detail={"false_positives": rows, "sample_ratio_alarms": alarmed, "runs": runs},
    )


def _found(task: Task) -> Found:
    shape, pattern, lanes = SHAPES[task.shape], PATTERNS[task.pattern], task.lanes
    count = task.units * CONVERSATIONS // UNITS if pattern.conversations else task.units
    every = max(1, count // LOOKS)
    alike = apart = MeanDifference.start(span=shape.span)
    naive = Naive.start(lanes)
    ours, missed, naively, last = (np.zeros(lanes, np.bool_) for _ in range(4))
    seed = [task.shape, task.pattern, task.chunk]
    for number, units in enumerate(units_of(shape, pattern, count, lanes, seed), start=1):
        alike = alike.fold(units.arms, units.shares, units.alike[0] / units.turns)
        apart = apart.fold(units.arms, units.shares, units.apart / units.turns)
        naive = naive.fold(units)
        if number % every == 0 and number >= LEAST_UNITS:
            ours |= _outside(alike, 0.0)
            missed |= _outside(apart, shape.effect)
            last = naive.rejects()
            naively |= last
    counts = (int(one.sum()) for one in (ours, missed, naively, last))
    return Found(shape.name, pattern.name, lanes, *counts)


def _outside(state: MeanDifference, difference: float) -> Lanes:
    interval = state.interval(ALPHA)
    return np.asarray((interval.low > difference) | (interval.high < difference))


def _sum(parts: list[Found]) -> Found:
    names = ("runs", "ours", "missed", "naive_any", "naive_last")
    return replace(parts[0], **{name: sum(getattr(part, name) for part in parts) for name in names})


def _alarms(task: Task) -> int:
    """Wrong alarms of the sample ratio, which is looked at after every unit."""
    shares = PATTERNS[task.pattern].shares
    chance, state = np.random.default_rng([99, task.pattern, task.chunk]), SampleRatio.start()
    for number in range(task.units):
        share = shares[number * len(shares) // task.units]
        state = state.fold((chance.random(task.lanes) < share).astype(np.int64), (1 - share, share))
    return int(np.sum(state.alarms()))

"""Which arm a unit gets: evenly, independently of other experiments, the same in every process and through a ramp."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gateway.handoffs import Arm, Target, Unit
from gateway.splits.assignment import BUCKETS, draw_of, hash_of
from gateway.steps.assign import assign
from registry.splits.ranges import Ranges, change, lay_out
from tests.bars.support.experiments import Part
from tests.live.installation import ROOT
from tests.support.assignment import bucket_of, choose

IDS, LEAST_IDS, SALTS = 1_000_000, 5_000, 20
UNITS, LEAST_UNITS = 100_000, 10_000
LEAST_P = 0.001
CELLS = 1_000
"""Groups of ten buckets that are counted."""
PARTS = 10
"""Arms of two experiments, each with a tenth, whose pairs are counted."""
MOST_US = 5.0
RAMPS = (
    [{0: BUCKETS - share, 1: share} for share in (100, 500, 2_500, 5_000)],
    [{0: BUCKETS - 3 * share, 1: share, 2: share, 3: share} for share in (33, 166, 833, 1_666, 3_333)],
    [{0: 7_000 - share, 1: share, 2: 2_000, 3: 1_000} for share in (100, 500, 2_500, 5_000)],
)
"""Weights by arm, step by step; the control, 0, gives, and nobody else."""
Buckets = NDArray[np.int64]


def buckets(salt: bytes, count: int) -> Buckets:
    """Of the units `unit-0`, `unit-1`, …"""
    return np.fromiter((bucket_of(hash_of(salt, f"unit-{number}")) for number in range(count)), np.int64, count)


def measure(folder: Path, scale: float) -> Part:
    """Chi-square tests over all salts and all neighbours among them, other processes, ramps, and a clock."""
    from scipy.stats import chi2, chi2_contingency

    count = max(LEAST_IDS, int(IDS * min(1.0, scale)))
    drawn = [buckets(f"salt-{number}".encode(), count) for number in range(SALTS)]
    uniform, independent = [], []
    for one, other in pairwise([*drawn, drawn[0]]):
        cells = np.bincount(one // (BUCKETS // CELLS), minlength=CELLS)
        uniform.append(float(chi2.sf(((cells - count / CELLS) ** 2).sum() / (count / CELLS), CELLS - 1)))
        both = (one * PARTS // BUCKETS) * PARTS + other * PARTS // BUCKETS
        table = np.bincount(both, minlength=PARTS * PARTS).reshape(PARTS, PARTS)
        independent.append(float(chi2_contingency(table).pvalue))
    units = buckets(b"salt", max(LEAST_UNITS, int(UNITS * min(1.0, scale))))
    changed, left = elsewhere(units), sum(leavers(steps, units) for steps in RAMPS)
    assign_us = _clocked()
    return Part(
        figures={
            "uniform_p_min": round(min(uniform), 5),
            "independent_p_min": round(min(independent), 5),
            "units_changed": changed,
            "units_left": left,
            "assign_us": round(assign_us, 2),
        },
        bars={
            f"buckets of {SALTS} salts are uniform (p > {LEAST_P:g})": min(uniform) > LEAST_P,
            f"arms of two experiments are independent (p > {LEAST_P:g})": min(independent) > LEAST_P,
            f"none of {len(units)} units has another arm in another process": changed == 0,
            "no unit leaves a treatment while the control alone gives": left == 0,
        },
        speed={f"an assignment within {MOST_US:g} µs": assign_us <= MOST_US},
        detail={"ids": count},
    )


CHILD = """
import sys
from gateway.splits.assignment import hash_of
from tests.support.assignment import bucket_of
print(*(bucket_of(hash_of(b"salt", f"unit-{number}")) for number in range(int(sys.argv[1]))))
"""


def elsewhere(units: Buckets) -> int:
    """How many units have another bucket in either of two new processes, whose `hash()` differs."""
    changed = 0
    for seed in ("1", "2"):
        command, environment = [sys.executable, "-c", CHILD, str(len(units))], {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
        changed += int((np.array(done.stdout.split(), np.int64) != units).sum())
    return changed


def leavers(steps: list[dict[int, int]], units: Buckets) -> int:
    """How many of the units leave a treatment on the way through these weights."""
    ranges, left = lay_out(list(steps[0].items())), 0
    arms = _arms(ranges)[units]
    for step in steps[1:]:
        ranges = change(ranges, list(step.items()))
        after = _arms(ranges)[units]
        left += int(((arms != 0) & (after != arms)).sum())
        arms = after
    return left


def _arms(ranges: Ranges) -> Buckets:
    return np.array([choose(ranges, bucket) for bucket in range(BUCKETS)])


def _clocked() -> float:
    """Microseconds of processor time for one assignment, best of five."""
    ranges, best = lay_out([(0, 5_000), (1, 2_500), (2, 2_500)]), float("inf")
    arms = [(until, Arm(str(number), "sha256:b")) for until, number in ranges]
    target = Target("a", None, None, None, None, None, draw=draw_of(b"salt-of-an-experiment", arms))
    units = [Unit(hashlib.sha256(str(number).encode()).hexdigest(), "header") for number in range(20_000)]
    for _ in range(5):
        began = time.process_time()
        for unit in units:
            assign(target, unit)
        best = min(best, time.process_time() - began)
    return best / len(units) * 1e6

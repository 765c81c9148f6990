"""Experiments: false positives at every look, coverage, power, assignment, and what a bad version may do.

Figures, each of the part (`support/experiments/`) that measures it: `fpr_upper_max`, the largest of Wilson's upper
bounds of how often a difference is found where there is none, in 100 looks; `coverage_min`, the smallest part of runs
whose sequence has the difference at all looks; `srm_fpr`, wrong alarms of the sample ratio; `pairs_to_decide`, the
median where 60 % of pairs are won; `sample_ratio`, units for a drop by 2 points on .6 in multiples of a fixed sample's;
`aa_rollbacks` and `aa_wins`: of 200 experiments whose arms are the same; `rollback_s` and `exposed_units`: of a canary
on a real gateway that begins to fail 20 % of its requests; `hot_path_us`, processor time of a request's way through the
gateway in a running experiment beyond that of one in none; `shadow_p95_ratio`, time to the first byte beside copies of
10 % of requests on a full engine, by that without.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.bars.support.experiments import (
    Part,
    assignment,
    false_positives,
    hot_path,
    power,
    relatives,
    rollback,
    same_arms,
    shadow,
)

PARTS = (assignment, hot_path, power, rollback, same_arms, relatives, shadow, false_positives)


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Every part, one after the other."""
    parts: list[Part] = []
    for number, part in enumerate(PARTS):
        (own := folder / str(number)).mkdir()
        parts.append(part.measure(own, scale))
    return {
        name: {key: value for part in parts for key, value in getattr(part, name).items()}
        for name in ("figures", "bars", "speed", "detail")
    }

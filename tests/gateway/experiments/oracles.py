"""What others compute of the same numbers: run by a Python that has ville 0.1.0, prints the document `oracles.json`.

ville (BSD-3) is a library of confidence sequences and e-values; ours and its formulas were written apart.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def units(count: int, per_mille: int) -> list[tuple[int, float]]:
    """Arm and value of each unit, by whole numbers alone, the same on every machine; the first value is 0."""
    arms = [int(number * 104_729 % 1_000 < per_mille) for number in range(count)]
    return [(arm, number * 7_919 % 1_000 / 250 + arm * (number % 2) / 4) for number, arm in enumerate(arms)]


def wins(count: int) -> list[int]:
    """1 and 0, of which 3 in 5 are 1."""
    return [int(number * 7_919 % 5 < 3) for number in range(count)]


BOUNDARIES = ((100, 0.05, 0.002), (1_000, 0.05, 0.002), (20_000, 0.01, 0.0005), (5_000, 0.001, 0.01))
"""Effective units, alpha, the paper's ρ²."""


def main() -> None:
    """Everything, as JSON."""
    import numpy as np
    from ville._boundaries import normal_mixture
    from ville.ab import AsymptoticABTest
    from ville.proportions import BernoulliCS, BernoulliTest

    found: dict[str, Any] = {"boundaries": []}
    for count, alpha, mixing in BOUNDARIES:
        both, one = (float(normal_mixture(count, alpha, 1 / mixing, one_sided=sided)) for sided in (False, True))
        found["boundaries"].append([both, one])
    for name, share in (("even", 0.5), ("fifth", 0.2)):
        drawn = units(2_000, round(1_000 * share))
        test = AsymptoticABTest(alpha=0.05, propensity=share, t_opt=5_000, min_samples=200)
        test.fit(np.array([value for _, value in drawn]), np.array([arm for arm, _ in drawn]))
        found[name] = [float(test.estimate_[-1]), *(float(end) for end in test.interval())]
    pairs = BernoulliTest(0.5, prior=(20.0, 20.0)).fit(wins(200))
    rate = BernoulliCS(0.05, prior=(20.0, 20.0), intersect=False).fit(wins(200))
    found["pairs"] = [float(pairs.log_e_values_[-1]), *(float(end) for end in rate.interval())]
    json.dump(found, sys.stdout, indent=1)


if __name__ == "__main__":
    main()

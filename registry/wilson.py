"""Wilson's interval of a rate, for a sample of a size that was fixed before. Pure."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(successes: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """What the rate of successes lies between (E. B. Wilson, JASA 22, 1927). Raises `ValueError` without a sample."""
    if not 0 <= successes <= total or total < 1:
        raise ValueError(f"{successes} of {total}: expected 0 <= successes <= total and total >= 1")
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    middle = (successes + z2 / 2) / (total + z2)
    half = math.sqrt(z2 * (successes * (total - successes) / total + z2 / 4)) / (total + z2)
    low = middle - half if successes else 0.0  # exact at the ends, where rounding would leave 1e-18
    high = middle + half if successes < total else 1.0
    return low, high

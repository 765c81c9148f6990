"""What is left of alpha where there are several questions."""

from __future__ import annotations

import math
from collections.abc import Sequence


def shared_alpha(alpha: float, questions: int) -> float:
    """Alpha of each of so many questions (guardrails × treatments), so that any of them is wrong with probability
    `alpha` at most, whatever they have to do with each other (C. E. Bonferroni, 1936).
    """
    return alpha / max(1, questions)


def e_bh(log_e_values: Sequence[float], alpha: float) -> list[int]:
    """Which of many hypotheses to reject so that at most a share `alpha` of those is expected to be wrong.

    The k largest, for the largest k whose kth e-value is at least `count / (k·alpha)`, however they depend on each
    other: R. Wang and A. Ramdas, False discovery rate control with e-values, JRSS B 84, 2022. Indices, rising.
    """
    order = sorted(range(len(log_e_values)), key=lambda index: -log_e_values[index])
    count = 0
    for k, index in enumerate(order, start=1):
        if log_e_values[index] >= math.log(len(order) / (k * alpha)):
            count = k
    return sorted(order[:count])

"""How much an engine works for a token, fitted from what engines count themselves. Pure.

    busy time of a sample  ≈  a · uncached prompt tokens + b · completion tokens + c · steps,     a, b, c ≥ 0

is solved by least squares over all samples (non-negative, by trying each set of those that are 0: there are seven).
What a step takes whatever is in it falls to completion tokens, as each needs a step:  b + c · steps / completions.

A fit is made only of samples that can tell prompts from completions: enough of them, of traffic whose mix changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt

from registry.engine_costs.weights import EngineSample, FittedWeights

FEWEST_SAMPLES = 20
SMALLEST_SPREAD = 0.05
"""Of the samples' share of completions in their tokens, its standard deviation."""
LARGEST_RESIDUAL = 0.25
"""A fit that leaves more than that unexplained is none: a real engine's with 0.48 was worse than what is assumed."""
PS_PER_MS = 10**9


@dataclass(frozen=True, slots=True)
class NoFit:
    """Why samples say nothing about weights."""

    reason: str


def fit(samples: Sequence[EngineSample], made_at_ms: int) -> FittedWeights | NoFit:
    """Weights of one base and kind of engine from its samples."""
    used = [one for one in samples if one.busy_ms > 0 and one.uncached_tokens + one.completion_tokens > 0]
    if len(used) < FEWEST_SAMPLES:
        return NoFit(f"{len(used)} samples of engines at work, and {FEWEST_SAMPLES} are needed")
    shares = [one.completion_tokens / (one.uncached_tokens + one.completion_tokens) for one in used]
    mean = sum(shares) / len(shares)
    if sqrt(sum((share - mean) ** 2 for share in shares) / len(shares)) < SMALLEST_SPREAD:
        return NoFit("the traffic was always the same mix of prompts and completions, which cannot be told apart")
    columns = [(one.uncached_tokens, one.completion_tokens, one.steps) for one in used]
    busy = [float(one.busy_ms) for one in used]
    a, b, c = non_negative_least_squares(columns, busy)
    completions = sum(one.completion_tokens for one in used)
    steps = sum(one.steps for one in used)
    per_completion = b + (c * steps / completions if completions else 0.0)
    left = [y - a * p - b * d - c * s for y, (p, d, s) in zip(busy, columns, strict=True)]
    residual = sqrt(sum(x * x for x in left) / sum(y * y for y in busy))
    if not a or not per_completion or residual > LARGEST_RESIDUAL:
        return NoFit(f"no weights above 0 fit the samples (residual {residual:.2f})")
    return FittedWeights(
        used[-1].base_digest,
        used[-1].kind,
        round(a * PS_PER_MS),
        round(per_completion * PS_PER_MS),
        round(c * PS_PER_MS),
        round(residual, 6),
        len(used),
        made_at_ms,
    )


def non_negative_least_squares(
    rows: Sequence[tuple[float, float, float]], wanted: Sequence[float]
) -> tuple[float, float, float]:
    """Three weights, none of them negative, with the least sum of squares of `wanted` less the weighted rows.

    The optimum has the normal equations of those of its weights that are not 0, so of all sets of such the feasible one
    with the least sum is it.
    """
    scale = [sqrt(sum(row[place] ** 2 for row in rows)) or 1.0 for place in range(3)]
    scaled = [tuple(row[place] / scale[place] for place in range(3)) for row in rows]
    gram = [[sum(row[i] * row[j] for row in scaled) for j in range(3)] for i in range(3)]
    right = [sum(row[i] * y for row, y in zip(scaled, wanted, strict=True)) for i in range(3)]
    best, least = (0.0, 0.0, 0.0), 0.0
    for count in (1, 2, 3):
        for of in combinations(range(3), count):
            found = _solved([[gram[i][j] for j in of] for i in of], [right[i] for i in of])
            if found is None or min(found) < 0:
                continue
            explained = -sum(weight * right[i] for weight, i in zip(found, of, strict=True))
            if explained < least - 1e-9 * abs(least):
                weights = dict(zip(of, found, strict=True))
                least = explained
                best = (weights.get(0, 0.0), weights.get(1, 0.0), weights.get(2, 0.0))
    return best[0] / scale[0], best[1] / scale[1], best[2] / scale[2]


def _solved(matrix: list[list[float]], right: list[float]) -> list[float] | None:
    """By elimination; `None` where the rows say the same."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for place in range(size):
        pivot = max(range(place, size), key=lambda at: abs(rows[at][place]))
        if abs(rows[pivot][place]) < 1e-9:
            return None
        rows[place], rows[pivot] = rows[pivot], rows[place]
        for other in range(size):
            if other != place:
                factor = rows[other][place] / rows[place][place]
                rows[other] = [one - factor * two for one, two in zip(rows[other], rows[place], strict=True)]
    return [rows[place][size] / rows[place][place] for place in range(size)]

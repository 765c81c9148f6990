"""Does a loaded adapter do what it did when it was trained?

The engine's differences served-minus-base `s` are projected on those of the effect proof, `e`:
`strength = Σ s·e / Σ e·e`. 1 is the trained effect, 0 is none; we ask for at least one half, which holds across dtypes
and tensor parallelism where an absolute tolerance would not.
"""

from __future__ import annotations

from collections.abc import Sequence

MIN_STRENGTH = 0.5


def strength(served_minus_base: Sequence[float], expected: Sequence[float]) -> float:
    """`Σ s·e / Σ e·e`: 1 when the served effect is the trained one, 0 when there is none."""
    norm = sum(value * value for value in expected)
    if norm == 0:
        return 0.0
    return sum(s * e for s, e in zip(served_minus_base, expected, strict=True)) / norm

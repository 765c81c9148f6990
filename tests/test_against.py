"""The interval that a comparison of two trees is told with."""

from __future__ import annotations

import random

from tests.against import interval


def test_the_interval_has_the_true_median_nineteen_times_in_twenty() -> None:
    draw = random.Random(7)
    held = 0
    for _ in range(400):
        least, most = interval([draw.lognormvariate(0, 0.5) for _ in range(60)])
        held += least <= 1 <= most
    assert 370 <= held <= 398


def test_few_values_are_between_their_ends() -> None:
    assert interval([3.0]) == (3.0, 3.0)
    assert interval([2.0, 1.0, 4.0]) == (1.0, 4.0)

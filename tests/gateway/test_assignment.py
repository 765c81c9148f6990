"""Which arm a unit gets: evenly, independently of other experiments, and for good while weights rise."""

from __future__ import annotations

import random
from pathlib import Path

from gateway.splits.assignment import BUCKETS
from registry.splits.ranges import change, lay_out
from tests.bars.support.experiments import assignment

SEED = 5


def test_assignment_is_even_and_independent_and_the_same_everywhere_at_a_small_scale(tmp_path: Path) -> None:
    found = assignment.measure(tmp_path, 0.0)
    assert all(found.bars.values()), found


def test_nobody_leaves_a_treatment_in_any_ramp_in_which_the_control_alone_gives() -> None:
    """Any number of treatments, of which some may wait while others rise."""
    chance = random.Random(SEED)
    for _ in range(10):
        arms = chance.randint(1, 5)
        weights = dict.fromkeys(range(1, arms + 1), 0)
        ranges = lay_out([(0, BUCKETS), *weights.items()])
        before = owners(ranges)
        while (room := BUCKETS - sum(weights.values())) > 0:
            more = {arm: chance.choice([0, chance.randint(0, room // arms)]) for arm in weights}
            weights = {arm: weight + more[arm] for arm, weight in weights.items()}
            if not any(more.values()):
                weights[1] += room  # the last step
            ranges = change(ranges, [(0, BUCKETS - sum(weights.values())), *weights.items()])
            after = owners(ranges)
            assert all(old == new or old == 0 for old, new in zip(before, after, strict=True))
            before = after


def owners(ranges: tuple[tuple[int, int], ...]) -> list[int]:
    found: list[int] = []
    for until, arm in ranges:
        found += [arm] * (until - len(found))
    return found

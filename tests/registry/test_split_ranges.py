"""The buckets of a split: what a change of weights may move, over many random changes."""

from __future__ import annotations

import random

from registry.splits.ranges import FULL_WEIGHT, Ranges, change, lay_out

SEED = 11


def owners(ranges: Ranges) -> list[int]:
    found: list[int] = []
    for until, arm in ranges:
        found += [arm] * (until - len(found))
    return found


def drawn(chance: random.Random, arms: int) -> list[int]:
    cuts = sorted(chance.choice([0, 1, 100, 2_500, 5_000, 9_999, FULL_WEIGHT]) for _ in range(arms - 1))
    return [until - since for since, until in zip([0, *cuts], [*cuts, FULL_WEIGHT], strict=True)]


def test_every_change_of_weights_moves_the_least_that_it_can_and_nobody_between_arms_that_both_gain() -> None:
    chance = random.Random(SEED)
    for _ in range(60):
        arms = list(range(chance.randint(2, 5)))
        weights = dict(zip(arms, drawn(chance, len(arms)), strict=True))
        ranges = lay_out(list(weights.items()))
        for _ in range(4):
            wanted = dict(zip(arms, drawn(chance, len(arms)), strict=True))
            changed = change(ranges, list(wanted.items()))
            ways = [way for way in zip(owners(ranges), owners(changed), strict=True) if way[0] != way[1]]
            assert {arm: owners(changed).count(arm) for arm in arms} == wanted
            assert len(ways) == sum(max(0, wanted[arm] - weights[arm]) for arm in arms)
            assert all(wanted[old] < weights[old] and wanted[new] > weights[new] for old, new in ways)
            ranges, weights = changed, wanted


def test_a_ramp_up_and_down_again_ends_where_it_began() -> None:
    steps = [[(0, 10_000 - weight), (1, weight)] for weight in (0, 100, 500, 2_500, 5_000)]
    ranges = lay_out(steps[0])
    seen = [ranges]
    for step in steps[1:]:
        seen.append(ranges := change(ranges, step))
    for step, before in zip(reversed(steps[:-1]), reversed(seen[:-1]), strict=True):
        ranges = change(ranges, step)
        assert ranges == before


def test_an_arm_that_is_gone_gives_all_of_its_buckets() -> None:
    three = lay_out([(7, 5_000), (8, 3_000), (9, 2_000)])
    assert change(three, [(7, 6_000), (9, 4_000)]) == ((6_000, 7), (10_000, 9))

"""Ages of what began before a clock was put forward."""

from __future__ import annotations

import random

from registry.experiments.clock_jumps import Jump, began_until

HOUR_MS = 3_600_000


def test_what_began_before_a_jump_is_as_old_as_it_was() -> None:
    jump = Jump(10_000, 10_000 + HOUR_MS)
    for passed_ms in range(0, 3_000, 250):
        until_ms = began_until(jump.after_ms + passed_ms, 1_000, [jump])
        assert until_ms <= min(jump.before_ms, jump.before_ms + passed_ms - 1_000) or until_ms >= jump.after_ms
    assert began_until(jump.after_ms + 400, 1_000, [jump]) == 9_400
    assert began_until(jump.after_ms + 1_000, 1_000, [jump]) == jump.after_ms, "all that began before is old enough"
    assert began_until(jump.after_ms + 400, 1_000, []) == jump.after_ms - 600


def test_whatever_jumps_there_were_nothing_is_taken_for_older_than_it_is() -> None:
    chance = random.Random(7)
    for _ in range(200):
        wall, steady, jumps, began = 0, 0, [], []
        for _ in range(60):
            passed = chance.randrange(1, 500)
            wall, steady = wall + passed, steady + passed
            if chance.random() < 0.1:
                jumps.append(Jump(wall, wall + chance.randrange(1, 5_000)))
                wall = jumps[-1].after_ms
            began.append((wall, steady))
        until_ms = began_until(wall, 2_000, jumps)
        for began_wall, began_steady in began:
            assert (began_wall <= until_ms) == (steady - began_steady >= 2_000)

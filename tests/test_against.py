"""Slices of targets in turn, and the interval that their ratios are told with."""

from __future__ import annotations

import random

import pytest

from loadtest.overhead import Target
from loadtest.testing import run_mock_engine
from tests.against import interval, slices


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


async def test_targets_are_asked_in_turn_there_and_back_and_the_first_two_rounds_are_left_out() -> None:
    looked: list[int] = []

    def clock(pid: int) -> float:
        looked.append(pid)
        return 100.0 * len(looked) * pid

    async with run_mock_engine() as engine:
        targets = [Target(engine.url, "base", pid=pid) for pid in (1, 2, 3)]
        found = await slices(targets, stream=False, requests=5, pairs=2, at_once=2, clock=clock)
        asked = (await engine.state())["requests"]["base"]
    assert looked == [3, 2, 1, 1, 2, 3, 3, 3, 2, 2, 1, 1, 1, 1, 2, 2, 3, 3]
    assert found == [[20.0, 20.0], [40.0, 40.0], [60.0, 60.0]]
    assert asked == 4 * 3 * 5


async def test_a_wrong_answer_ends_a_comparison() -> None:
    async with run_mock_engine() as engine:
        await engine.faults(fail_next=[500])
        with pytest.raises(RuntimeError, match="HTTP 500"):
            await slices([Target(engine.url, "base", pid=1)], False, 2, 1, clock=float)

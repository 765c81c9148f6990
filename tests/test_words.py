"""Pages and commands write the same values in the same words, though the dashboard imports nothing of ours."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction

import pytest

from dashboard.components import figures
from gateway.cost import baselines
from registry import days, money, words
from registry.experiments.words import duration

BOUNDS = [
    unit * scale for unit in (1, 10, 100, 999.4, 999.5, 999.6, 1_000) for scale in (1, 10**3, 10**6, 10**9, 10**12)
]
DRAW = random.Random(7)
WIDE = [round(10 ** DRAW.uniform(0, 15)) for _ in range(2_000)]


def test_sizes_are_written_alike() -> None:
    for value in (0, *range(2_000), *map(round, BOUNDS), *WIDE):
        assert figures.size(value) == words.size(value), value


def test_a_page_rounds_the_money_that_a_command_writes_out() -> None:
    for nano in (0, *range(1, 2_000), *WIDE, *(-value for value in WIDE)):
        said = figures.nano_dollars(nano).replace("$", "").replace(",", "").replace("−", "-")
        exact, shown = Decimal(money.nano_to_dollars(nano)), Decimal(said)
        assert abs(shown - exact) <= Decimal(1).scaleb(int(shown.as_tuple().exponent)) / 2, nano


@pytest.mark.parametrize("at_ms", [0, 951_782_399_999, 1_796_000_000_000, 1_796_000_000_499, 4_102_444_799_500])
def test_instants_are_the_same_to_the_second(at_ms: int) -> None:
    assert figures.utc(at_ms).removesuffix(" UTC") == days.when(at_ms).removesuffix("Z")
    assert figures.utc(None) == days.when(None)


def test_whole_percents_and_whole_times_are_written_alike() -> None:
    for number in range(101):
        assert figures.percent(number / 100) == baselines.percent(Fraction(number, 100))
    for seconds in (*range(60), *range(60, 3_600, 60), *range(3_600, 86_400, 3_600)):
        assert figures.seconds(seconds) == duration(seconds)

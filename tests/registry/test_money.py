"""Money is exact: a price to its last rounding, and dollars as people write them, both ways."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import NamedTuple

import pytest

from registry.errors import InvalidInput
from registry.money import MAX_NANO, completion_within, cost_nano, dollars_to_nano, most_nano, nano_to_dollars


class Price(NamedTuple):
    input_nano_per_mtok: int
    cached_input_nano_per_mtok: int
    output_nano_per_mtok: int


@pytest.mark.parametrize(
    ("prompt", "cached", "completion", "nano"),
    [(0, 0, 0, 0), (1_000_000, 0, 0, 300), (1_000_000, 1_000_000, 0, 30), (0, 0, 1_000_000, 1_200), (1, 0, 0, 0)],
)
def test_each_kind_of_token_has_its_price(prompt: int, cached: int, completion: int, nano: int) -> None:
    assert cost_nano(prompt, cached, completion, Price(300, 30, 1_200)) == nano


def test_a_cost_is_rounded_once_half_up_and_never_above_the_most_that_was_held() -> None:
    price = Price(333_333, 77_777, 1_234_567)
    for number in range(500):
        prompt, cached, completion = number * 7, number * 3, number * 11
        exact = Fraction(
            (prompt - cached) * 333_333 + cached * 77_777 + completion * 1_234_567,
            1_000_000,
        )
        cost = cost_nano(prompt, cached, completion, price)
        assert -Fraction(1, 2) < cost - exact <= Fraction(1, 2)
        assert cost <= most_nano(prompt, completion, price)


def test_what_is_cached_may_cost_more_and_is_held_for_then() -> None:
    assert most_nano(1_000_000, 0, Price(1, 5, 0)) == 5


def test_one_attempt_costs_what_the_price_list_says_to_the_nano_dollar() -> None:
    # (600 · $0.30 + 400 · $0.15 + 100 · $1.20) / 1,000,000 = $0.000,36
    assert cost_nano(1_000, 400, 100, Price(300_000_000, 150_000_000, 1_200_000_000)) == 360_000


def test_a_fraction_of_a_nano_dollar_is_rounded_half_up_once() -> None:
    one = Price(500_000, 499_999, 0)
    assert cost_nano(1, 0, 0, one) == 1
    assert cost_nano(1, 1, 0, one) == 0
    assert cost_nano(3, 0, 0, one) == 2


def test_more_cached_than_prompt_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="cached tokens"):
        cost_nano(1, 2, 0, Price(1, 1, 1))


def test_what_money_is_enough_for_costs_no_more_and_two_tokens_more_would() -> None:
    draw = random.Random(5)
    for _ in range(500):
        price = Price(draw.randrange(10**6), draw.randrange(10**6), draw.randrange(10**6, 10**9))
        nano, prompt = draw.randrange(10**9), draw.randrange(1_000)
        fits = completion_within(nano, prompt, price)
        assert fits is not None
        if fits >= 0:
            assert most_nano(prompt, fits, price) <= nano
        assert most_nano(prompt, fits + 2, price) > nano
    assert completion_within(0, 1, Price(1, 1, 0)) is None


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0", 0),
        ("0.30", 300_000_000),
        ("1", 1_000_000_000),
        ("1e3", 1_000_000_000_000),
        ("0.000000001", 1),
        ("2.5000000000", 2_500_000_000),
        ("9223372036.854775807", 2**63 - 1),
    ],
)
def test_dollars_become_whole_nano_dollars(text: str, nano: int) -> None:
    assert dollars_to_nano(text, "input") == nano


@pytest.mark.parametrize(
    "text",
    [
        "", "abc", " 2.74", "1_000", "$1", "1,000", "-0.01", "nan", "sNaN", "inf", "-inf", "1e400", "1e-400",
        "0.0000000001", "1e-10", "0.3000000000000000000000000000000000001", "9223372036.854775808",
    ],
)  # fmt: skip
def test_what_is_no_exact_amount_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"hourly is .* expected dollars such as 0\.30") as refused:
        dollars_to_nano(text, "hourly")
    assert refused.value.param == "hourly"


def test_dollars_are_written_with_the_decimals_that_count_and_read_back_as_they_were() -> None:
    assert nano_to_dollars(-1_500_000_000) == "-1.5"
    for nano in (0, 1, 10**9, 1_500_000_000, 300_000_000, 123_456_789_012, MAX_NANO):
        assert dollars_to_nano(nano_to_dollars(nano), "input") == nano

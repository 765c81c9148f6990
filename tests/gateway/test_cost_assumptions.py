"""Shares as people write them, and exact sums in whole nano-dollars."""

from __future__ import annotations

from fractions import Fraction

import pytest

from gateway.cost.assumptions import share_of
from gateway.cost.whole import half_up, in_whole
from registry.errors import InvalidInput


def test_a_share_is_read_exactly_and_what_is_none_is_refused() -> None:
    assert share_of(None, "cached_share") is None
    assert [share_of(text, "cached_share") for text in ("0", "0.25", "1", "1e-3")] == [
        0,
        Fraction(1, 4),
        1,
        Fraction(1, 1000),
    ]
    for text in ("", "a quarter", "25%", "-0.1", "1.01", "nan", "inf", "0." + "1" * 13, "1e-999999999"):
        with pytest.raises(InvalidInput, match=r"cached_share is .*expected a share from 0 to 1"):
            share_of(text, "cached_share")


def test_whole_parts_add_up_to_the_sum_rounded_once() -> None:
    third = Fraction(1, 3)
    assert in_whole([third, third, third]) == [1, 0, 0], "the first of equal remainders"
    assert in_whole([Fraction(5, 2), Fraction(1, 4), Fraction(-7, 4)]) == [3, 0, -2]
    assert in_whole([]) == []
    parts = [Fraction(n * n + 1, 7) * (-1) ** n for n in range(50)]
    whole = in_whole(parts)
    assert sum(whole) == half_up(sum(parts))
    assert all(abs(one - part) < 1 for one, part in zip(whole, parts, strict=True))

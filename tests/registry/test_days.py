"""Days and months of UTC."""

from __future__ import annotations

import pytest

from registry.days import DAY_MS, date_of, day_ms, day_number, day_of, month_of, window_ms
from registry.errors import InvalidInput


def test_windows_are_days_and_months_of_utc() -> None:
    leap = 1_709_164_800_000  # 2024-02-29 00:00 UTC
    assert day_of(leap + 1) == (leap, leap + DAY_MS)
    assert month_of(leap + 1) == (1_706_745_600_000, leap + DAY_MS)
    december = 1_735_603_200_000  # 2024-12-31 00:00 UTC
    assert month_of(december)[1] == december + DAY_MS


def test_a_day_is_a_number_and_a_date_and_both_lead_back_to_its_midnight() -> None:
    for date, midnight_ms in (("1970-01-01", 0), ("2024-02-29", 1_709_164_800_000)):
        assert day_ms(date, "from") == midnight_ms == day_number(midnight_ms) * DAY_MS
        for ms in (midnight_ms, midnight_ms + DAY_MS - 1):
            assert date_of(day_number(ms)) == date


def test_a_window_has_the_days_that_are_named_and_else_the_usual_ends() -> None:
    usual = 5 * DAY_MS, 9 * DAY_MS + 1
    assert window_ms(None, None, usual) == usual
    assert window_ms("1970-01-03", None, usual) == (2 * DAY_MS, usual[1])
    assert window_ms("1970-01-03", "1970-01-04", usual, 1) == (2 * DAY_MS, 3 * DAY_MS)


@pytest.mark.parametrize(
    ("since", "until", "param", "said"),
    [
        ("1970-01-03", "1970-01-03", "until", "for that one day, give 1970-01-04"),
        (None, "1970-01-02", "until", "not after from, 1970-01-06"),
        ("1970-02-01", None, "from", "the window ends before it"),
        ("1970-01-02", "1970-01-10", "from", "more than 7 days before the end"),
        ("yesterday", None, "from", "expected YYYY-MM-DD"),
    ],
)
def test_a_window_that_is_empty_or_too_long_is_refused_by_the_end_at_fault(
    since: str | None, until: str | None, param: str, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        window_ms(since, until, (5 * DAY_MS, 9 * DAY_MS + 1), 7)
    assert refused.value.param == param

"""Days and months of UTC."""

from __future__ import annotations

from registry.days import DAY_MS, date_of, day_ms, day_number, day_of, month_of


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

"""Cost as an operator sees it: a frame at once, then the report with its formulas, then what is ahead."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dashboard.pages.cost import days_of
from tests.support.cost_parts import add_baseline, add_engines, add_traffic
from tests.support.dashboard_parts import Visitor, seen
from tests.support.stack import Stack, open_house, run_stack

NOW_MS = 1_764_424_800_000.0  # 2025-11-29 14:00 UTC


JUNE = "from=2026-06-01&until=2026-06-04"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One gateway; three days of traffic that are over."""
    with open_house(tmp_path_factory.mktemp("cost")) as house:
        for tenant in ("acme", "globex"):
            house.tenant(tenant)
        add_engines(house.registry)
        add_baseline(house.registry)
        add_traffic(house.registry)
        with run_stack(house) as stack:
            yield stack


@pytest.mark.parametrize(
    ("window", "days"),
    [
        ("month", ("2025-11-01", None)),
        ("last", ("2025-10-01", "2025-11-01")),
        ("7d", ("2025-11-23", None)),
        ("90d", ("2025-09-01", None)),
    ],
)
def test_a_window_begins_and_ends_on_days_of_utc(window: str, days: tuple[str, str | None]) -> None:
    assert days_of(window, NOW_MS) == days


def test_the_frame_comes_without_waiting_for_any_sum(operator: Visitor) -> None:
    html = operator.page("/cost?by=version&window=7d")
    assert 'data-live="/cost/report/~live?by=version&amp;window=7d"' in html
    assert 'data-live="/cost/outlook/~live"' in html
    assert html.count("data-late") == 2


def test_the_report_tells_each_line_with_formula_version_and_query(operator: Visitor) -> None:
    text = seen(operator.page(f"/cost/report/~live?by=version&{JUNE}"))
    assert "Bill $288" in text
    assert text.index("the dearest first") < text.index("Side by side"), "who cost most is seen without scrolling"
    assert "the API would be cheaper" in text
    assert "engine_cost.busy_dollars" in text
    assert "SELECT" in text
    assert "Price version p" in text
    assert "attempts that ended as ok, client_aborted, key_revoked" in text
    assert "Nobody knows the tokens of 1 attempt, which is in no figure of an API." in text
    assert "nobody has said what they cost" not in text, "all engines have a cost"
    assert "switchyard cost report --by version --price-version p" in text


def test_a_tenant_s_report_has_no_line_of_another(operator: Visitor) -> None:
    text = seen(operator.page(f"/cost/report/~live?tenant=acme&by=adapter&{JUNE}"))
    assert "acme/" in text
    assert "globex" not in text


def test_an_unknown_tenant_is_told_by_the_part_alone(operator: Visitor) -> None:
    answer = operator.get("/cost/report/~live?tenant=nobody")
    assert answer.status_code == 404
    assert "nobody" in answer.text


def test_what_is_ahead_is_told_or_why_it_cannot_be(operator: Visitor) -> None:
    text = seen(operator.page("/cost/outlook/~live"))
    assert "requests a month from which engines of one's own pay" in text
    assert "What ends at its vendor" in text
    assert "Budgets" in text

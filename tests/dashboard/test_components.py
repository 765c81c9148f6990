"""What pages are made of: numbers with units, axes, charts, tables by address."""

from __future__ import annotations

import re

import pytest
from starlette.requests import Request

from dashboard.components import charts, figures
from dashboard.components.charts import Bar, Series
from dashboard.components.grids import HeatCell, HeatRow, heat
from dashboard.components.marks import Level
from dashboard.components.scales import axis_of, clock
from dashboard.components.tables import TableAddress, page_from_api, page_of
from gateway.admin_key import admin_key
from tests.dashboard.sample import PAGE, TEMPLATES
from tests.support.dashboard_parts import dashboard_of, seen
from tests.support.stack import Stack

MINUTE_MS = 60_000
AT_MS = [number * MINUTE_MS for number in range(4)]


@pytest.mark.parametrize(
    ("form", "value", "said"),
    [
        (figures.plain, 12, "12"),
        (figures.plain, 0.0421, "0.0421"),
        (figures.plain, 1234.5, "1,234"),
        (figures.count, 4321, "4,321"),
        (figures.count, 1_230_000, "1.23 M"),
        (figures.count, 999_999, "1 M"),
        (figures.per_s, 4.25, "4.25/s"),
        (figures.tokens, 1500, "1,500 tok"),
        (figures.percent, 0.125, "12.5 %"),
        (figures.percent, 0.0, "0 %"),
        (figures.percent, 1.0, "100 %"),
        (figures.percent, 0.00042, "0.042 %"),
        (figures.percent, -0.02, "-2 %"),
        (figures.seconds, 0.00085, "850 µs"),
        (figures.seconds, 0.0842, "84.2 ms"),
        (figures.seconds, 59.9, "59.9 s"),
        (figures.seconds, 320, "5 min 20 s"),
        (figures.seconds, 7500, "2 h 5 min"),
        (figures.seconds, 3 * 86_400 + 4 * 3600, "3 d 4 h"),
        (figures.ms, 84.2, "84.2 ms"),
        (figures.size, 13_421_772, "13.4 MB"),
        (figures.size, 999_999, "1 MB"),
        (figures.size, 999, "999 B"),
        (figures.size, 12, "12 B"),
        (figures.dollars, "12.3", "$12.30"),
        (figures.dollars, "-0.0042", "−$0.0042"),
        (figures.dollars, "0.000000012", "$0.000000012"),
        (figures.dollars, 0.00001, "$0.00001"),
        (figures.dollars, 1234.5, "$1,234.50"),
        (figures.nano_dollars, 1_500_000_000, "$1.50"),
        (figures.utc, 0, "1970-01-01 00:00:00 UTC"),
    ],
)
def test_a_number_is_told_with_its_unit(form: figures.Form, value: float, said: str) -> None:
    assert form(value) == said


@pytest.mark.parametrize("form", figures.FILTERS.values(), ids=figures.FILTERS)
def test_what_is_not_known_is_a_dash(form: figures.Form) -> None:
    assert form(None) == "–"


def test_a_moment_is_told_with_how_long_ago_it_is() -> None:
    assert figures.ago(0, 200_000) == "3 min ago"
    assert figures.ago(7_200_000, 0) == "in 2 h"
    assert figures.ago(0, 500) == "now"
    assert seen(figures.when(0, 200_000)) == "3 min ago 1970-01-01 00:00:00 UTC"


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0, 7], (0, 2, 4, 6, 8)),
        ([3, 97], (0, 25, 50, 75, 100)),
        ([-0.02, 0.05], (-0.02, 0, 0.02, 0.04, 0.06)),
        ([], (0, 0.25, 0.5, 0.75, 1)),
        ([None, 0.0], (0, 0.25, 0.5, 0.75, 1)),
        ([float("nan"), 5], (0, 2, 4, 6)),
    ],
)
def test_an_axis_has_round_ticks_that_hold_all_values(values: list[float | None], ticks: tuple[float, ...]) -> None:
    assert axis_of(values).ticks == ticks


def test_a_moment_at_an_axis_is_as_exact_as_the_axis_is_short() -> None:
    at = 1_796_000_000_000
    spans = (60_000, 3_600_000, 7 * 86_400_000, 400 * 86_400_000)
    assert [len(clock(at, span)) for span in spans] == [8, 5, 6, 8]


def test_a_chart_has_its_figures_as_a_table_and_gaps_where_nothing_is_known() -> None:
    lines = [Series("p50", [1.0, None, 2.0, 3.0]), Series("p95", [2, 3, 4, 5])]
    chart = charts.line("Latency", AT_MS, lines, figures.ms)
    path = re.search(r'class="stroke s0 d0" d="([^"]+)"', chart.partition('class="plot"')[2])
    assert path is not None
    assert path[1].count("M") == 1, "from the gap on"
    dots = re.search(r'class="stroke dots s0" d="([^"]+)"', chart)
    assert dots is not None, "a point alone is a dot that can be seen"
    assert dots[1].count("h.01") == 1
    assert "dots s1" not in chart
    assert 'class="stroke s1 d1"' in chart, "the second line is dashed: colour is not alone"
    assert "1970-01-01 00:03:00 UTC 3 ms 5 ms" in seen(chart)
    assert "style=" not in chart


def test_a_band_is_drawn_with_its_margin_and_told_at_each_moment() -> None:
    values = [0.1, 0.2, 0.3, 0.4]
    chart = charts.line(
        "Difference",
        AT_MS,
        [Series("b − a", values, [0.0, 0.1, 0.2, 0.3], [0.2, 0.3, 0.4, 0.5])],
        figures.percent,
        levels=[Level("margin", -0.02)],
    )
    assert 'class="band s0"' in chart
    assert 'class="level"' in chart
    assert "margin (-2 %)" in seen(chart)
    assert "b − a: 10 % [0 %, 20 %]" in chart


def test_what_others_have_named_is_data_in_charts_too() -> None:
    evil = "<script>alert(1)</script>"
    drawn = [
        charts.line(evil, AT_MS, [Series(evil, [1, 2, 3, 4]), Series("x", [1, 2, 3, 4])]),
        charts.area(evil, AT_MS, [Series(evil, [1, 2, 3, 4]), Series("x", [1, 2, 3, 4])]),
        charts.columns(evil, AT_MS, [Series(evil, [1, 2, 3, 4])]),
        charts.bars(evil, [Bar(evil, 1.0, href=f'"{evil}', note=evil)]),
        charts.gauge(evil, 0.5, evil),
        charts.spark(evil, [1, 2, 3]),
        charts.nothing(evil),
        heat(evil, evil, [evil], [HeatRow(evil, [HeatCell(0.5, evil, evil)], note=evil)]),
    ]
    for one in drawn:
        assert "<script" not in one
        assert "&lt;script&gt;" in one


def test_charts_without_points_say_so() -> None:
    assert "Not enough points" in charts.line("x", [], [])
    assert "Not enough points" in charts.area("x", [1], [Series("a", [1])])
    assert "Nothing in this time" in charts.columns("x", [], [])
    assert "Nothing to compare" in charts.bars("x", [])


def test_bars_that_are_negative_go_to_the_left_of_zero() -> None:
    bars = charts.bars("Savings", [Bar("a", 10.0), Bar("b", -10.0)], figures.dollars)
    places = [(float(x), float(width)) for x, width in re.findall(r'x="([\d.]+)" y="20" width="([\d.]+)"', bars)]
    assert places == [(500.0, 500.0), (0.0, 500.0)]
    assert "−$10.00" in bars


def address(query: str) -> TableAddress:
    scope = {"type": "http", "path": "/tenants/~live", "query_string": query.encode(), "headers": [], "scheme": "http"}
    return TableAddress.of(Request({**scope, "server": ("h", 80), "root_path": ""}), "name")


ROWS = [{"name": f"t{number:02}", "size": None if number == 3 else number % 5} for number in range(25)]


def test_a_page_of_rows_is_searched_sorted_and_cut_by_the_address() -> None:
    by = {"name": lambda row: row["name"], "size": lambda row: row["size"]}
    page = page_of(address("q=T1&sort=-name&page=2"), ROWS, text=lambda row: str(row["name"]), by=by, page_rows=4)
    assert [row["name"] for row in page.rows] == ["t15", "t14", "t13", "t12"]
    assert (page.total, page.first) == (10, 5)
    assert page.before == "/tenants?q=T1&sort=-name"
    assert page.next == "/tenants?q=T1&sort=-name&page=3"


def test_what_is_not_known_comes_last_however_it_is_sorted() -> None:
    for sort in ("size", "-size"):
        page = page_of(address(f"sort={sort}"), ROWS, text=str, by={"size": lambda row: row["size"]})
        assert page.rows[-1]["size"] is None


@pytest.mark.parametrize("query", ["page=0", "page=-3", "page=9999999999", "page=x", "sort=nothing", "page=%00"])
def test_an_address_that_makes_no_sense_shows_a_page(query: str) -> None:
    assert page_of(address(query), ROWS, text=str, by={}).rows


def test_another_search_or_order_begins_at_the_first_page() -> None:
    here = address("q=a&page=3&sort=name&window=1h")
    assert here.sorted_by("name") == "/tenants?q=a&sort=-name&window=1h"
    assert here.link(q=None) == "/tenants?sort=name&window=1h"
    assert here.direction("name") == "ascending"
    assert here.direction("size") == "none"


def test_a_page_of_the_api_goes_on_where_the_api_says() -> None:
    page = page_from_api(address("after=a/b@1.0"), [1, 2], "c/d@1.0")
    assert page.next == "/tenants?after=c%2Fd%401.0"
    assert page.before == "/tenants"


def test_every_component_stands_on_the_sample_page(stack: Stack) -> None:
    with dashboard_of(stack.url, [PAGE], TEMPLATES) as visitor:
        visitor.log_in(admin_key(stack.house.settings))
        text = visitor.page("/components?q=00&sort=-requests")
    assert "1–8 of 11 tenants" in seen(text)
    assert 'aria-sort="descending"' in text
    assert text.count("<figure") == 4
    assert "&lt;b&gt;1.2&lt;/b&gt;" in text

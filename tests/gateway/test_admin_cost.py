"""The cost report and statements through the admin API: typed, paged, as JSON, CSV and a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.admin_calls import Admin
from tests.support.cost_parts import FIRST_MS, add_baseline, add_engines, add_traffic
from tests.support.stack import Stack, open_house, run_stack

WINDOW = {"from": "2026-06-01", "until": "2026-06-04", "baseline": "an-api"}


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


def get(admin: Admin, path: str, **query: Any) -> Any:
    answer = admin.ask("GET", path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_report_is_the_one_document_with_dollars_in_text(admin: Admin) -> None:
    document = get(admin, "/cost/report", **WINDOW)
    assert [line["name"] for line in document["lines"]] == ["acme", "acme (shadow)", "globex", "_system", "(idle)"]
    acme = document["lines"][0]
    assert (acme["tariff_dollars"], acme["baselines"]["an-api"]["cost_dollars"]) == ("0.006000507", "0.006604")
    assert document["bill_dollars"] == "288"
    assert document["total"]["engine_cost"]["loaded_dollars"] == "288"
    assert any("staying on the API would be cheaper" in one for one in document["sentences"])
    assert document["explain"] is None
    assert document["baselines"][0]["prices"][0]["source"] == "a list"


def test_the_dearest_lines_are_first_where_that_is_wanted_and_pages_go_on_so(admin: Admin) -> None:
    by_name = get(admin, "/cost/report", by="version", **WINDOW)["lines"]
    lines = get(admin, "/cost/report", by="version", order="cost", **WINDOW)["lines"]
    assert sorted(map(str, lines)) == sorted(map(str, by_name))
    assert lines != by_name
    costs = [float(line["engine_cost"]["loaded_dollars"]) for line in lines if line["kind"] in ("tenant", "shadow")]
    assert costs == sorted(costs, reverse=True)
    first = get(admin, "/cost/report", by="version", order="cost", limit=1, **WINDOW)
    rest = get(admin, "/cost/report", by="version", order="cost", after=first["next"], **WINDOW)
    assert [*first["lines"], *rest["lines"]] == lines


def test_every_number_can_be_opened_and_pages_have_the_same_total(admin: Admin) -> None:
    whole = get(admin, "/cost/report", by="version", explain="true", **WINDOW)
    lines, after, opened = [], None, []
    while True:
        page = get(
            admin,
            "/cost/report",
            by="version",
            explain="true",
            limit=2,
            **WINDOW,
            **({"after": after} if after else {}),
        )
        lines += page["lines"]
        opened += page["explain"]
        assert page["total"] == whole["total"]
        assert len(page["lines"]) <= 2
        if (after := page["next"]) is None:
            break
    assert (lines, opened) == (whole["lines"], whole["explain"])
    assert any("FROM usage_days WHERE" in (one["query"] or "") for one in opened)


def test_pages_of_a_report_until_now_are_of_one_instant(stack: Stack, admin: Admin) -> None:
    asked = {"from": "2026-06-01", "baseline": "an-api", "by": "version", "tenant": "acme", "limit": 1}
    first = get(admin, "/cost/report", **asked)
    registry = stack.house.registry
    registry.idle_policies.put("equal", {}, actor="a test")
    registry.baselines.correct("an-api", {"input": "9"}, source="a list", effective_from_ms=FIRST_MS)
    try:
        second = get(admin, "/cost/report", after=first["next"], **asked)
        assert second["lines"] != first["lines"]
        for of in ("until_ms", "price_version", "cost_version", "total", "bill_dollars"):
            assert second[of] == first[of]
        assert get(admin, "/cost/report", **asked)["total"] != first["total"]
    finally:
        registry.baselines.correct("an-api", {"input": "1"}, source="a list", effective_from_ms=FIRST_MS)
        registry.idle_policies.put("unallocated", {}, actor="a test")


def test_an_api_that_the_log_does_not_have_is_looked_up_as_the_command_line_does(stack: Stack, admin: Admin) -> None:
    known = "anthropic/claude-opus-5"
    asked = {"from": "2026-06-01", "until": "2026-06-04", "baseline": f"{known},no-such-api"}
    document = get(admin, "/cost/report", **asked)
    costs = {name: of["cost_dollars"] for name, of in document["total"]["baselines"].items()}
    assert (costs["no-such-api"], costs[known] is None) == (None, False)
    assert known in stack.house.registry.baselines.names()
    old = get(admin, "/cost/report", price_version="p0", **asked)
    assert old["total"]["baselines"][known]["cost_dollars"] is None, "a price version is asked with what it had"


def test_csv_and_focus_rows_come_as_csv(admin: Admin) -> None:
    answer = admin.ask("GET", "/cost/report", params={**WINDOW, "format": "csv", "limit": 1})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["x-switchyard-next"].endswith(" tenant acme acme")
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["name"], row["an-api label"]) == ("acme", "assumed")
    focus = admin.ask("GET", "/cost/report", params={**WINDOW, "format": "focus"})
    assert "AllocatedMethodId" in focus.text.splitlines()[0]


def test_a_statement_is_a_document_or_a_page(admin: Admin) -> None:
    month = {"tenant": "acme", "month": "2026-06", "baseline": "an-api"}
    document = get(admin, "/cost/statement", **month)
    assert (document["charged_dollars"], document["total"]["engine_cost"]) == ("0.006000507", None)
    inside = get(admin, "/cost/statement", with_engine_costs="true", **month)
    assert inside["total"]["engine_cost"]["loaded_dollars"] is not None
    page = admin.ask("GET", "/cost/statement", params={**month, "format": "html"})
    assert page.headers["content-type"].startswith("text/html")
    assert page.text.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("path", "query", "status", "param", "said"),
    [
        ("/cost/report", {"hosts": "2"}, 400, "hosts", "is no query parameter"),
        ("/cost/report", {"by": "moon"}, 400, "by", "tenant"),
        ("/cost/report", {"cached_share": "2"}, 400, "cached_share", "a share from 0 to 1"),
        ("/cost/report", {"from": "June"}, 400, "from", "expected YYYY-MM-DD"),
        ("/cost/report", {"after": "x"}, 400, "after", "send `next` of the page before"),
        ("/cost/report", {"from": "0001-01-01"}, 400, "from", "at most 36,500 are looked at"),
        ("/cost/bill", {"from": "0001-01-01"}, 400, "from", "at most 36,500 are looked at"),
        ("/cost/report", {"price_version": "p1"}, 404, "price_version", "never had"),
        ("/cost/report", {"cost_version": "c99-00000000"}, 404, "cost_version", "never had"),
        ("/cost/report", {"tenant": "nobody"}, 404, None, "nobody"),
        ("/cost/report", {"baseline": ",".join(map(str, range(11)))}, 400, "baseline", "at most 10"),
        ("/cost/report", {"idle": "reserved"}, 400, "idle", "no tenant has a share yet"),
        ("/cost/statement", {"tenant": "acme", "month": "June"}, 400, "month", "expected YYYY-MM"),
        ("/cost/statement", {"tenant": "acme"}, 400, "month", ""),
    ],
)
def test_what_cannot_be_meant_is_refused(
    admin: Admin, path: str, query: dict[str, str], status: int, param: str | None, said: str
) -> None:
    answer = admin.ask("GET", path, params=query)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"] if param else None) == (status, param), answer.text
    assert said in error["message"]


@pytest.mark.parametrize("path", ["/cost/report", "/cost/statement?tenant=acme&month=2026-06"])
def test_only_the_operator_sees_costs(stack: Stack, admin: Admin, path: str) -> None:
    status, error = admin.refused("GET", path, key=stack.house.keys["acme"])
    assert (status, error["code"]) == (403, "not_an_admin_key")

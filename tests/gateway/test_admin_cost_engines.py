"""What engines cost, and who it falls to, through the admin API."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from registry.days import DAY_MS, date_of
from registry.db import now_ms
from registry.engine_costs.spans import SeenEngine
from tests.support.admin_calls import Admin
from tests.support.stack import Stack, open_house, run_stack
from tests.support.usage_rows import usage_row

DAY = now_ms() // DAY_MS - 3
"""That is over, on which two engines were there and one was used."""
HOUR = 3_600_000
URL = "http://h1:1"
FROM, UNTIL = date_of(DAY), date_of(DAY + 1)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with open_house(tmp_path_factory.mktemp("bill")) as house, run_stack(house) as stack:
        house.tenant("acme")
        begin_ms, registry = DAY * DAY_MS, house.registry
        for hours in (0, 24):
            at_ms = begin_ms + hours * HOUR
            both = (SeenEngine(name, URL, "h1", None, "sha256:b", "vllm on gpu", begin_ms) for name in ("used", "free"))
            registry.engine_spans.see(both, at_ms)
        registry.ledger.record(
            [
                usage_row(
                    tenant,
                    tenant=tenant,
                    engine_id="used",
                    started_at_ms=begin_ms,
                    finished_at_ms=begin_ms + 6 * HOUR,
                    cost_nano=5 * 10**9,
                )
                for tenant in ("acme", "globex")
            ]
        )
        yield stack


def order(**changes: Any) -> dict[str, Any]:
    return {"scope": "engine:used", "kind": "on_demand", "terms": {"hourly": "2"}, "source": "a list", **changes}


def test_a_cost_is_added_listed_and_found_on_the_bill(stack: Stack, admin: Admin) -> None:
    done = admin.ask("POST", "/cost/engines", json=order(effective_from=FROM))
    assert done.status_code == 201, done.text
    assert (done.json()["dollars_an_hour"], done.json()["formula"]) == ("2", "hourly · gpus")
    listed = admin.ask("GET", "/cost/engines").json()
    assert [line["scope"] for line in listed["lines"]] == ["engine:used"]
    bill = admin.ask("GET", "/cost/bill", params={"from": FROM, "until": UNTIL}).json()
    assert (bill["bill"], bill["cost_version"].split(".")[0], bill["idle_policy"]) == (
        "48",
        listed["cost_version"],
        "unallocated",
    )
    assert {(line["kind"], line["tenant"]): line["loaded"] for line in bill["lines"]} == {
        ("tenant", "acme"): "6",
        ("tenant", "globex"): "6",
        ("idle", None): "36",
    }
    assert bill["uncosted_hours"] == 24, "the other engine has no cost"
    assert {one["tenant"]: one["margin"] for one in bill["margins"]} == {"acme": "-1", "globex": "-1"}


def test_a_bill_is_explained_down_to_the_line_of_the_log(stack: Stack, admin: Admin) -> None:
    params = {"from": FROM, "until": UNTIL, "idle": "by_share", "explain": "true"}
    bill = admin.ask("GET", "/cost/bill", params=params).json()
    assert sum(Decimal(line["loaded"]) for line in bill["lines"]) == Decimal(bill["bill"])
    (day,) = [one for one in bill["days"] if one["engine"] == "used"]
    assert day["costs"][0] | {"source": ""} == {
        "line": 1,
        "scope": "engine:used",
        "kind": "on_demand",
        "formula": "hourly · gpus",
        "terms": {"hourly": "2"},
        "source": "",
        "an_hour": "2",
        "hours": 24.0,
    }
    assert bill["formulas"]["margin"] == "tariff - loaded"


def test_a_correction_changes_the_bill_and_not_the_one_of_the_version_before(stack: Stack, admin: Admin) -> None:
    before = admin.ask("GET", "/cost/bill", params={"from": FROM, "until": UNTIL}).json()
    refused = admin.ask("POST", "/cost/engines", json=order(terms={"hourly": "3"}, effective_from=FROM))
    assert refused.status_code == 409, refused.text
    assert "correction" in refused.text
    corrected = order(terms={"hourly": "3"}, effective_from=FROM, correction=True)
    assert admin.ask("POST", "/cost/engines", json=corrected).status_code == 201
    after = admin.ask("GET", "/cost/bill", params={"from": FROM, "until": UNTIL}).json()
    assert (before["bill"], after["bill"]) == ("48", "72")
    params = {"from": FROM, "until": UNTIL, "cost_version": before["cost_version"]}
    assert admin.ask("GET", "/cost/bill", params=params).json() == before


def test_the_idle_policy_is_put_and_counts_where_none_is_asked_for(stack: Stack, admin: Admin) -> None:
    put = admin.ask("PUT", "/cost/idle", json={"policy": "reserved", "shares": {"acme": "0.25"}})
    assert put.status_code == 200, put.text
    assert admin.ask("GET", "/cost/idle").json() == {"policy": "reserved", "shares": {"acme": "0.25"}}
    bill = admin.ask("GET", "/cost/bill", params={"from": FROM, "until": UNTIL}).json()
    acme = next(line for line in bill["lines"] if line["tenant"] == "acme")
    assert Decimal(acme["idle"]) == Decimal(bill["bill"]) * 3 / 4 / 4
    assert admin.ask("PUT", "/cost/idle", json={"policy": "reserved", "shares": {"nobody": "0.25"}}).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "said"),
    [
        ("POST", "/cost/engines", {"json": order(scope="rack:1")}, 400, "scope is 'rack:1'"),
        ("POST", "/cost/engines", {"json": order(terms={})}, 400, "hourly is missing"),
        ("POST", "/cost/engines", {"json": order(kind="free")}, 400, "kind"),
        ("GET", "/cost/engines", {"params": {"after": "x"}}, 400, "after is 'x'"),
        ("GET", "/cost/bill", {"params": {"from": UNTIL, "until": FROM}}, 400, "not after from"),
        ("GET", "/cost/bill", {"params": {"from": "yesterday"}}, 400, "from is 'yesterday'"),
        ("GET", "/cost/bill", {"params": {"from": FROM, "cost_version": "c9-1"}}, 404, "cost_version is 'c9-1'"),
        ("PUT", "/cost/idle", {"json": {"policy": "equal", "shares": {"acme": "1"}}}, 400, "has no shares"),
    ],
)
def test_what_makes_no_sense_is_refused(
    stack: Stack, admin: Admin, method: str, path: str, given: dict[str, Any], status: int, said: str
) -> None:
    answer = admin.ask(method, path, **given)
    assert answer.status_code == status, answer.text
    assert said in answer.text

"""Baselines through the admin API: what is added is shown with its source, at any version, and mistakes are refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.admin_calls import Admin
from tests.support.stack import Stack, open_house, run_stack

PATH = "/cost/baselines"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One engine and one gateway; every test makes a baseline of its own."""
    with open_house(tmp_path_factory.mktemp("baselines")) as house, run_stack(house) as stack:
        yield stack


def test_prices_are_added_corrected_and_shown_at_any_version(admin: Admin) -> None:
    order = {"name": "vendor/model:1", "input": "0.20", "output": "0.80", "source": "contract 17"}
    added = admin.ask("POST", PATH, json={**order, "effective_from": "2026-01-01", "retrieved": "2025-12-24"})
    assert added.status_code == 200, added.text
    before = added.json()["price_version"]
    (input_price, output_price) = added.json()["prices"]
    assert output_price["dollars"] == "0.8"
    assert {
        name: input_price[name] for name in ("component", "dollars", "effective_from", "until", "retrieved_on")
    } == {
        "component": "input",
        "dollars": "0.2",
        "effective_from": "2026-01-01",
        "until": None,
        "retrieved_on": "2025-12-24",
    }
    wrong = {"name": "vendor/model:1", "input": "0.25", "output": None, "source": "the invoice", "correction": True}
    corrected = admin.ask("POST", PATH, json={**wrong, "effective_from": "2026-01-01"})
    assert corrected.status_code == 200, corrected.text
    assert [(p["component"], p["dollars"], p["correction"]) for p in corrected.json()["prices"]] == [
        ("input", "0.25", True)
    ]
    then = admin.get(f"{PATH}/vendor/model:1", price_version=before)
    assert then == added.json()
    assert admin.get(f"{PATH}/vendor/model:1")["prices"][0]["source"] == "the invoice"


def test_what_is_known_beside_prices_is_said_with_its_source(admin: Admin) -> None:
    facts = {"status": "retiring", "ends_on": "2100-01-14", "substitute": "gpt-5.4", "source": "their page"}
    said = admin.ask("PATCH", f"{PATH}/some/api", json={**facts, "claim": "1000", "workload": "a month"})
    assert said.status_code == 200, said.text
    document = said.json()
    assert (document["status"], document["ends_on"], document["substitute"]) == ("retiring", "2100-01-14", "gpt-5.4")
    assert document["facts"]["status"]["source"] == "their page"
    assert document["claim"]["dollars_a_month"] == "1000"
    assert document["prices"] == []
    assert document["stale"] is True, "nobody has looked for a price"
    live = admin.ask("PATCH", f"{PATH}/some/api", json={"status": "live", "source": "they changed their minds"}).json()
    assert (live["status"], live["ends_on"], live["substitute"]) == ("live", None, "gpt-5.4")


def test_baselines_are_paged_by_name_and_the_shipped_ones_are_there(admin: Admin) -> None:
    names: list[str] = []
    page = admin.get(PATH, limit=5)
    while True:
        names += [one["name"] for one in page["baselines"]]
        if page["next"] is None:
            break
        page = admin.get(PATH, limit=5, after=page["next"])
    assert names == sorted(set(names))
    assert {"gpt-4", "ft:gpt-4o-mini"} <= set(names)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"input": "-1"}, "input is '-1'; expected dollars"),
        ({"input": "0.0000000001"}, "up to 9 decimals"),
        ({"input": None}, "input is null, which only a correction may say"),
        ({}, "no price is given; give one of input, cached_input"),
        ({"thinking": "1"}, "thinking"),
        ({"input": "1", "correction": True}, "effective_from is missing"),
        ({"input": "1", "effective_from": "soon"}, "effective_from is 'soon'; expected YYYY-MM-DD"),
        ({"input": "1", "source": ""}, "source is empty"),
        ({"input": "1", "effective_from": "2026-10-20"}, "input of gpt-4 had a price on 2026-10-20"),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused_with_its_field(
    admin: Admin, order: dict[str, object], said: str
) -> None:
    before = admin.get(PATH)["price_version"]
    status, error = admin.refused("POST", PATH, json={"name": "gpt-4", "source": "x", **order})
    assert status in (400, 409)
    assert said in error["message"]
    assert admin.get(PATH)["price_version"] == before


def test_what_there_is_not_is_told_with_the_nearest(admin: Admin) -> None:
    status, error = admin.refused("GET", f"{PATH}/gpt-4-trubo")
    assert (status, "did you mean gpt-4-turbo" in error["message"]) == (404, True)
    status, error = admin.refused("GET", f"{PATH}?price_version=p1-00000000")
    assert (status, "which this price log never had" in error["message"]) == (404, True)

"""Adapters: found among many, promoted and rolled back from their page, and asked side by side."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from dashboard.pages.adapters import _lines, swap_chart
from dashboard.sessions import Person
from gateway.admin_key import admin_key
from tests.support.dashboard_parts import Visitor, dashboard_of, seen
from tests.support.stack import Stack, open_house, run_stack
from tests.support.waiting import wait_until

HOME = "/adapters/acme/triage"
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with open_house(tmp_path_factory.mktemp("shop")) as house:
        for tenant in ("acme", "globex"):
            house.tenant(tenant)
        for name in ("acme/triage", "acme/triage", "globex/sentiment"):
            house.publish(name)
        house.point("acme/triage", "1.0")
        with run_stack(house) as stack:
            stack.wait_resident("acme/triage@1.0")
            yield stack


@pytest.fixture
def visitor(shop: Stack) -> Iterator[Visitor]:
    with dashboard_of(shop.url) as visitor:
        assert visitor.log_in(admin_key(shop.house.settings)).status_code == 303
        yield visitor


def _has(visitor: Visitor, page: str, text: str) -> bool:
    return text in seen(visitor.page(page))


def test_the_list_has_a_row_for_each_adapter_and_a_search(visitor: Visitor) -> None:
    text = seen(visitor.page("/adapters"))
    assert "acme/triage 1.0 in production" in text
    assert "globex/sentiment nothing; newest is 1.0 not in production" in text
    found = seen(visitor.page("/adapters?q=SENTI"))
    assert "globex/sentiment" in found
    assert "acme/triage" not in found
    assert "No adapter has “nothing like it”" in seen(visitor.page("/adapters?q=nothing+like+it"))
    assert EVIL not in visitor.page(f"/adapters?q={EVIL}")


def test_an_adapter_says_why_it_takes_no_traffic_and_what_to_do(visitor: Visitor) -> None:
    text = seen(visitor.page("/adapters/globex/sentiment"))
    assert "The alias production points at no version" in text
    assert "switchyard adapters promote globex/sentiment@1.0" in text
    assert "acme/triage@1.1 is newer than acme/triage@1.0" in seen(visitor.page(HOME))
    missing = visitor.get("/adapters/acme/nothing")
    assert missing.status_code == 404
    assert "acme/nothing" in seen(missing.text)


def test_a_version_shows_its_lineage_and_what_would_evaluate_it(visitor: Visitor) -> None:
    text = seen(visitor.page(f"{HOME}/versions/1.0"))
    assert "source test" in text
    assert dict(_lines({"masking_receipt": {"stops": {"<|im_end|>": 4}}})) == {
        "masking receipt › stops › <|im_end|>": "4"
    }
    assert "rank" in text
    assert "switchyard evaluate acme/triage@1.0" in text
    assert "There is no version 9.9" in seen(visitor.page(f"{HOME}/versions/9.9"))


def test_a_promote_is_followed_to_its_end_and_taken_back(visitor: Visitor, shop: Stack) -> None:
    ref = {"number": "1.1", "reason": "better"}
    page = visitor.page(HOME)
    assert "/rollback" not in page, "a way back that is not there is not offered"
    assert "No rollback: acme/triage@production has no earlier version to go back to" in seen(page)
    answer = visitor.post(f"{HOME}/promote", {**ref, "etag": "stale"})
    assert answer.status_code == 303
    assert "is not as it was read any more" in seen(visitor.page(answer.headers["location"]))
    for path, fields, number in (("promote", ref, "1.1"), ("rollback", {"reason": "worse"}, "1.0")):
        page = visitor.page(HOME)
        assert ("It goes back to 1.0." in seen(page)) == (path == "rollback")
        etag = page.split('name="etag" value="')[1].split('"')[0]
        answer = visitor.post(f"{HOME}/{path}", {**fields, "etag": etag})
        assert answer.status_code == 303
        page = answer.headers["location"]
        assert page.startswith(f"{HOME}/swaps/")
        wait_until("the swap to end", partial(_has, visitor, page, "State done"))
        assert f"production to {number}" in seen(visitor.page(page))
        assert "has it" in seen(visitor.page(f"{page}/~live"))
    text = seen(visitor.page(HOME))
    assert "1.1 → 1.0 : worse" in text
    assert "1.0 → 1.1 : better" in text


def test_who_may_only_look_is_shown_no_orders_and_can_order_nothing(visitor: Visitor, shop: Stack) -> None:
    visitor.become(Person("eva", "read", admin_key(shop.house.settings)))
    page = visitor.page(HOME)
    assert "/promote" not in page
    assert "/rollback" not in page
    assert visitor.post(f"{HOME}/promote", {"number": "1.1"}).status_code == 403
    assert "its role is read" in seen(visitor.page(f"{HOME}/playground"))


def test_two_versions_are_asked_and_answer_side_by_side(visitor: Visitor) -> None:
    page = visitor.page(f"{HOME}/playground")
    assert 'data-streams="/adapters/acme/triage/playground/stream"' in page
    asked = {"a": "1.0", "b": "1.1", "prompt": EVIL, "max_tokens": "5", "temperature": "0"}
    whole = visitor.post(f"{HOME}/playground", asked)
    assert whole.status_code == 200
    assert EVIL not in whole.text
    text = seen(whole.text)
    assert "1.0: 5 tokens in" in text
    assert "1.1: 5 tokens in" in text


def test_an_answer_comes_while_it_is_made(visitor: Visitor, shop: Stack) -> None:
    shop.faults(token_ms=50)
    fields = {"a": "1.0", "b": "1.1", "side": "b", "prompt": "Hi", "max_tokens": "8"}
    headers = {"sec-fetch-site": "same-origin", "sec-fetch-dest": "empty"}
    url = f"{visitor.url}{HOME}/playground/stream"
    with visitor.http.stream("POST", url, data=fields, headers=headers) as answer:
        lines = list(answer.iter_lines())
    shop.heal()
    assert len([line for line in lines if '"text"' in line]) > 2
    assert '"done": "8 tokens in' in lines[-1]


def test_what_cannot_be_asked_is_told_in_its_place(visitor: Visitor) -> None:
    fields = {"a": "9.9", "b": "1.0", "side": "a", "prompt": "Hi"}
    answer = visitor.post(f"{HOME}/playground/stream", fields)
    assert "there is none of that name" in answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"


def test_the_chart_of_a_swap_has_each_second_s_requests_by_version_and_the_moments_within_their_seconds() -> None:
    report: dict[str, Any] = {
        "since_ms": 0,
        "until_ms": 4_000,
        "per_second": [
            {"second_ms": 1000, "served_model": "acme/triage@1.0", "attempts": 4},
            {"second_ms": 3000, "served_model": "acme/triage@1.1", "attempts": 5},
        ],
        "swap": {"detail": {"flipped_at_ms": 2500, "acknowledged_at_ms": 2600}},
    }
    chart = swap_chart(report)
    assert "1.0" in chart
    assert "1.1" in chart
    assert 'd="M500.0,0V100"><title>alias moved<' in chart
    assert 'd="M520.0,0V100"><title>every worker has it<' in chart
    assert "No request came" in swap_chart({**report, "per_second": []})


def test_ten_thousand_rows_are_asked_for_page_by_page(visitor: Visitor, shop: Stack) -> None:
    answer = httpx.get(
        f"{shop.url}/admin/v1/adapters", params={"each": "adapter", "limit": 1}, headers=shop.operator
    ).json()
    assert answer["next"] == "acme/triage@1.0"
    assert "globex/sentiment" in seen(visitor.page("/adapters?after=acme/triage@1.0"))
    assert "acme/triage" not in seen(visitor.page("/adapters?after=acme/triage@1.0"))

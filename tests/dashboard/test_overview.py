"""The overview of a gateway with one engine; and of one that is away."""

from __future__ import annotations

from dashboard.pages.overview import traffic_of
from dashboard.sessions import Person
from gateway.admin_key import admin_key
from tests.support.dashboard_parts import Visitor, dashboard_of, seen
from tests.support.stack import Stack


def line(**fields: object) -> dict[str, object]:
    quantiles = {f"{name}_{part}_ms": [80.0, 90.0] for name in ("ttft", "inter_token") for part in ("p50", "p95")}
    whole = dict.fromkeys(quantiles, 85.0)
    return {
        "name": "all",
        "whole": {"requests": 40, "outcomes": {"ok": 37, "failed": 2, "limited": 1}, **whole},
        "requests_per_s": [1.0, 3.0],
        "errors_per_s": {"failed": [0.0, 0.2], "limited": [0.1, 0.0]},
        **quantiles,
        **fields,
    }


DOCUMENT = {"at_ms": [0, 10_000], "since_ms": 0, "until_ms": 20_000, "lines": [line()]}


def test_the_overview_shows_engines_by_state_with_what_is_on_them(operator: Visitor, stack: Stack) -> None:
    stack.wait_resident("acme/triage@1.0")
    text = seen(operator.page("/"))
    assert "Engines in traffic 1 of 1" in text
    assert stack.engine.url.removeprefix("http://") in text
    assert "tiny" in text


def test_the_live_part_is_the_same_without_its_frame(operator: Visitor) -> None:
    whole, part = operator.page("/"), operator.page("/~live")
    assert 0 <= float(operator.get("/~live").headers["live-after-s"]) < 1_000
    assert "<nav" in whole
    assert 'data-live="/~live"' in whole
    assert "<html" not in part
    assert "Engines in traffic" in part


def test_a_gateway_that_is_away_is_a_page_that_says_so_and_asks_again(stack: Stack) -> None:
    with dashboard_of("http://127.0.0.1:9") as visitor:
        refused = visitor.log_in(admin_key(stack.house.settings))
        assert refused.status_code == 502
        visitor.become(Person("root", "operate", admin_key(stack.house.settings)))
        answer = visitor.get("/?window=6h")
        assert answer.status_code == 502
        assert "The gateway at http://127.0.0.1:9 does not answer. Start it with" in seen(answer.text)
        assert 'http-equiv="refresh"' in answer.text
        assert visitor.get("/~live").text.startswith("The gateway at http://127.0.0.1:9 does not answer.")


def test_traffic_is_told_in_rates_with_its_faults_apart_from_what_clients_did() -> None:
    traffic = traffic_of(DOCUMENT, "1 h", 10)
    assert traffic.requests_per_s == 2.0
    assert (traffic.faults, traffic.fault_share) == (2, 0.05)
    assert "over a limit (429)" in traffic.faults_chart
    assert "failed (5xx)" in traffic.faults_chart
    assert traffic.ttft_p95_ms == 85.0
    assert not traffic.began_within


def test_traffic_of_nobody_is_no_error() -> None:
    traffic = traffic_of({**DOCUMENT, "lines": []}, "1 h", 10)
    assert traffic.requests_per_s == 0
    assert traffic.fault_share is None
    assert "Everything ended well" in traffic.faults_chart


def test_counting_that_began_within_the_time_shown_is_told() -> None:
    traffic = traffic_of({**DOCUMENT, "since_ms": 15_000, "until_ms": 60_000}, "1 h", 10)
    assert traffic.began_within
    assert traffic.window == "45 s"
    assert traffic_of(DOCUMENT, "1 h", 10).window == "1 h"


def test_an_order_is_among_what_changed_lately(operator: Visitor, stack: Stack) -> None:
    body = {"version": "acme/triage@1.0", "messages": [{"role": "user", "content": "a canary"}], "max_tokens": 1}
    stack.http.post(f"{stack.url}/admin/v1/playground", json=body, headers=stack.operator).raise_for_status()
    changed = seen(operator.page("/")).partition("Changed lately")[2]
    assert "playground" in changed
    assert "acme/triage@1.0" in changed
    moved = changed.partition("Traffic moved")[2]
    newest = stack.house.registry.swaps.recent(1)[0]
    assert f"{newest.adapter}@{newest.alias}" in moved, "those that no operator has ordered too"
    audit = stack.http.get(f"{stack.url}/admin/v1/audit", headers=stack.operator).text
    assert "a canary" not in audit

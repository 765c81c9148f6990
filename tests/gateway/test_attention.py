"""What needs a decision: each kind, what is said of it, and that a source which cannot be asked hides no other."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from starlette.routing import Match

from dashboard.pages import PAGES
from gateway.attention.all import SOURCES, attention_of
from gateway.attention.item import KINDS, Item, Known
from registry.db import now_ms
from registry.experiments.infos import Decision
from registry.ledger.today import faults_between
from registry.names import parse_ref
from registry.prices.baseline_writing import Facts
from registry.training.jobs import JobOrder
from tests.support.admin_calls import Admin
from tests.support.cli_runner import Run, run
from tests.support.experiment_parts import Traffic, begun, carried_out
from tests.support.stack import House, Stack
from tests.support.usage_rows import usage_row
from tests.test_docs import OPTION, params_of

__all__ = ["run"]
DAY_MS = 86_400_000
ROUTES = [route for page in PAGES for route in page.routes]
QUIET: dict[str, Any] = {"engines": [], "duties": {"swaps": "ok"}}


def engine(url: str = "http://10.0.0.1:8000", **fields: Any) -> dict[str, Any]:
    return {"url": url, "state": "up", "fault": None, "removed": False, "barred": [], **fields}


def known(house: House, fleet: dict[str, Any] | None = QUIET, later_ms: int = 0, *, lapsed: bool = False) -> Known:
    return Known(house.registry, house.registry.catalog(), lapsed, fleet, now_ms() + later_ms, 60)


def told(known: Known) -> list[Item]:
    """Without the baseline that comes with this package and that reports compare with: it ends soon."""
    return [item for item in attention_of(known) if item.object != "ft:gpt-4o-mini"]


def asked(page: str) -> dict[str, Any]:
    """A browser's question for it."""
    return {"type": "http", "method": "GET", "path": page}


def found(house: House, *arguments: Any, **more: Any) -> dict[str, Item]:
    """By kind; what commands they name exists, and what is said is a sentence of one line."""
    items = told(known(house, *arguments, **more))
    for item in items:
        assert "\n" not in item.said + item.remedy
        assert any(route.matches(asked(item.page))[0] is Match.FULL for route in ROUTES), item.page
        if item.command is not None:
            words = shlex.split(item.command)
            assert words[0] == "switchyard"
            rest, options = params_of(words[1:])
            assert [word for word in rest if OPTION.match(word) and word not in options] == []
    return {item.kind: item for item in items}


@pytest.fixture
def shop(house: House) -> House:
    """acme/triage in two versions, the first in production."""
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    return house


def test_where_nothing_is_wrong_nothing_is_said(shop: House) -> None:
    assert found(shop) == {}
    assert found(shop, {"engines": [engine(), engine(state="slow"), engine(state="draining")], "duties": {}}) == {}


def test_the_fleet_is_told_of_by_engine_duty_and_gateway(shop: House) -> None:
    bad = {
        "engines": [
            engine("http://a:1", state="down", fault="connection refused"),
            engine("http://b:1", state="refused", fault="it serves another base"),
            engine("http://c:1", barred=[{"version_id": 1, "reason": "shape mismatch", "for_s": 5}]),
            engine("http://d:1", state="down", removed=True),
        ],
        "duties": {"costs": "ValueError: x", "swaps": "ok"},
    }
    items = found(shop, bad, lapsed=True)
    assert set(items) == {"engine_down", "engine_refused", "version_barred", "duty_failing", "catalog_lapsed"}
    assert items["engine_down"].object == "http://a:1"
    assert "down: connection refused" in items["engine_down"].said
    assert items["version_barred"].object == "acme/triage@1.0 on http://c:1"
    assert items["duty_failing"].said == "the leader's duty 'costs' fails: ValueError: x"
    assert set(found(shop, None)) == {"controller_away"}


def test_an_engine_that_was_drained_a_day_ago_may_have_been_forgotten(shop: House) -> None:
    shop.registry.drains.order("http://a:1", actor="ada", reason="heat")
    assert found(shop) == {}
    item = found(shop, later_ms=DAY_MS + 1)["engine_drained"]
    assert item.said == "ada has kept engine http://a:1 out of traffic for more than a day (heat)"


def test_a_quarantined_version_is_urgent_where_an_alias_points_at_it(shop: House) -> None:
    for number in ("1.0", "1.1"):
        shop.registry.adapters.quarantine(shop.registry.adapters.get(parse_ref(f"acme/triage@{number}")).id, "it lies")
    act, watch = told(known(shop))
    assert (act.object, act.severity, act.tenant) == ("acme/triage@1.0", "act", "acme")
    assert act.said == (
        "acme/triage@1.0 is kept from every engine: it lies; an alias points at it, so its requests are refused"
    )
    assert act.command == "switchyard adapters rollback acme/triage"
    assert (watch.object, watch.severity) == ("acme/triage@1.1", "watch")
    assert watch.command == "switchyard quarantine release acme/triage@1.1"


def test_a_failed_swap_is_told_until_one_succeeds_or_a_day_is_over(shop: House) -> None:
    swap = shop.registry.swaps.request(parse_ref("acme/triage@1.1"), alias="production", actor="ada")
    shop.registry.swaps.advance(swap.id, "failed", error="no engine is up")
    item = found(shop)["swap_failed"]
    assert item.said == f"swap {swap.id} of acme/triage@production to acme/triage@1.1 failed: no engine is up"
    assert found(shop, later_ms=DAY_MS + 1) == {}
    shop.point("acme/triage", "1.1")
    assert found(shop) == {}


@pytest.mark.parametrize(
    ("kind", "expected", "severity"),
    [
        ("ask", "experiment_asks", "act"),
        ("alarm", "experiment_alarm", "act"),
        ("inconclusive", "experiment_inconclusive", "act"),
        ("hold", "ramp_held", "watch"),
        ("pause", "experiment_paused", "watch"),
    ],
)
def test_an_experiment_is_told_by_what_it_waits_for(shop: House, kind: Any, expected: str, severity: str) -> None:
    info = begun(shop.registry)
    assert found(shop) == {}
    shop.registry.experiments.decide(info.id, Decision(kind, "because of this"))
    item = found(shop)[expected]
    assert (item.object, item.severity, item.tenant) == (f"experiments/{info.id}", severity, "acme")
    assert item.said.endswith(": because of this")
    assert item.page == f"/experiments/{info.id}"


def test_an_experiment_that_nobody_analyses_is_told_after_two_minutes(shop: House) -> None:
    traffic = Traffic(shop.registry, begun(shop.registry))
    traffic.book(traffic.row("a", "1.0"))
    assert found(shop) == {}, "a minute is not long"
    item = found(shop, later_ms=120_000)["analysis_late"]
    assert (item.object, item.severity, item.tenant) == (f"experiments/{traffic.info.id}", "act", "acme")
    assert item.since_ms is not None
    assert item.page == f"/experiments/{traffic.info.id}"
    shop.registry.experiments.decide(traffic.info.id, Decision("stop", "enough"))
    assert carried_out(shop.registry, traffic.info.id).ended_at_ms is not None
    assert found(shop, later_ms=120_000) == {}, "of one that has ended nothing is analysed"


def test_a_step_that_takes_its_time_needs_nobody(shop: House) -> None:
    info = begun(shop.registry)
    shop.registry.experiments.decide(info.id, Decision("hold", "it lasts a while longer", figures={"code": "dwells"}))
    assert found(shop) == {}


def test_a_budget_is_told_from_nine_tenths_on(shop: House) -> None:
    shop.registry.limits.set("tenant:acme", {"daily_nano": 10_000_000_000, "daily_tokens": 1_000})
    at_ms = now_ms()

    def book(number: int, tokens: int) -> None:
        times = {"started_at_ms": at_ms, "finished_at_ms": at_ms, "completion_tokens": 0, "cost_nano": 1}
        shop.registry.ledger.record([usage_row(f"{number}-1", prompt_tokens=tokens, cached_tokens=0, **times)])

    book(1, 899)
    assert found(shop) == {}
    book(2, 1)
    near = found(shop)["budget_near"]
    assert (near.object, near.severity, near.tenant) == ("tenant:acme daily tokens", "watch", "acme")
    assert "90 % of the daily budget of tenant:acme is spent (900 of 1000 tokens)" in near.said
    book(3, 100)
    gone = found(shop)["budget_used_up"]
    assert gone.severity == "act"
    assert near.page == gone.page == "/tenants/acme"


def test_usage_without_a_price_or_a_count_is_told_for_seven_days(shop: House) -> None:
    at_ms = now_ms()
    times = {"started_at_ms": at_ms, "finished_at_ms": at_ms}
    lost = {"outcome": "lost", "prompt_tokens": None, "cached_tokens": None, "completion_tokens": None}
    shop.registry.ledger.record([usage_row("1-1", **times), usage_row("2-1", **times, **lost)])
    shop.registry.tariffs.add("tenant:globex", input_dollars="1", output_dollars="1", source="a list")
    items = found(shop)
    assert set(items) == {"usage_unpriced", "usage_unsettled"}
    assert items["usage_unpriced"].said.startswith("1 attempt of acme on acme/triage@1.0 in the last 7 days had no")
    assert items["usage_unsettled"].severity == "watch"
    shop.registry.tariffs.add("base:tiny", input_dollars="1", output_dollars="1", source="a list")
    assert set(found(shop)) == {"usage_unsettled"}, "of what has a price by now nothing is to be decided"
    assert found(shop, later_ms=7 * DAY_MS) == {}


@pytest.mark.parametrize("outcome", ["client_aborted", "key_revoked"])
def test_that_a_client_left_before_its_first_token_is_nothing_to_decide(shop: House, outcome: str) -> None:
    at_ms = now_ms()
    left = {"outcome": outcome, "cached_tokens": None, "completion_tokens": None, "usage_source": "estimated"}
    shop.registry.tariffs.add("base:tiny", input_dollars="1", output_dollars="1", source="a list")
    shop.registry.ledger.record([usage_row("1-1", started_at_ms=at_ms, finished_at_ms=at_ms, cost_nano=1, **left)])
    assert found(shop) == {}
    assert faults_between(shop.registry.db, at_ms, at_ms + 1).unsettled == 0


def test_that_nothing_has_a_price_yet_is_told_once_and_as_no_emergency(shop: House) -> None:
    at_ms = now_ms()
    for number, tenant in enumerate(("acme", "globex")):
        shop.registry.ledger.record(
            [usage_row(f"{number}-1", tenant=tenant, started_at_ms=at_ms, finished_at_ms=at_ms)]
        )
    (item,) = (one for one in attention_of(known(shop)) if one.kind == "usage_unpriced")
    assert (item.severity, item.tenant) == ("watch", None)
    assert item.said == "nothing has a price: 2 attempts of the last 7 days are charged to nobody"
    assert item.command is not None
    assert "--input DOLLARS --output DOLLARS --source WHERE" in item.command


def test_a_model_that_ends_soon_at_its_vendor_is_told(shop: House) -> None:
    ends = Facts(status="retiring", ends_at_ms=now_ms() + 5 * DAY_MS)
    shop.registry.baselines.say("vendor-small", ends, source="their page")
    shop.registry.model_names.map("acme", "vendor-small", "triage")
    said = {item.object: item for item in attention_of(known(shop))}
    assert {"vendor-small", "acme/vendor-small"} <= set(said)
    assert {(item.kind, item.severity) for item in said.values()} == {("model_retiring", "watch")}
    assert said.keys() <= {"vendor-small", "acme/vendor-small", "ft:gpt-4o-mini"}, "nobody asked for the others"
    assert said["acme/vendor-small"].remedy.startswith("send what still asks the vendor here, where acme/triage")


def test_a_job_that_nobody_takes_or_that_comes_no_further_is_told(shop: House) -> None:
    job = shop.registry.training.create(JobOrder(tenant="acme", model="tiny", base="tiny", training_file="file-1"))
    assert found(shop) == {}
    waits = found(shop, later_ms=3_600_001)["job_waiting"]
    assert (waits.object, waits.tenant) == (job.id, "acme")
    for worker in ("one", "two"):
        assert shop.registry.training.claim(worker, lease_s=0)
    stuck = found(shop)["job_stuck"]
    assert stuck.said == (f"job {job.id} of acme is validating_files: 2 workers have taken it up and none came further")


def test_a_source_that_cannot_be_asked_is_told_and_hides_no_other(shop: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("SELECT secret", {}, Exception())

    monkeypatch.setattr("gateway.attention.money.report_budgets", away)
    shop.registry.adapters.quarantine(shop.registry.adapters.get(parse_ref("acme/triage@1.1")).id, "it lies")
    items = found(shop)
    assert set(items) == {"cannot_tell", "version_quarantined"}
    assert items["cannot_tell"].object == "budgets"
    assert "SELECT" not in items["cannot_tell"].said


def test_every_kind_is_on_the_page_of_docs() -> None:
    from tests.test_docs import ROOT

    page = (ROOT / "docs" / "admin-api.md").read_text()
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []
    assert len(SOURCES) == 10


def test_the_admin_api_and_the_command_say_the_same(
    stack: Stack, admin: Admin, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(stack.house.settings.state_dir))
    version = stack.house.registry.adapters.get(parse_ref("acme/triage@1.2"))
    stack.house.registry.adapters.quarantine(version.id, "for a test")
    stack.house.registry.wait_until_served()
    try:
        document = admin.get("/attention", tenant="acme")
        item = next(one for one in document["items"] if one["object"] == "acme/triage@1.2")
        assert (item["kind"], item["severity"]) == ("version_quarantined", "watch")
        assert document["act"] + document["watch"] == len(document["items"])
        assert {one["tenant"] for one in document["items"]} == {"acme"}
        assert len(admin.get("/attention", limit=1)["items"]) == 1
        told = run("attention", "--tenant", "acme", "--url", stack.url)
        assert told.status == (1 if document["act"] else 0)
        assert "$ switchyard quarantine release acme/triage@1.2" in re.sub(r"\s+", " ", told.out)
        kinds = [one["kind"] for one in run("attention", "--json", "--url", stack.url).document["items"]]
        assert "version_quarantined" in kinds
    finally:
        stack.house.registry.adapters.release(version.id)
        stack.house.registry.wait_until_served()

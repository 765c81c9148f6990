"""What the admin API tells from the books: why an adapter is quiet, how a budget burns down, and tenants' files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.api.admin.quiet_books import reasons_in_books
from registry.days import day_number
from registry.db import now_ms
from registry.ledger.refusals import Refused
from registry.limits.spending_days import spending_days
from registry.names import parse_ref
from tests.support.admin_calls import Admin
from tests.support.cli_runner import Run, run
from tests.support.stack import House, Stack
from tests.support.usage_rows import usage_row

__all__ = ["run"]
TRIAGE = parse_ref("acme/triage")


def told(house: House) -> dict[str, str]:
    """Of acme/triage: sentence by severity, of which a test expects one each."""
    return {one.severity: one.sentence for one in reasons_in_books(house.registry, TRIAGE, house.registry.catalog())}


@pytest.fixture
def shop(house: House) -> House:
    """acme/triage at 1.0, asked a moment ago."""
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    version = house.registry.adapters.get(parse_ref("acme/triage@1.0"))
    adapter_id = house.registry.catalog().versions_by_id[version.id].adapter_id
    times = {"started_at_ms": now_ms(), "finished_at_ms": now_ms()}
    house.registry.ledger.record([usage_row("1-1", adapter_id=adapter_id, **times)])
    return house


def test_of_one_that_is_asked_and_refused_nothing_the_books_say_nothing(shop: House) -> None:
    assert told(shop) == {}


def test_a_budget_that_is_used_up_is_told_with_its_figures(shop: House) -> None:
    shop.registry.limits.set("adapter:acme/triage", {"daily_tokens": 15})
    assert told(shop) == {"bad": "The daily budget of adapter:acme/triage is used up: 15 of 15 tokens."}


def test_a_budget_in_dollars_without_a_price_is_told(shop: House) -> None:
    shop.registry.limits.set("tenant:acme", {"daily_nano": 10**9})
    sentence = "tenant:acme has a budget in dollars and acme/triage has no price, so that requests are refused."
    assert told(shop) == {"bad": sentence}


def test_refusals_and_that_nobody_asks_are_told(shop: House) -> None:
    shop.publish("acme/answers")
    shop.point("acme/answers", "1.0")
    catalog = shop.registry.catalog()
    found = [*reasons_in_books(shop.registry, parse_ref("acme/answers"), catalog)]
    assert [one.sentence for one in found] == ["Nobody has asked it in the last 7 days."]
    assert found[0].remedy.endswith("switchyard tenants map acme NAME answers")


def test_of_refusals_only_those_by_limits_are_a_matter_of_limits(shop: House) -> None:
    limited = Refused(day_number(now_ms()), "acme", "key-1", "acme/triage@1.0", "tenant:acme", "daily_dollars")
    wrong = replace(limited, scope="", reason="unsupported_by_engine")
    shop.registry.refusals.add({limited: 2, wrong: 5})
    remedies = {one.sentence: one.remedy for one in reasons_in_books(shop.registry, TRIAGE, shop.registry.catalog())}
    by_limit = remedies["Requests were refused in the last 7 days: 2 by daily_dollars."]
    by_code = remedies["Requests were refused in the last 7 days: 5 by unsupported_by_engine."]
    assert "limits list" in by_limit
    assert "limits" not in by_code


def test_the_command_says_what_stands_in_the_way(
    stack: Stack, admin: Admin, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(stack.house.settings.state_dir))
    quiet = admin.get("/adapters/acme/triage")["quiet"]
    shown = run("adapters", "why", "acme/triage", "--url", stack.url)
    assert shown.status == 0
    assert all(one["sentence"] in " ".join(shown.out.split()) for one in quiet)
    assert run("adapters", "why", "acme/triage", "--url", stack.url, "--json").document == quiet
    missing = run("adapters", "why", "acme/none", "--url", stack.url)
    assert (missing.status, "acme/none" in missing.err) == (1, True)


def test_a_budget_burns_down_day_by_day(house: House) -> None:
    today = day_number(now_ms())
    for number, day in enumerate((today - 2, today, today)):
        at = {"started_at_ms": day * 86_400_000, "finished_at_ms": day * 86_400_000 + 1}
        house.registry.ledger.record([usage_row(f"{number}-1", cost_nano=5, **at)])
    found = spending_days(house.registry.db, "tenant:acme", today - 5, today + 1)
    assert [(one.day - today, one.spent.nano, one.spent.tokens) for one in found] == [(-2, 5, 15), (0, 10, 30)]
    assert spending_days(house.registry.db, "tenant:globex", today - 5, today + 1) == []


def test_spending_is_of_one_scope_and_window(admin: Admin) -> None:
    document = admin.get("/spending", **{"scope": "adapter:acme/triage", "from": "2026-11-01", "until": "2026-11-08"})
    assert (document["since"], document["until"], document["days"]) == ("2026-11-01", "2026-11-08", [])
    assert admin.refused("GET", "/spending", params={"scope": "tenant:nobody"})[0] == 404
    assert admin.refused("GET", "/spending", params={"scope": "acme"})[1]["param"] == "scope"
    window = {"scope": "tenant:acme", "from": "2026-11-08", "until": "2026-11-08"}
    assert admin.refused("GET", "/spending", params=window)[1]["param"] == "until"


def test_a_tenants_file_is_counted_listed_and_deleted(stack: Stack, admin: Admin) -> None:
    made = stack.house.registry.files.create("globex", "a.jsonl", "fine-tune", [b"{}\n"])
    kept = next(one["files"] for one in admin.get("/files")["tenants"] if one["tenant"] == "globex")
    listed = [one["id"] for one in admin.get("/tenants/globex/files")["files"]]
    assert (listed[0], len(listed)) == (made.id, kept)
    deleted = admin.ask("DELETE", f"/tenants/globex/files/{made.id}").json()
    assert (deleted["filename"], deleted["bytes"]) == ("a.jsonl", 3)
    assert admin.refused("DELETE", f"/tenants/globex/files/{made.id}")[1]["code"] == "file_not_found"
    assert admin.refused("GET", "/tenants/globex/files", params={"after": made.id})[0] == 404

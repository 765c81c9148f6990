"""`switchyard cost break-even`: what tenants did in a window, beside what engines cost in it and an API would have."""

from __future__ import annotations

import pytest

from registry.days import DAY_MS
from registry.db import now_ms
from registry.service import Registry
from tests.support.cli_runner import Run, done, run
from tests.support.usage_rows import usage_row

__all__ = ["done", "run"]

DAYS = 20
API = ("--baseline", "an-api")


@pytest.fixture
def used(done: Run) -> Run:
    """An engine at a dollar an hour, $730 a month; on each of twenty days acme has two requests of a dollar at the API,
    globex one.
    """
    today = now_ms() // DAY_MS
    rows = []
    for day in range(today - DAYS, today):
        for number, tenant in enumerate(("acme", "acme", "globex")):
            began = day * DAY_MS + number * 3_600_000
            rows.append(
                usage_row(
                    f"{day} {number}",
                    tenant=tenant,
                    prompt_tokens=1_000_000,
                    cached_tokens=0,
                    completion_tokens=0,
                    engine_id="e",
                    started_at_ms=began,
                    finished_at_ms=began + 3_600_000,
                )
            )
    with Registry.open() as registry:
        for tenant in ("acme", "globex"):
            registry.tenants.create(tenant)
        registry.baselines.add_prices("an-api", {"input": "1", "output": "2"}, source="a list", effective_from_ms=0)
        since = (today - 60) * DAY_MS
        registry.engine_costs.add(
            "engine:e", "reserved", {"hourly": "1"}, effective_from_ms=since, source="contract", actor="me"
        )
        registry.ledger.record(rows)
    return done


def test_the_pool_is_told_in_a_sentence_and_tenants_in_a_table(used: Run) -> None:
    said = used("cost", "break-even", *API).out.splitlines()
    assert said[0] == (
        "Self-hosting does not pay yet: the engines cost $730 a month, an-api would cost $91.25 for the same "
        "91 requests; it pays from 730 requests a month on."
    )
    assert said[2].split()[:2] == ["TENANT", "REQUESTS"]
    acme = said[3].split()
    assert (acme[0], acme[1], acme[2], acme[6], acme[7]) == ("acme", "61", "$60.83", "730", "700")
    assert "from 20 whole days" in said[-2]


def test_a_tenant_is_told_how_many_more_like_it_are_needed_and_who_pays_if_it_leaves(used: Run) -> None:
    by_share = used("cost", "break-even", *API, "--tenant", "acme", "--idle", "by_share").out.splitlines()
    assert by_share[0] == (
        "acme's 61 requests a month would cost $60.83 on an-api; the engines cost $730 a month. Self-hosting pays with "
        "10.5 more tenants like acme, or 700 requests of it; alone it would need 730."
    )
    assert by_share[1].startswith("Its share of the engines is $486.67 a month by the idle policy by_share, $60.83 as")
    assert by_share[2] == "If acme leaves, the bill stays, and more a month is paid by: globex $486.67."
    alone = used("cost", "break-even", *API, "--tenant", "acme", "--idle", "unallocated").out.splitlines()
    assert alone[2].endswith("paid by: nobody $60.83, which stays with you.")


def test_copies_and_probes_are_the_platform_s_and_no_idle_time(used: Run) -> None:
    begin_ms = (now_ms() // DAY_MS - 1) * DAY_MS + 4 * 3_600_000
    times = {"engine_id": "e", "started_at_ms": begin_ms, "finished_at_ms": begin_ms + 3_600_000}
    tokens = {"prompt_tokens": 1_000_000, "cached_tokens": 0, "completion_tokens": 0}
    with Registry.open() as registry:
        registry.ledger.record([usage_row("a copy", tenant="acme", shadow=True, **times, **tokens)])
    found = used("cost", "break-even", *API, "--idle", "equal", "--json").document
    assert float(found["platform_dollars"]) == pytest.approx(730 / 480, rel=1e-6), "an hour of twenty days"
    charged = sum(float(one["loaded_dollars"]) for one in found["tenants"])
    assert charged == pytest.approx(730 - 730 / 480, rel=1e-6)
    assert any("is for copies and probes" in one for one in found["sentences"])


def test_a_bill_that_is_given_takes_the_place_of_what_engines_cost(used: Run) -> None:
    document = used("cost", "break-even", *API, "--gpu-month", "73", "--tenant", "globex", "--json").document
    assert (document["bill_dollars"], document["break_even_requests"], document["savings_dollars"]) == (
        "73",
        73,
        "18.25",
    )
    globex = document["tenants"][1]
    assert (globex["break_even_requests_alone"], globex["more_tenants_like_it"]) == (73, -0.6)
    assert document["if_it_leaves"]["savings_dollars"].startswith("-12.1666")
    assert document["sentences"][0].startswith("globex's 30 requests a month would cost $30.42 on an-api;")


def test_what_cannot_be_known_is_said_with_what_to_do(done: Run, run: Run) -> None:
    assert "no tenant used anything" in run("cost", "break-even", "--baseline", "gpt-4").err
    assert "'initech'" in run("cost", "break-even", "--baseline", "gpt-4", "--tenant", "initech").err
    with Registry.open() as registry:
        registry.tenants.create("acme")
        yesterday_ms = now_ms() - DAY_MS
        registry.ledger.record([usage_row("a", started_at_ms=yesterday_ms, finished_at_ms=yesterday_ms + 1)])
    unknown = run("cost", "break-even", "--baseline", "gpt-4").err
    assert unknown.startswith("error: --gpu-month is not given, and no engine has a cost;")
    assert "what costs nothing always pays" in run("cost", "break-even", *API, "--gpu-month", "0").err
    assert done("cost", "break-even", "--baseline", "gpt-4", "--gpu-month", "10").out.startswith(
        "Self-hosting does not"
    )


def test_days_without_usage_count_where_there_was_usage_before_them(used: Run) -> None:
    with Registry.open() as registry:
        long_ago_ms = now_ms() - 90 * DAY_MS
        registry.ledger.record([usage_row("first", started_at_ms=long_ago_ms, finished_at_ms=long_ago_ms + 1)])
    found = used("cost", "break-even", *API, "--json").document
    assert (found["days"], found["requests"]) == (28, 65), "60 requests in 28 days, not in 20"


def test_reserved_shares_are_those_that_were_put_last(used: Run, run: Run) -> None:
    asked = ("cost", "break-even", *API, "--idle", "reserved")
    assert "no tenant has a share yet" in run(*asked).err
    used("cost", "idle", "reserved", "--share", "globex=0.5")
    used("cost", "idle", "equal")
    found = used(*asked, "--json").document
    shares = {one["tenant"]: float(one["loaded_dollars"]) for one in found["tenants"]}
    assert found["idle_policy"] == "reserved"
    assert shares["globex"] > 5 * shares["acme"]

"""The cost report: exact, dated, and nothing unknown counted as free."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any, get_args

import pytest

from gateway.cost.allocation import Idle, IdlePolicy, idle_of
from gateway.cost.assumptions import Assumptions
from gateway.cost.bill_document import Charged, bill_lines, margins
from gateway.cost.costing import allocation_of, named_idle
from gateway.cost.report import CostLine, CostReport
from gateway.cost.report_csv import csv_of
from gateway.cost.report_document import document_of
from gateway.cost.report_words import said, sentences
from gateway.cost.reporting import Asked, report_of
from registry.days import DAY_MS
from registry.engine_costs.loads import EngineLoad
from registry.engine_costs.spans import SeenEngine
from registry.engine_costs.weights import FittedWeights
from registry.errors import InvalidInput, NotFound
from registry.ledger.usage_cells import CostBy
from registry.service import Registry
from tests.support.cost_parts import FIRST_MS, UNTIL_MS, add_baseline, add_engines, add_traffic
from tests.support.stack import House
from tests.support.usage_rows import usage_row

ASKED = Asked(since_ms=FIRST_MS, until_ms=UNTIL_MS, baselines=("an-api",))
ONE_NANO = 600 * 1_000 + 400 * 1_000 + 100 * 4_000
"""At $1 and $4 per million: 1,000 prompt tokens and 100 completion tokens, without a price for cached ones."""


@pytest.fixture
def registry(house: House) -> Registry:
    """Three days of traffic, engines that cost something, and an API's prices."""
    add_engines(house.registry)
    add_baseline(house.registry)
    add_traffic(house.registry)
    return house.registry


def report(registry: Registry, **changes: Any) -> CostReport:
    return report_of(registry, replace(ASKED, **changes))


def line(found: CostReport, name: str) -> CostLine:
    (one,) = (one for one in found.lines if one.name == name)
    return one


def test_each_line_says_what_it_used_was_charged_cost_and_would_have_cost(registry: Registry) -> None:
    acme = line(report(registry), "acme")
    assert (acme.requests, acme.failed, acme.unpriced, acme.unsettled) == (5, 2, 0, 1)
    assert (acme.tokens.prompt, acme.tokens.cached, acme.tokens.completion) == (5_000, 2_000, 401)
    assert acme.tariff_nano == 6_000_507
    (cost,) = acme.baselines
    assert (cost.cost_nano, cost.label, cost.unlisted) == (5 * 1_000_000 + 401 * 4_000, "assumed", 0)
    assert acme.engine.loaded_nano is not None
    assert cost.cost_nano is not None
    assert cost.savings_nano == cost.cost_nano - acme.engine.loaded_nano
    assert acme.engine.marginal_nano is None, "nobody has measured how much engines work for a token"


def test_what_has_no_price_is_counted_and_never_free(registry: Registry) -> None:
    found = report(registry, baselines=("an-api", "no-api"))
    globex = line(found, "globex")
    assert (globex.tariff_nano, globex.unpriced, globex.margin_nano) == (None, 1, None)
    for one in (line(found, "acme (shadow)"), line(found, "_system"), line(found, "(idle)")):
        assert (one.tariff_nano, one.unpriced) == (None, 0), "nobody is charged with it"
        assert [(cost.cost_nano, cost.unlisted) for cost in one.baselines] == [(None, 0)] * 2
    unknown = found.total.baselines[1]
    assert (unknown.cost_nano, unknown.savings_nano, unknown.unlisted) == (None, None, 6)
    assert any("no-api had no price in this window: 6 requests unlisted." in one for one in sentences(found))


@pytest.mark.parametrize("policy", [one for one in get_args(IdlePolicy) if one != "reserved"])
def test_by_whatever_lines_are_the_totals_are_the_same_and_the_engines_cost_the_bill(
    registry: Registry, policy: str
) -> None:
    totals = set()
    for by in get_args(CostBy):
        found = report(registry, by=by, idle=idle_of(policy))
        assert sum(one.engine.loaded_nano or 0 for one in found.lines) == found.engines.bill_nano == 2 * 72 * 2 * 10**9
        assert sum(one.baselines[0].cost_nano or 0 for one in found.lines) == found.total.baselines[0].cost_nano
        totals.add(
            (found.total.requests, found.total.tokens, found.total.tariff_nano, found.total.baselines[0].cost_nano)
        )
    assert len(totals) == 1


def test_lines_are_named_by_adapter_key_day_engine_and_arm(registry: Registry) -> None:
    names = {
        by: [one.name for one in report(registry, by=by).lines if one.kind == "tenant"]
        for by in ("adapter", "version", "key", "day", "engine", "arm")
    }
    assert names == {
        "adapter": ["acme/triage", "tiny"],
        "version": ["acme/triage@1.0", "acme/triage@1.1", "tiny"],
        "key": ["key-1", "key-2"],
        "day": ["2026-06-01", "2026-06-02", "2026-06-03"],
        "engine": ["a100-1", "a100-2"],
        "arm": ["(none)", "split 7: 1.1", "(none)"],
    }
    with pytest.raises(InvalidInput, match="by is 'moon'; choose one of tenant, adapter"):
        report(registry, by="moon")


def test_a_tenant_s_own_report_has_its_lines_as_all_s_has_them(registry: Registry) -> None:
    whole, own = report(registry), report(registry, tenant="acme")
    assert [one.name for one in own.lines] == ["acme", "acme (shadow)"]
    assert own.lines[0] == line(whole, "acme")
    with pytest.raises(NotFound, match="nobody"):
        report(registry, tenant="nobody")


@pytest.mark.parametrize("policy", ["unallocated", "by_share", "equal"])
def test_a_tenant_s_engine_cost_is_the_same_by_whatever_lines_and_none_of_it_is_another_s(
    registry: Registry, policy: str
) -> None:
    whole = report(registry, idle=idle_of(policy)).total.engine.loaded_nano or 0
    own = [report(registry, by=by, tenant="acme", idle=idle_of(policy)) for by in get_args(CostBy)]
    (loaded,) = {one.total.engine.loaded_nano for one in own}
    assert 0 < (loaded or 0) < whole
    assert {one.tenant for found in own for one in found.lines} == {"acme"}


def test_requests_of_others_on_engines_without_a_cost_are_not_counted_as_a_tenant_s(registry: Registry) -> None:
    at_ms = FIRST_MS + DAY_MS
    row = usage_row("x", engine_id="unknown", started_at_ms=at_ms, finished_at_ms=at_ms + 9, tenant="globex")
    registry.ledger.record([row])
    for by in ("tenant", "day", "engine"):
        found = [report(registry, by=by, tenant=tenant).total.engine.uncosted for tenant in ("acme", "globex", None)]
        assert found == [0, 1, 1], by


@pytest.mark.parametrize("policy", ["unallocated", "by_share", "equal"])
def test_a_tenant_s_report_costs_what_its_bill_says_with_loads_and_idle_time(registry: Registry, policy: str) -> None:
    load = EngineLoad("a100-2", "acme", "acme/triage@9", FIRST_MS, FIRST_MS + 60_000)
    registry.engine_loads.add([load, replace(load, tenant="globex", served_model="globex/x@1")])
    idle = idle_of(policy)
    lines = bill_lines(allocation_of(registry, FIRST_MS, UNTIL_MS, idle=idle))
    (margin,) = (one for one in margins(lines, {"acme": Charged(6_000_507)}) if one.tenant == "acme")
    for by in get_args(CostBy):
        found = report(registry, by=by, tenant="acme", idle=idle)
        copies = sum(one.engine.loaded_nano or 0 for one in found.lines if one.kind == "shadow")
        assert found.total.engine.loaded_nano == margin.loaded_nano + copies
        assert margin.margin_nano is not None
        assert found.total.margin_nano == margin.margin_nano - copies
        assert any(one.kind == "loads" for one in found.lines)


def test_a_marginal_cost_of_which_a_part_is_assumed_is_not_known(registry: Registry) -> None:
    fit = FittedWeights("sha256:b", "vllm on gpu", 10**6, 4 * 10**6, 0, 0.1, 40, FIRST_MS + DAY_MS)
    registry.engine_weights.put(fit)
    days = [one.engine.marginal_nano for one in report(registry, by="day", tenant="acme").lines if one.kind == "tenant"]
    assert [one is None for one in days] == [True, False, False], "the first day is older than the fit"
    bill = bill_lines(allocation_of(registry, FIRST_MS, UNTIL_MS))
    assert [one.marginal_nano for one in bill if (one.kind, one.tenant) == ("tenant", "acme")] == [None]
    assert line(report(registry), "acme").engine.marginal_nano is None
    since_fit = line(report(registry, since_ms=FIRST_MS + DAY_MS), "acme").engine
    assert since_fit.marginal_nano == sum(one or 0 for one in days) > 0


def test_a_price_that_changes_within_a_day_holds_for_what_began_after(registry: Registry) -> None:
    registry.baselines.correct(
        "an-api", {"output": "8"}, source="a list", effective_from_ms=FIRST_MS + DAY_MS + 3_600_000
    )
    costs = [one.baselines[0].cost_nano for one in report(registry, by="day").lines if one.kind == "tenant"]
    assert costs == [2 * ONE_NANO, 3_000_000 + 201 * 8_000, 1_000_000 + 100 * 8_000]


def test_a_report_with_the_price_version_of_another_says_what_that_said(registry: Registry) -> None:
    before = report(registry)
    add_baseline(registry, input_dollars="9", effective_from_ms=None)
    today = document_of(report(registry), report(registry).lines)
    assert today["lines"] == document_of(before, before.lines)["lines"], "it changes nothing before today"
    registry.baselines.correct("an-api", {"input": "9"}, source="a list", effective_from_ms=FIRST_MS)
    after = report(registry)
    assert after.total.baselines[0].cost_nano != before.total.baselines[0].cost_nano
    again = report(registry, price_version=before.price_version)
    assert document_of(again, again.lines) == document_of(before, before.lines)
    with pytest.raises(NotFound, match="price_version is 'p9-00000000'"):
        report(registry, price_version="p9-00000000")


def test_a_report_with_the_cost_version_of_another_says_what_that_said(registry: Registry) -> None:
    registry.engine_weights.put(FittedWeights("sha256:b", "vllm on gpu", 10**6, 4 * 10**6, 0, 0.1, 40, FIRST_MS))
    registry.idle_policies.put("reserved", {"acme": "0.5"}, actor="a test")
    before = report(registry)
    share = named_idle(registry, "reserved")
    registry.engine_weights.put(FittedWeights("sha256:b", "vllm on gpu", 10**6, 9 * 10**6, 0, 0.1, 40, FIRST_MS + 1))
    fitted = report(registry).total
    registry.idle_policies.put("reserved", {"globex": "0.5"}, actor="a test")
    put = report(registry).lines
    found_later = SeenEngine("a100-3", "http://a100-3", "host", None, "sha256:b", "vllm on gpu", FIRST_MS)
    registry.engine_spans.see([found_later], UNTIL_MS + 60_000)
    found = report(registry).engines.bill_nano
    registry.engine_costs.add(
        "*", "on_demand", {"hourly": "5"}, effective_from_ms=FIRST_MS, source="a list", actor="a test", correct=True
    )
    assert fitted != before.total
    assert put != before.lines
    assert found != before.engines.bill_nano
    again = report(registry, cost_version=before.engines.cost_version)
    assert document_of(again, again.lines, explained=True) == document_of(before, before.lines, explained=True)
    assert named_idle(registry, "reserved", before.engines.cost_version) == share
    assert before.engines.cost_version is not None
    log_alone = report(registry, cost_version=before.engines.cost_version.split(".")[0])
    assert log_alone.engines.bill_nano == found, "all but the log as it is known now"


def test_usage_before_the_first_price_is_unlisted_and_then_nothing_is_compared(registry: Registry) -> None:
    add_baseline(registry, "late", effective_from_ms=FIRST_MS + DAY_MS)
    found = report(registry, baselines=("late",))
    (cost,) = line(found, "acme").baselines
    assert (cost.unlisted, cost.savings_nano, cost.cost_nano) == (1, None, 4 * 1_000_000 + 301 * 4_000)
    assert any("without 2 requests that had no price" in one for one in sentences(found))


def test_shares_of_cache_and_batch_change_what_a_baseline_costs_and_are_said(registry: Registry) -> None:
    more = {"cached_input": "0.1", "batch_input": "0.5", "batch_output": "2"}
    add_baseline(registry, "rich", more=more)

    def cost(**assumed: Any) -> int | None:
        found = report(registry, baselines=("rich",), by="day", assumed=Assumptions(**assumed))
        return found.lines[0].baselines[0].cost_nano

    assert cost() == 2 * (600_000 + 40_000 + 400_000), "the share that our own cache had"
    assert cost(cached_share=Fraction(0)) == 2 * ONE_NANO
    assert cost(cached_share=Fraction(0), batch_share=Fraction(1)) == ONE_NANO
    assert cost(cached_share=Fraction(0), batch_share=Fraction(1, 2)) == 3 * ONE_NANO // 2
    document = document_of(report(registry, assumed=Assumptions(Fraction(1, 4), Fraction(1, 2))), ())
    assert document["baselines"][0]["assumptions"] == [
        "Tokens: it counts as many tokens as our engines do.",
        "Prompt cache: it has 25 % of every prompt.",
        "It has no price for cached input: that costs as much as input.",
        "Batch: it has no price for batches, so every request costs the standard price.",
    ]


def test_idle_time_falls_to_whom_the_policy_says(registry: Registry) -> None:
    registry.idle_policies.put("reserved", {"globex": "0.5"}, actor="a test")
    found = report(registry, idle=named_idle(registry, "reserved"))
    idle, globex = line(found, "(idle)"), line(found, "globex")
    assert abs((globex.engine.loaded_nano or 0) - (idle.engine.loaded_nano or 0)) < 2 * 10**9
    with pytest.raises(InvalidInput, match="idle is 'mine'"):
        named_idle(registry, "mine")


def test_an_engine_whose_cost_nobody_has_said_is_not_free(registry: Registry) -> None:
    at_ms = FIRST_MS + DAY_MS
    row = usage_row("x", engine_id="unknown", started_at_ms=at_ms, finished_at_ms=at_ms + 9, tenant="globex")
    registry.ledger.record([row])
    found = report(registry, cost_version="c0")
    assert found.engines.bill_nano is None
    assert {one.engine.loaded_nano for one in found.lines} == {None}
    assert any("What the engines cost is not known" in one for one in sentences(found))
    globex = line(report(registry), "globex")
    assert (globex.engine.uncosted, globex.baselines[0].savings_nano) == (1, None)


def test_nothing_used_is_said_and_is_no_error(house: House) -> None:
    found = report_of(house.registry, Asked(until_ms=UNTIL_MS))
    assert (found.lines, list(sentences(found))) == ((), ["Nothing was used in this window."])
    assert csv_of(found, found.lines).count("\n") == 1


def test_the_sentences_say_which_is_cheaper_and_by_how_much(registry: Registry) -> None:
    cheap, dear = report(registry), report(registry, baselines=("dear",))
    assert any("you paid $288.00: staying on the API would be cheaper by $287." in one for one in sentences(cheap))
    assert any("dear had no price" in one for one in sentences(dear))
    add_baseline(registry, "dear", input_dollars="1000000", output_dollars="1")
    assert any("your own engines are cheaper by $" in one for one in sentences(report(registry, baselines=("dear",))))


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1_234_567_890_000, "$1,234.57"),
        (-2_500_000_000, "-$2.50"),
        (123_456_789, "$0.12"),
        (1_234_567, "$0.0012"),
        (12_345, "$0.000012"),
        (1, "$0.000001 or less"),
    ],
)
def test_dollars_are_said_to_the_digits_that_count(nano: int, text: str) -> None:
    assert said(nano) == text


def test_csv_has_a_row_a_line_and_empty_cells_for_what_is_not_known(registry: Registry) -> None:
    found = report(registry)
    heading, *rows = csv_of(found, found.lines).splitlines()
    assert heading.startswith("kind,tenant,name,requests,failed,prompt_tokens")
    assert heading.endswith(
        "an-api cost_dollars,an-api cost_low_dollars,an-api cost_high_dollars,an-api label,an-api savings_dollars,"
        "an-api savings_low_dollars,an-api savings_high_dollars,an-api unlisted,price_version,cost_version"
    )
    assert len(rows) == len(found.lines)
    globex = dict(zip(heading.split(","), rows[2].split(","), strict=True))
    assert (globex["name"], globex["tariff_dollars"], globex["unpriced"]) == ("globex", "", "1")


def test_a_reserved_share_is_needed_where_that_policy_is_asked_for(registry: Registry) -> None:
    assert named_idle(registry, None) is None
    assert named_idle(registry, "equal") == Idle("equal")
    with pytest.raises(InvalidInput, match="no tenant has a share yet"):
        named_idle(registry, "reserved")

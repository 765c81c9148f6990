"""Intervals of dollars: what a baseline costs, and what is saved, while ratios of tokens are within theirs."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from typing import Any, get_args

import pytest

from gateway.cost.assumptions import TokenRatio
from gateway.cost.explain import explain
from gateway.cost.intervals import around, whole_sum
from gateway.cost.report import CostReport
from gateway.cost.report_csv import csv_of
from gateway.cost.report_document import document_of
from gateway.cost.report_words import sentences
from gateway.cost.reporting import Asked, report_of
from gateway.cost.statement import statement_of, statement_sentences
from gateway.cost.statement_page import page_of
from gateway.cost.whole import in_whole
from registry.calibrations.store import CalibrationInfo, Ratio
from registry.ledger.usage_cells import CostBy
from registry.service import Registry
from switchyard.cost_tables import print_report
from tests.support.cost_parts import FIRST_MS, UNTIL_MS, add_baseline, add_engines, add_traffic
from tests.support.stack import House

ASKED = Asked(since_ms=FIRST_MS, until_ms=UNTIL_MS, baselines=("an-api",))
COST = 5_000 * 1_100 + 401 * 1_600 * 4
"""Of acme at $1 and $4 per million, with 1.1 of its tokens for one of ours in prompts and 1.6 in answers."""
ENDS = 5_000 * 1_050 + 401 * 1_400 * 4, 5_000 * 1_150 + 401 * 1_800 * 4


@pytest.fixture
def registry(house: House) -> Registry:
    """Three days of traffic, engines that cost something, an API's prices, and acme calibrated."""
    add_engines(house.registry)
    add_baseline(house.registry)
    add_traffic(house.registry)
    calibrate(house.registry, "acme")
    return house.registry


def calibrate(registry: Registry, tenant: str) -> None:
    registry.tenants.change(tenant, {"shadow_consent": True})
    ratios = Ratio("1.100000", "1.050000", "1.150000"), Ratio("1.600000", "1.400000", "1.800000")
    registry.calibrations.add(
        CalibrationInfo(tenant, "an-api", f"{tenant}/triage", "x", "https://a", "p", 40, *ratios, 12, "tight", "me")
    )


def report(registry: Registry, **changes: Any) -> CostReport:
    return report_of(registry, replace(ASKED, **changes))


def test_a_calibrated_line_has_the_ends_of_its_cost_and_of_its_savings_and_one_that_is_assumed_has_none(
    registry: Registry,
) -> None:
    found = report(registry)
    acme, globex = (line for line in found.lines if line.name in ("acme", "globex"))
    (cost,) = acme.baselines
    assert (cost.cost_nano, cost.interval_nano, cost.label) == (COST, ENDS, "calibrated")
    loaded = acme.engine.loaded_nano
    assert loaded is not None
    assert cost.savings_interval_nano == (ENDS[0] - loaded, ENDS[1] - loaded)
    assert globex.baselines[0].interval_nano is None
    assert (found.total.baselines[0].interval_nano, found.total.baselines[0].label) == (None, "assumed")
    assert "[" not in " ".join(sentences(found)), "of all nobody knows"


@pytest.mark.parametrize("by", get_args(CostBy))
def test_ends_of_lines_add_up_to_those_of_all_by_whatever_lines_are_told_apart(registry: Registry, by: str) -> None:
    calibrate(registry, "globex")
    found = report(registry, by=by)
    intervals = [one.baselines[0].interval_nano for one in found.lines if one.baselines[0].cost_nano is not None]
    of_globex = 1_000 * 1_050 + 100 * 1_400 * 4, 1_000 * 1_150 + 100 * 1_800 * 4
    assert found.total.baselines[0].interval_nano == whole_sum(intervals)
    assert found.total.baselines[0].interval_nano == (ENDS[0] + of_globex[0], ENDS[1] + of_globex[1])


@pytest.mark.parametrize("seed", range(60))
def test_whole_ends_are_around_the_cost_less_than_two_nano_dollars_from_the_exact_ones_and_add_up(seed: int) -> None:
    chance = random.Random(seed)

    def drawn() -> tuple[Fraction, Fraction, Fraction, bool]:
        ends = (Fraction(chance.randrange(10 ** chance.randrange(1, 9)), chance.randrange(1, 999)) for _ in range(3))
        low, cost, high = sorted(ends)
        return low, cost, high, chance.random() < 0.8

    lines = [drawn() for _ in range(chance.randrange(1, 10))]
    exact = [cost for _, cost, _, _ in lines]
    whole = in_whole(exact)
    found = around(whole, exact, [(low, high) if known else None for low, _, high, known in lines])
    for (low, _, high, known), cost, interval in zip(lines, whole, found, strict=True):
        assert known == (interval is not None)
        if interval is not None:
            assert interval[0] <= cost <= interval[1]
            assert abs(interval[0] - low) < 2
            assert abs(interval[1] - high) < 2
    total = whole_sum(found)
    assert (total is None) == (not all(known for *_, known in lines))
    if total is not None:
        assert abs(total[0] - sum((low for low, *_ in lines), Fraction(0))) <= 1
        assert abs(total[1] - sum((high for _, _, high, _ in lines), Fraction(0))) <= 1


def test_the_document_csv_table_and_sentences_have_the_ends(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(registry, tenant="acme")
    (acme, *_) = document_of(found, found.lines)["lines"]
    cost = acme["baselines"]["an-api"]
    assert (cost["cost_dollars"], cost["cost_interval_dollars"]) == ("0.0080664", ["0.0074956", "0.0086372"])
    heading, row, *_ = (line.split(",") for line in csv_of(found, found.lines).splitlines())
    cells = dict(zip(heading, row, strict=True))
    ends = [cells[f"an-api {name}_dollars"] for name in ("cost_low", "cost_high", "savings_low", "savings_high")]
    assert ends == [*cost["cost_interval_dollars"], *cost["savings_interval_dollars"]]
    print_report(found)
    assert "$0.0081 [$0.0075, $0.0086]" in capsys.readouterr().out
    (sentence,) = (one for one in sentences(found) if "an-api" in one)
    assert "would have cost $0.0081 [$0.0075, $0.0086] (calibrated); you paid " in sentence
    assert "your own engines are cheaper by $0.0031 [$0.0025, $0.0036]." in sentence


def test_a_tenants_document_table_and_statement_name_no_other_tenant(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, own = report(registry), report(registry, tenant="globex")
    print_report(own)
    page = page_of(statement_of(registry, "globex", "2026-06", ASKED, with_engine_costs=True))
    for text in (str(document_of(own, own.lines, explained=True)), capsys.readouterr().out, page):
        assert "globex" in text
        assert "acme" not in text
    (ratios,) = (one["token_ratios"] for one in document_of(whole, whole.lines)["baselines"])
    assert [one["tenant"] for one in ratios] == [None, "acme"]
    acme = report(registry, tenant="acme")
    assert document_of(acme, acme.lines)["baselines"][0]["token_ratios"] == ratios


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (
            1_000,
            "your own engines are cheaper by $0.000001 [-$0.00057, $0.00057], and as 0 is between these, it may be the "
            "other way round.",
        ),
        (
            -1_000,
            "staying on the API would be cheaper by $0.000001 [-$0.00057, $0.00057], and as 0 is between these, it may "
            "be the other way round.",
        ),
        (-2_000_000, "staying on the API would be cheaper by $0.0020 [$0.0014, $0.0026]."),
    ],
)
def test_a_sentence_says_when_the_ends_do_not_agree_on_who_is_cheaper(
    registry: Registry, saved: int, said: str
) -> None:
    found = report(registry, tenant="acme")
    engine = replace(found.total.engine, loaded_nano=COST - saved)
    cost = replace(found.total.baselines[0], savings_nano=saved)
    shown = replace(found, total=replace(found.total, engine=engine, baselines=(cost,)))
    (sentence,) = (one for one in sentences(shown) if "an-api" in one)
    assert sentence.endswith(said)


def test_ends_are_opened_with_the_ratios_ends_and_the_line_of_the_calibration(registry: Registry) -> None:
    found = report(registry)
    opened = {(one.line, one.figure): one for one in explain(found, found.lines)}
    (stored,) = registry.calibrations.all()
    cost = opened["acme", "baselines.an-api.cost_interval_dollars"]
    assert (cost.value, cost.rows) == ("[0.0074956, 0.0086372]", (stored.seq,))
    assert [term.rpartition(" = ")[2] for term in cost.filled] == ["$0.0074956", "$0.0086372"]
    assert cost.filled[0].startswith("lower end: prices from 2026-06-01 00:00 UTC: ((5250 - 2100) · $1")
    savings = opened["acme", "baselines.an-api.savings_interval_dollars"]
    assert savings.filled[0].startswith("$0.0074956 - $")
    assert ("globex", "baselines.an-api.cost_interval_dollars") not in opened


def test_a_statement_holds_the_ends_against_what_is_charged_and_tells_no_engine_cost(registry: Registry) -> None:
    statement = statement_of(registry, "acme", "2026-06", Asked(baselines=("an-api",)))
    (sentence,) = (one for one in statement_sentences(statement) if "an-api" in one)
    assert "would have cost $0.0081 [$0.0075, $0.0086] (calibrated); you paid $0.0060" in sentence
    assert "[$0.0015, $0.0026]" in sentence
    assert "$0.0081 [$0.0075, $0.0086]" in page_of(statement)


def test_a_measured_ratio_has_ends_where_its_sample_gave_an_interval(registry: Registry) -> None:
    interval = Fraction(1), Fraction(12, 10)
    for of, known in ((interval, True), (None, False)):
        ratio = TokenRatio(Fraction(11, 10), Fraction(11, 10), "measured", "counted", of, of)
        cost = report(registry, ratios={"an-api": ratio}).total.baselines[0]
        assert cost.label == "measured"
        assert (cost.interval_nano is not None) == known

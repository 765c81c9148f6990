"""Every number of a cost report can be opened: it is what stands there, and the query gives the counts."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from sqlalchemy import text

from gateway.cost.assumptions import Assumptions, TokenRatio
from gateway.cost.explain import explain
from gateway.cost.report import CostReport
from gateway.cost.report_document import document_of
from gateway.cost.reporting import Asked, report_of
from registry.db import Database
from registry.ledger.usage_queries import counts_query
from registry.service import Registry
from tests.support.cost_parts import FIRST_MS, UNTIL_MS, add_baseline, add_engines, add_traffic
from tests.support.stack import House


@pytest.fixture
def registry(house: House) -> Registry:
    add_engines(house.registry)
    add_baseline(house.registry)
    add_traffic(house.registry)
    return house.registry


def report(registry: Registry, by: str = "tenant", **changes: Any) -> CostReport:
    return report_of(registry, Asked(by, FIRST_MS, UNTIL_MS, baselines=("an-api",), **changes))


def asked(db: Database, query: str) -> tuple[int, ...]:
    with db.read() as session:
        return tuple(int(one or 0) for one in session.execute(text(query.replace(":", "\\:"))).one())


@pytest.mark.parametrize("by", ["tenant", "adapter", "version", "key", "day", "engine", "arm"])
def test_the_query_of_a_line_gives_its_counts(registry: Registry, by: str) -> None:
    found = report(registry, by)
    opened = {(one.tenant, one.line, one.figure): one for one in explain(found, found.lines)}
    own = [line for line in found.lines if line.kind == "tenant"]
    assert own
    for line in own:
        query = opened[line.tenant, line.name, "requests"].query
        assert query is not None
        requests, prompt, cached, completion, cost_nano, unpriced = asked(registry.db, query)
        assert (requests, unpriced, cost_nano) == (line.requests, line.unpriced, line.tariff_nano or 0)
        assert (prompt, cached, completion) == (line.tokens.prompt, line.tokens.cached, line.tokens.completion)


def test_the_figures_that_were_put_in_come_to_the_number(registry: Registry) -> None:
    add_baseline(registry, "new", more={"cached_input": "0.1", "batch_input": "0.5", "batch_output": "2"})
    registry.baselines.correct("new", {"output": "8"}, source="x", effective_from_ms=FIRST_MS + 90_000_000)
    ratio = TokenRatio(Fraction(11, 10), Fraction(9, 10), "measured", "counted")
    found = report_of(
        registry,
        Asked(
            "tenant",
            FIRST_MS,
            UNTIL_MS,
            baselines=("new",),
            ratios={"new": ratio},
            assumed=Assumptions(None, Fraction(1, 4)),
        ),
    )
    opened = [one for one in explain(found, found.lines) if one.figure == "baselines.new.cost_dollars"]
    assert [one.line for one in opened] == ["acme", "globex"]
    for one in opened:
        sums = [Decimal(term.rpartition("= $")[2]) for term in one.filled]
        made = [_worked_out(term.partition("UTC: ")[2].rpartition(" = ")[0]) for term in one.filled]
        assert abs(sum(sums) - Decimal(one.value)) <= Decimal(len(sums)) / 10**9
        assert all(abs(a - float(b)) < 1e-8 for a, b in zip(made, sums, strict=True))
        assert one.version == found.price_version
        assert set(one.rows) <= {price["seq"] for price in document_of(found, ())["baselines"][0]["prices"]}
    assert len(opened[0].filled) == 2, "a term for each price that was in force"


def _worked_out(formula: str) -> float:
    """What a formula for people comes to."""
    plain = formula.replace("·", "*").replace("$", "").replace(",", "")
    assert re.fullmatch(r"[0-9.()*+/ -]+", plain), plain
    return float(eval(plain))


def test_engine_costs_name_the_days_the_bill_and_the_lines_of_the_log(registry: Registry) -> None:
    found = report(registry)
    opened = {(one.line, one.figure): one for one in explain(found, found.lines)}
    busy = opened["acme", "engine_cost.busy_dollars"]
    assert busy.filled[0].startswith("2026-06-01, a100-1: $0.")
    assert busy.filled[0].endswith(" of the bill of $48")
    assert (busy.version, busy.rows) == (found.engines.cost_version, (1,))
    assert busy.query == (
        "GET /admin/v1/cost/bill?from=2026-06-01&until=2026-06-04&idle=unallocated"
        f"&cost_version={found.engines.cost_version}&explain=true"
    )
    terms = [Decimal(term.split("$")[1].split(" ")[0]) for term in busy.filled]
    assert sum(terms) == Decimal(busy.value)
    assert opened["(idle)", "engine_cost.loaded_dollars"].value
    savings = opened["acme", "baselines.an-api.savings_dollars"].filled[0]
    assert savings.endswith(f"= ${opened['acme', 'baselines.an-api.savings_dollars'].value}")


def test_every_figure_that_is_known_is_opened(registry: Registry) -> None:
    found = report(registry)
    document = document_of(found, found.lines, explained=True)
    opened = {(one["line"], one["figure"]) for one in document["explain"]}
    for line in document["lines"]:
        figures = {"tariff_dollars": line["tariff_dollars"]}
        figures |= {f"engine_cost.{name}": value for name, value in line["engine_cost"].items()}
        for name, cost in line["baselines"].items():
            figures |= {f"baselines.{name}.{one}": cost[one] for one in ("cost_dollars", "savings_dollars")}
        assert {(line["name"], name) for name, value in figures.items() if value is not None} <= opened


def test_names_in_a_query_are_texts_and_nothing_else(registry: Registry) -> None:
    query = counts_query("key", "x' OR '1'='1", "acme", FIRST_MS, UNTIL_MS)
    assert asked(registry.db, query)[0] == 0

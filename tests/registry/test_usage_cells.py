"""Usage in cells, and the queries that give a line's counts, on both databases."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest
from sqlalchemy import text

from registry.days import DAY_MS
from registry.ledger.usage_cells import FIGURES, CostBy, UsageCell, usage_cells
from registry.ledger.usage_queries import counts_query
from registry.service import Registry
from tests.support.cost_parts import FIRST_MS, UNTIL_MS, add_traffic


@pytest.mark.parametrize("by", get_args(CostBy))
def test_cells_add_up_to_what_the_query_of_their_line_gives(registry: Registry, by: str) -> None:
    add_traffic(registry)
    cells = usage_cells(registry.db, by, FIRST_MS, UNTIL_MS)
    lines: dict[tuple[str | None, str], list[int]] = {}
    for cell in cells:
        if not cell.shadow and cell.tenant != "_system":
            tenant = None if by in ("day", "engine") else cell.tenant
            figures = [cell.requests, cell.prompt_tokens, cell.cached_tokens, cell.completion_tokens, cell.tariff_nano]
            sums = lines.setdefault((tenant, cell.name), [0] * 5)
            lines[tenant, cell.name] = [a + b for a, b in zip(sums, figures, strict=True)]
    assert sum(sums[0] for sums in lines.values()) == 6
    for (tenant, name), sums in lines.items():
        query = counts_query(by, name, tenant, FIRST_MS, UNTIL_MS)
        with registry.db.read() as session:
            found = list(map(int, session.execute(text(query.replace(":", "\\:"))).one()))
        assert found[:5] == sums


def test_a_day_in_which_prices_change_has_cells_before_and_after(registry: Registry) -> None:
    add_traffic(registry)
    cut_ms = FIRST_MS + 3_600_001
    cells = usage_cells(registry.db, "tenant", FIRST_MS, UNTIL_MS, [cut_ms])
    assert {cell.at_ms for cell in cells} == {FIRST_MS, cut_ms}
    whole = usage_cells(registry.db, "tenant", FIRST_MS, UNTIL_MS)
    assert sum(cell.requests for cell in cells) == sum(cell.requests for cell in whole) == 8
    assert usage_cells(registry.db, "tenant", UNTIL_MS, FIRST_MS) == ()


def test_daily_cells_are_apart_by_day_and_engine_and_come_to_the_same(registry: Registry) -> None:
    add_traffic(registry)
    daily = usage_cells(registry.db, "tenant", FIRST_MS, UNTIL_MS, daily=True)
    assert {(cell.day - FIRST_MS // DAY_MS, cell.engine) for cell in daily if cell.tenant == "acme"} == {
        (0, "a100-1"), (1, "a100-1"), (1, "a100-2"), (2, "a100-1"), (2, "a100-2"),
    }  # fmt: skip
    sums: dict[tuple[str, bool], Counter[str]] = {}
    for cell in daily:
        sums.setdefault((cell.tenant, cell.shadow), Counter()).update(figures(cell))
    whole = usage_cells(registry.db, "tenant", FIRST_MS, UNTIL_MS)
    assert {(cell.tenant, cell.shadow): Counter(figures(cell)) for cell in whole} == sums
    assert {(cell.at_ms, cell.engine) for cell in whole} == {(FIRST_MS, "")}


def figures(cell: UsageCell) -> dict[str, int]:
    """What is added up."""
    return dict(zip(cell._fields[-FIGURES:], map(int, cell[-FIGURES:]), strict=True))  # type: ignore[arg-type]

"""The table of baselines that comes with this package, as lines for the log."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from registry.days import day_ms
from registry.money import dollars_to_nano
from registry.prices.baseline_infos import CHECKED, CLAIM, COMPONENTS, LIVE, STATUS, TEXTS
from registry.prices.price_log import Said

TABLE = Path(__file__).with_name("shipped.toml")
ORIGIN = "shipped"


def shipped_lines(table: Path = TABLE) -> list[Said]:
    """All that the table says. Raises `KeyError` or `InvalidInput` for a table that was written wrongly."""
    with table.open("rb") as file:
        tables = tomllib.load(file)
    return [said for baseline in tables["baseline"] for said in _lines(baseline, tables["sources"])]


def _lines(baseline: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[Said]:
    """`sources` are of facts that are not from where a baseline's status is."""
    read_ms = _retrieved(baseline)
    ends_ms = read_ms if baseline["status"] == LIVE else day_ms(baseline["ends_on"], "ends_on")
    assert read_ms is not None
    assert ends_ms is not None
    yield _said(baseline, baseline, STATUS, ends_ms, text=baseline["status"])
    for field in TEXTS:
        if field in baseline:
            part = {**baseline, "source": sources.get(field, baseline["source"])}
            yield _said(baseline, part, field, read_ms, text=baseline[field])
    if (claim := baseline.get("claim")) is not None:
        nano = dollars_to_nano(claim["dollars_a_month"], CLAIM)
        yield _said(baseline, claim, CLAIM, read_ms, nano=nano, text=claim["workload"])
    for price in baseline["price"]:
        from_ms = day_ms(price["from"], "from")
        for component in COMPONENTS:
            if component in price:
                yield _said(baseline, price, component, from_ms, nano=dollars_to_nano(price[component], component))
    if checked := [read for price in baseline["price"] if (read := _retrieved(price)) is not None]:
        yield _said(baseline, baseline, CHECKED, max(checked))


def _said(baseline: Mapping[str, Any], part: Mapping[str, Any], field: str, from_ms: int, **value: Any) -> Said:
    return Said(
        baseline["name"],
        field,
        from_ms,
        part["source"],
        ORIGIN,
        retrieved_at_ms=_retrieved(part),
        note=part.get("note", ""),
        **value,
    )


def _retrieved(part: Mapping[str, Any]) -> int | None:
    return day_ms(part["retrieved"], "retrieved") if "retrieved" in part else None

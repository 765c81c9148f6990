"""Calibrations of baselines: the newest of a tenant counts, and none is stored without its consent."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.cost.calibrated import calibrated_ratios
from gateway.cost.report_csv import csv_of
from gateway.cost.report_document import document_of
from gateway.cost.reporting import Asked, report_of
from registry.calibrations.store import CalibrationInfo, Ratio
from registry.errors import InvalidInput, NotFound
from registry.service import Registry
from tests.support.cost_parts import FIRST_MS, UNTIL_MS, add_baseline, add_engines, add_traffic

INFO = CalibrationInfo(
    "acme",
    "gpt-5.4-mini",
    "acme/triage@1.0",
    "gpt-5.4-mini",
    "https://api.example.com/v1",
    "prompts.jsonl sha256:00",
    40,
    Ratio("1.100000", "1.050000", "1.150000"),
    Ratio("1.600000", "1.400000", "1.800000"),
    12,
    "tight",
    "me",
)


def test_the_newest_of_a_tenant_counts_and_a_report_takes_it_with_its_interval(registry: Registry) -> None:
    registry.tenants.change("acme", {"shadow_consent": True})
    registry.calibrations.add(INFO)
    newer = registry.calibrations.add(replace(INFO, completion=Ratio("1.500000", "1.400000", "1.700000")))
    assert registry.calibrations.newest("gpt-5.4-mini") == {"acme": newer}
    assert registry.calibrations.newest("gpt-4") == {}
    assert [one.completion.ratio for one in registry.calibrations.all("acme")] == ["1.500000", "1.600000"]
    (ratio,) = calibrated_ratios(registry.calibrations, "gpt-5.4-mini", registry.baselines.version()).values()
    assert (ratio.label, ratio.completion, ratio.prompt_interval) == (
        "calibrated",
        Fraction("1.5"),
        (Fraction("1.05"), Fraction("1.15")),
    )
    assert "calibrated on 20" in ratio.why


def test_nothing_is_stored_of_a_tenant_that_has_not_consented(registry: Registry) -> None:
    with pytest.raises(InvalidInput, match="has not consented"):
        registry.calibrations.add(INFO)
    with pytest.raises(NotFound):
        registry.calibrations.require_consent("nobody")
    assert registry.calibrations.all() == []


def reported(registry: Registry, version: str | None = None) -> tuple[str, dict[str, Any]]:
    """All that a report says, as bytes would have it, and its document."""
    asked = Asked(since_ms=FIRST_MS, until_ms=UNTIL_MS, baselines=("an-api",), price_version=version)
    found = report_of(registry, asked)
    document = document_of(found, found.lines, explained=True)
    return json.dumps(document) + csv_of(found, found.lines), document


def test_a_report_by_an_earlier_price_version_says_what_it_said_before_each_calibration(registry: Registry) -> None:
    registry.tenants.change("acme", {"shadow_consent": True})
    add_engines(registry)
    add_baseline(registry)
    add_traffic(registry)
    said = [reported(registry)]
    for ratio in ("1.600000", "1.500000"):
        stored = registry.calibrations.add(
            replace(INFO, baseline="an-api", completion=Ratio(ratio, "1.400000", "1.800000"))
        )
        said.append(reported(registry))
        cost = "baselines.an-api.cost_dollars"
        (opened,) = (one for one in said[-1][1]["explain"] if (one["tenant"], one["figure"]) == ("acme", cost))
        assert stored.seq in opened["rows"]
    versions = [document["price_version"] for _, document in said]
    assert len(set(versions)) == 3
    for version, (before, _) in zip(versions, said, strict=True):
        assert reported(registry, version)[0] == before
    assert len({document["total"]["baselines"]["an-api"]["cost_dollars"] for _, document in said}) == 3
    assert registry.baselines.faults() == registry.calibrations.faults() == []


@pytest.mark.parametrize("statement", ["DELETE FROM calibrations", "UPDATE calibrations SET pairs = 1"])
def test_the_database_refuses_to_rewrite_one_and_what_goes_behind_its_back_is_found(
    registry: Registry, statement: str
) -> None:
    registry.tenants.change("acme", {"shadow_consent": True})
    stored = registry.calibrations.add(INFO)
    with pytest.raises(DBAPIError, match="calibrations is append-only"), registry.db.write() as session:
        session.execute(text(statement))
    assert registry.calibrations.faults() == []
    sqlite = registry.db.engine.dialect.name == "sqlite"
    triggers = [f"calibrations_no_{verb}" for verb in ("update", "delete")]
    with registry.db.write() as session:
        for drop in triggers if sqlite else ["calibrations_append_only ON calibrations"]:
            session.execute(text(f"DROP TRIGGER {drop}"))
        session.execute(text(statement))
    assert registry.calibrations.faults() == [
        f"the calibration of line {stored.seq} of the price log is not what was stored"
    ]


def test_one_of_a_baseline_that_is_not_in_the_price_log_is_refused(registry: Registry) -> None:
    registry.tenants.change("acme", {"shadow_consent": True})
    with pytest.raises(NotFound, match="'no-api', and no price of it is known"):
        registry.calibrations.add(replace(INFO, baseline="no-api"))

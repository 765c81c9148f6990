"""Calibrations of baselines: the newest of a tenant counts, and none is stored without its consent."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from gateway.cost.calibrated import calibrated_ratios
from registry.calibrations.store import CalibrationInfo, Ratio
from registry.errors import InvalidInput, NotFound
from registry.service import Registry

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
    (ratio,) = calibrated_ratios(registry.calibrations, "gpt-5.4-mini").values()
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

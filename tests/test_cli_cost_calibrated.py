"""A cost report takes a tenant's calibration, says so, and shows its interval."""

from __future__ import annotations

from registry.calibrations.store import CalibrationInfo, Ratio
from registry.service import Registry
from tests.support.cli_runner import Run, done, run
from tests.support.usage_rows import usage_row

__all__ = ["done", "run"]


def test_a_report_prices_a_calibrated_tenant_by_its_ratio_and_others_by_our_tokens(done: Run) -> None:
    tokens = {"prompt_tokens": 1_000_000, "cached_tokens": 0, "completion_tokens": 1_000_000}
    with Registry.open() as registry:
        registry.tenants.create("acme")
        registry.tenants.create("globex")
        registry.tenants.change("acme", {"shadow_consent": True})
        registry.baselines.add_prices("an-api", {"input": "1", "output": "1"}, source="a list", effective_from_ms=0)
        registry.ledger.record([usage_row("a", **tokens), usage_row("b", tenant="globex", **tokens)])
        ratios = Ratio("1.100000", "1.050000", "1.150000"), Ratio("1.600000", "1.400000", "1.800000")
        registry.calibrations.add(
            CalibrationInfo("acme", "an-api", "acme/triage@1.0", "x", "https://a", "p", 40, *ratios, 12, "tight", "me")
        )
    document = done("cost", "report", "--baseline", "an-api", "--json").document
    found = {line["tenant"]: line["baselines"]["an-api"] for line in document["lines"] if line["tenant"]}
    assert (found["acme"]["cost_dollars"], found["acme"]["label"]) == ("2.7", "calibrated")
    assert (found["globex"]["cost_dollars"], found["globex"]["label"]) == ("2", "assumed")
    (baseline,) = document["baselines"]
    (ratio,) = [one for one in baseline["token_ratios"] if one["tenant"] == "acme"]
    assert ratio["completion_interval"] == [1.4, 1.8]

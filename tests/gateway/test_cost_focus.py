"""FOCUS rows: they are the bill, and the specification's own validator has nothing against them."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cost.allocation import idle_of
from gateway.cost.focus import COLUMNS
from gateway.cost.reporting import Asked, focus_of, report_of
from registry.money import dollars_to_nano, nano_to_dollars
from registry.service import Registry
from tests.support.cost_parts import FIRST_MS, UNTIL_MS, add_baseline, add_engines, add_traffic
from tests.support.on_demand import FOCUS

ASKED = Asked("version", FIRST_MS, UNTIL_MS, baselines=("an-api",))
ABILITIES = (
    "USAGE_MEASUREMENT_SUPPORTED,SUB_ACCOUNT_SUPPORTED,TAGGING_SUPPORTED,ACCOUNT_NAMING_SUPPORTED,"
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED"
)
"""Of a provider, for which the specification has rules."""
EITHER = frozenset({"InvoiceId-C-005-C"})
"""An InvoiceId is either null (C-004) or not (C-005): of these two one never holds, and the rule above them does."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    from tests.support.stack import open_house

    with open_house(tmp_path_factory.mktemp("focus")) as house:
        for tenant in ("acme", "globex"):
            house.tenant(tenant)
        add_engines(house.registry)
        add_baseline(house.registry)
        add_traffic(house.registry)
        yield house.registry


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("policy", ["unallocated", "by_share", "equal"])
def test_the_rows_are_the_bill_to_the_nano_dollar(registry: Registry, policy: str) -> None:
    asked = Asked("version", FIRST_MS, UNTIL_MS, baselines=("an-api",), idle=idle_of(policy))
    found = rows(focus_of(registry, asked))
    costs = [dollars_to_nano(row["BilledCost"], "cost") for row in found]
    assert sum(costs) == report_of(registry, asked).engines.bill_nano
    assert all(row["BilledCost"] == row["EffectiveCost"] == row["ListCost"] == row["ContractedCost"] for row in found)
    assert {row["AllocatedMethodId"] for row in found} == {f"switchyard-work-{policy}"}


def test_a_row_says_whose_engine_was_divided_by_what_and_what_nobody_was_billed_with(registry: Registry) -> None:
    found = rows(focus_of(registry, ASKED))
    (row,) = (one for one in found if (one["AllocatedResourceId"], one["x_Kind"]) == ("acme/triage@1.1", "tenant"))
    assert (row["ResourceId"], row["SubAccountId"], row["PricingUnit"]) == ("a100-2", "acme", "Tokens")
    assert (row["PricingQuantity"], row["x_PromptTokens"], row["x_CachedTokens"]) == ("1100.0", "1000", "400")
    assert (row["x_TariffCost"], json.loads(row["x_BaselineCosts"])) == ("0.0000005", {"an-api": "0.0014"})
    (element,) = json.loads(row["AllocatedMethodDetails"])["Elements"]
    assert element["UsageQuantity"] == 1_100
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2026-06-02T00:00:00Z", "2026-06-03T00:00:00Z")
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z")
    total = report_of(registry, ASKED).total
    tariffs = [dollars_to_nano(one["x_TariffCost"], "cost") for one in found if one["x_TariffCost"]]
    assert nano_to_dollars(sum(tariffs)) == nano_to_dollars(total.tariff_nano or 0)


def test_ratios_of_an_engines_day_add_up_to_one(registry: Registry) -> None:
    days: dict[tuple[str, str], float] = {}
    for row in rows(focus_of(registry, ASKED)):
        place = row["ResourceId"], row["ChargePeriodStart"]
        (element,) = json.loads(row["AllocatedMethodDetails"])["Elements"]
        days[place] = days.get(place, 0.0) + element["AllocatedRatio"]
    assert len(days) == 6
    assert all(abs(one - 1) < 1e-9 for one in days.values())


def test_own_columns_begin_with_x_and_a_tenants_rows_are_its_own(registry: Registry) -> None:
    own = [name for name in COLUMNS if name.startswith("x_")]
    assert all(re.fullmatch("x_([A-Z][a-z]+)+", name) for name in own)
    assert list(COLUMNS) == sorted(COLUMNS, key=lambda name: (name.startswith("x_"), name))
    found = rows(focus_of(registry, Asked("version", FIRST_MS, UNTIL_MS, tenant="acme", baselines=("an-api",))))
    assert {row["SubAccountId"] for row in found} == {"acme"}


def _validated(file: Path, version: str) -> tuple[set[str], str]:
    """Rules that the official validator finds broken, and what it says at the end."""
    command = [sys.executable, "-c", "from focus_validator.main import main; main()", "--data-file", str(file)]
    options = ["--validate-version", version, "--block-download", "--applicability-criteria", ABILITIES]
    ran = subprocess.run(
        [*command, *options], cwd=FOCUS.folder, env={"PYTHONPATH": str(FOCUS.folder), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    said = ran.stdout + ran.stderr
    assert "Total:" in said, said[-3_000:]
    return set(re.findall(r"❌ ([\w-]+): FAIL", said)), said


def _rules(version: str) -> Any:
    known = list(FOCUS.folder.glob(f"focus_validator/rules/model-{version}*.json"))
    why = (
        f"focus_validator/rules/model-{version}*.json is missing: the validator fetches it from the specification's "
        "releases, and could not here"
    )
    return pytest.mark.skipif((FOCUS.folder / ".ready").exists() and not known, reason=why)


@FOCUS.needed
@pytest.mark.parametrize("version", [pytest.param(one, marks=_rules(one)) for one in ("1.2", "1.3")])
def test_the_official_validator_finds_nothing(registry: Registry, tmp_path: Path, version: str) -> None:
    file = tmp_path / "focus.csv"
    file.write_text(focus_of(registry, ASKED))
    broken, said = _validated(file, version)
    assert broken <= EITHER, said

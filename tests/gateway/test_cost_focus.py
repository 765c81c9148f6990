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
from typing import Any, get_args

import pytest

from gateway.cost.allocation import ASSUMED, Idle, LineKind, Work, allocate, idle_of
from gateway.cost.assumptions import Assumptions
from gateway.cost.bill import BilledDay, EngineBill
from gateway.cost.focus import COLUMNS, TAG_PREFIX, FocusSource, focus_csv
from gateway.cost.reporting import Asked, focus_of, report_of
from registry.days import DAY_MS
from registry.engine_costs.busy import BusyTime
from registry.ledger.usage_cells import UsageCell
from registry.money import NANO, dollars_to_nano, nano_to_dollars
from registry.names import SYSTEM
from registry.service import Registry
from tests.support.cost_parts import FIRST_MS, UNTIL_MS, add_baseline, add_engines, add_traffic
from tests.support.focus_rules import broken, charges
from tests.support.on_demand import FOCUS

ASKED = Asked("version", FIRST_MS, UNTIL_MS, baselines=("an-api",))
ABILITIES = (
    "USAGE_MEASUREMENT_SUPPORTED,SUB_ACCOUNT_SUPPORTED,TAGGING_SUPPORTED,ACCOUNT_NAMING_SUPPORTED,"
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED,BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED"
)
"""Of a provider, for which the specification has rules."""
SPLITS = ",DATA_GENERATOR_SPLIT_COST_ALLOCATION_SUPPORTED"
"""One more, from 1.3 on."""
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


def everything(nano: int, idle: Idle, until_ms: int = FIRST_MS + DAY_MS) -> FocusSource:
    """A day of an engine with lines of every kind and a correction, of one that nobody used, and of the trainer."""
    day, hour = FIRST_MS // DAY_MS, 3_600_000
    versions = ("acme/triage@1", "acme/triage@2", "acme/tiny-and-rare@1", "")
    works = [
        *(Work(day, "a", "tenant", "acme", (name,), 1, 600, 100 - at) for at, name in enumerate(versions)),
        Work(day, "a", "tenant", "globex", ("tiny",), 1, 600, 100),
        Work(day, "a", "shadow", "acme", ("acme/triage@2",), 1, 600, 100),
        Work(day, "a", "system", SYSTEM, ("tiny",), 1, 600, 100),
        Work(day, "a", "experiments", "", (), 1, 600, 100),
        Work(day, "a", "loads", "acme", ("acme/triage@1",), engine_ms=1_000),
        Work(day, "trainer", "training", "globex", ("",), engine_ms=hour),
    ]
    days = [BilledDay(day, engine, nano, 24 * hour, 0, ()) for engine in ("a", "b", "trainer")]
    bill = EngineBill(FIRST_MS, until_ms, "log", tuple(days))
    busy = {(day, "a"): BusyTime(hour, 1_000)}
    cells = [
        UsageCell(FIRST_MS, day, "a", tenant, shadow, (name,), name, 1, 0, 0, 0, prompt, 400, 100, 5)
        for tenant, shadow, name, prompt in (
            ("acme", False, "acme/triage@1", 1_000),
            ("acme", False, "acme/triage@2", 1_000),
            ("acme", False, "acme/tiny-and-rare@1", -500),
            ("globex", False, "tiny", 1_000),
            ("acme", True, "acme/triage@2", 1_000),
            (SYSTEM, False, "tiny", 1_000),
        )
    ]
    return FocusSource(allocate(bill, busy, works, {}, idle), cells, (), "p1", Assumptions())


@pytest.mark.parametrize("policy", ["unallocated", "by_share", "equal"])
def test_the_rows_are_the_bill_to_the_nano_dollar(registry: Registry, policy: str) -> None:
    asked = Asked("version", FIRST_MS, UNTIL_MS, baselines=("an-api",), idle=idle_of(policy))
    found = rows(focus_of(registry, asked))
    costs = [dollars_to_nano(row["BilledCost"], "cost") for row in found]
    assert sum(costs) == report_of(registry, asked).engines.bill_nano
    assert all(row["BilledCost"] == row["EffectiveCost"] == row["ListCost"] == row["ContractedCost"] for row in found)
    assert {row["x_IdlePolicy"] for row in found} == {policy}


def test_a_row_says_who_was_charged_how_it_was_split_and_what_nobody_was_billed_with(
    registry: Registry,
) -> None:
    found = rows(focus_of(registry, ASKED))
    (row,) = (one for one in found if (one["AllocatedResourceId"], one["x_Kind"]) == ("acme/triage@1.1", "tenant"))
    assert (row["ResourceId"], row["SubAccountId"], row["PricingUnit"]) == ("a100-2", "acme", "Tokens")
    assert (row["PricingQuantity"], row["x_PromptTokens"], row["x_CachedTokens"]) == ("1100.0", "1000", "400")
    assert (row["x_TariffCost"], json.loads(row["x_BaselineCosts"])) == ("0.0000005", {"an-api": "0.0014"})
    details = json.loads(row["AllocatedMethodDetails"])
    assert details["x_Weights"] == ASSUMED.name
    ratio = details["Elements"][0]["AllocatedRatio"]
    assert abs(ratio - 1_000 / 1_604) < 1e-6, "600 uncached prompt tokens and 100 written, beside 600 and 1"
    assert json.loads(row["AllocatedTags"]) == {"switchyard/version": "acme/triage@1.1"}
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2026-06-02T00:00:00Z", "2026-06-03T00:00:00Z")
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z")
    total = report_of(registry, ASKED).total
    tariffs = [dollars_to_nano(one["x_TariffCost"], "cost") for one in found if one["x_TariffCost"]]
    assert nano_to_dollars(sum(tariffs)) == nano_to_dollars(total.tariff_nano or 0)


@pytest.mark.parametrize("policy", ["unallocated", "by_share", "equal"])
def test_the_file_keeps_every_rule_of_focus_1_3(registry: Registry, policy: str) -> None:
    file = focus_of(registry, Asked("version", FIRST_MS, UNTIL_MS, baselines=("an-api",), idle=idle_of(policy)))
    assert broken(COLUMNS, rows(file), TAG_PREFIX) == []


@pytest.mark.parametrize("nano", [48 * NANO, 7, 0])
@pytest.mark.parametrize("idle", [Idle(), Idle("by_share"), Idle("equal"), idle_of("reserved", {"globex": "0.25"})])
def test_charges_of_every_kind_keep_every_rule_whatever_an_engine_costs(nano: int, idle: Idle) -> None:
    source = everything(nano, idle)
    found = rows(focus_csv(source))
    assert broken(COLUMNS, found, TAG_PREFIX) == []
    assert sum(dollars_to_nano(row["BilledCost"], "cost") for row in found) == source.allocation.bill.nano
    for row in found:
        ratio = json.loads(row["AllocatedMethodDetails"] or "{}").get("Elements", [{}])[0].get("AllocatedRatio")
        (charge,) = (one for one in charges(found) if row in one)
        whole = sum(float(one["BilledCost"]) for one in charge)
        assert ratio is None or not whole or abs(ratio - float(row["BilledCost"]) / whole) < 1e-9
    for tenant in ("acme", "globex"):  # a tenant's file stands for itself
        own = rows(focus_csv(source, tenant))
        assert own == [row for row in found if row["SubAccountId"] == tenant]
        assert broken(COLUMNS, own, TAG_PREFIX) == []


def test_loads_have_no_tokens_and_what_is_nobodys_has_no_sub_account() -> None:
    found = rows(focus_csv(everything(48 * NANO, Idle())))
    of = {kind: [row for row in found if row["x_Kind"] == kind] for kind in get_args(LineKind)}
    assert all(of.values()), "a row of each kind"
    assert [row["PricingQuantity"] for row in of["loads"]] == ["0.0"]
    assert sum(float(row["PricingQuantity"]) for row in of["tenant"]) == 3 * 1_100 - 400
    assert [(row["SubAccountId"], row["AllocatedResourceId"]) for row in of["system"]] == [("", "tiny")]
    assert [(row["SubAccountId"], row["AllocatedMethodId"]) for row in of["idle"]] == [("", "")] * 3
    assert [(row["SubAccountId"], row["AllocatedMethodId"]) for row in of["training"]] == [("globex", "")]


def test_a_day_that_just_began_has_a_period() -> None:
    found = rows(focus_csv(everything(48 * NANO, Idle(), FIRST_MS + 500)))
    assert broken(COLUMNS, found, TAG_PREFIX) == []
    assert {row["ChargePeriodEnd"] for row in found} == {"2026-06-01T00:00:01Z"}


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("BilledCost", "1,5", "BilledCost is '1,5', which is not of its form"),
        ("BilledCost", "1e-7", "BilledCost is '1e-7', which is not of its form"),
        ("ListCost", "7", "ListCost is not BilledCost, without a unit price"),
        ("ChargePeriodStart", "2026-06-02 00:00:00", "which is not of its form"),
        ("ChargePeriodEnd", "2026-07-02T00:00:00Z", "the charge's period is not within the month"),
        ("BillingCurrency", "dollars", "BillingCurrency is 'dollars', which is not of its form"),
        ("HostProviderName", "", "HostProviderName must not be empty"),
        ("HostProviderName", "Somebody", "HostProviderName is not ServiceProviderName"),
        ("InvoiceIssuerName", "Somebody", "BilledCost is not 0, though another one is paid"),
        ("ProviderName", "", "ProviderName must not be empty"),
        ("ChargeCategory", "Tax", "PricingQuantity must be empty"),
        ("SkuPriceId", "", "ConsumedQuantity must be empty"),
        ("PricingUnit", "", "PricingUnit must not be empty"),
        ("ResourceName", "a100-2", "ResourceName is ResourceId"),
        ("ResourceId", "", "ResourceType must be empty"),
        ("SubAccountName", "", "SubAccountName must not be empty"),
        ("ServiceSubcategory", "Adapters", "ServiceSubcategory is 'Adapters', which is not of its form"),
        ("SkuId", "another", "SkuPriceId engine-share-tenant-"),
        ("SkuPriceDetails", '{"CostVersion": ""}', "CostVersion is no property of a price"),
        ("Tags", '{"kind": "tenant"}', "the tag kind lacks switchyard/"),
        ("Tags", '{"switchyard/kind": []}', "which is not of its form"),
        ("AllocatedTags", '{"switchyard/kind": "tenant"}', "the tag switchyard/kind is in both columns of tags"),
        ("AllocatedMethodId", "", "AllocatedMethodDetails must be empty"),
        ("AllocatedResourceId", "", "AllocatedResourceName must be empty"),
        ("AllocatedResourceName", "null", "which is not of its form"),
        ("AllocatedMethodDetails", "{}", "AllocatedMethodDetails has no list of objects as Elements"),
        ("AllocatedMethodDetails", '{"Elements": [{"AllocatedRatio": 1}]}', "AllocatedRatio is no decimal"),
        ("AllocatedMethodDetails", '{"Elements": [{"AllocatedRatio": 0.4}]}', "the ratios do not come to 1"),
        ("AllocatedMethodDetails", '{"Elements": [{"AllocatedRatio": 0.5, "Of": 1}]}', "Of of Elements does not begin"),
        ("AllocatedMethodDetails", '{"Elements": [], "Elements": []}', "which is not of its form"),
        ("AllocatedMethodDetails", '{"Elements": [{"UsageQuantity": 1.5}]}', "UsageQuantity has no UsageUnit"),
        ("ChargeDescription", "the version 1.1", "ChargeDescription differs"),
    ],
)  # fmt: skip
def test_a_rule_that_is_broken_is_found(registry: Registry, column: str, value: str, said: str) -> None:
    found = rows(focus_of(registry, ASKED))
    row = next(one for one in found if (one["AllocatedResourceId"], one["x_Kind"]) == ("acme/triage@1.1", "tenant"))
    assert row[column] != value
    row[column] = value
    assert any(said in one for one in broken(COLUMNS, found, TAG_PREFIX)), broken(COLUMNS, found, TAG_PREFIX)


def test_columns_that_are_missing_or_are_not_ours_to_name_are_found() -> None:
    header = [name for name in COLUMNS if name != "ServiceProviderName"]
    assert broken(header, [], TAG_PREFIX) == ["ServiceProviderName is missing"]
    assert broken(["Kind", *COLUMNS], [], TAG_PREFIX) == [
        "Kind is no column of 1.3, and does not begin with x_",
        "columns of our own are among those of 1.3",
    ]


def test_own_columns_begin_with_x_and_a_tenants_rows_are_its_own(registry: Registry) -> None:
    own = [name for name in COLUMNS if name.startswith("x_")]
    assert all(re.fullmatch("x_([A-Z][a-z]+)+", name) for name in own)
    assert list(COLUMNS) == sorted(COLUMNS, key=lambda name: (name.startswith("x_"), name))
    found = rows(focus_of(registry, Asked("version", FIRST_MS, UNTIL_MS, tenant="acme", baselines=("an-api",))))
    assert {row["SubAccountId"] for row in found} == {"acme"}


def _validated(file: Path, version: str) -> tuple[set[str], str]:
    """Rules that the official validator finds broken, and what it says at the end."""
    command = [sys.executable, "-c", "from focus_validator.main import main; main()", "--data-file", str(file)]
    abilities = ABILITIES if version == "1.2" else ABILITIES + SPLITS
    options = ["--validate-version", version, "--block-download", "--applicability-criteria", abilities]
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

"""Engine costs as FOCUS 1.3 rows (FinOps Open Cost and Usage Specification, dataset Cost and Usage), as CSV.

A charge is what one tenant's requests, loads or training cost on one engine and UTC day, or what else the engine did;
the costs of all charges are the bill, exactly. Who runs the engines is host and provider here, a tenant is a sub
account. A charge is split among versions, a row each: rows of a charge have the same in each column of the
specification but costs, quantities and those that begin with `Allocated`, and their ratios add up to 1.

* `ResourceId` is the engine, `AllocatedResourceId` the version that a part of the charge fell to.
* `PricingUnit` is tokens. There is no list of unit prices for a share of an engine, so all four costs are that share.
* What the specification has no column for begins with `x_`: the tariff, marginal, busy and idle cost, and what
  baselines would have cost, which nobody was billed with.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from gateway.cost.allocation import TIMED, AllocatedLine, Allocation
from gateway.cost.assumptions import Assumptions
from gateway.cost.baselines import Baseline, Tokens, exact_nano
from gateway.cost.whole import largest_remainder
from registry.days import DAY_MS, as_datetime, month_of
from registry.ledger.usage_cells import UsageCell
from registry.money import nano_to_dollars
from registry.names import SYSTEM

PROVIDER = "Switchyard"
CURRENCY = "USD"
METHOD = "switchyard-work"
"""How a charge is split among versions; docs/cost.md says how."""
TAG_PREFIX = "switchyard/"
RATIO_DIGITS = 12
COLUMNS = (
    "AllocatedMethodDetails", "AllocatedMethodId", "AllocatedResourceId", "AllocatedResourceName", "AllocatedTags",
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd",
    "ChargePeriodStart", "CommitmentDiscountStatus", "ConsumedQuantity", "ConsumedUnit", "ContractedCost",
    "EffectiveCost", "HostProviderName", "InvoiceId", "InvoiceIssuerName", "ListCost", "PricingCategory",
    "PricingCurrency", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "ResourceId", "ResourceName",
    "ResourceType", "ServiceCategory", "ServiceName", "ServiceProviderName", "ServiceSubcategory", "SkuId", "SkuMeter",
    "SkuPriceDetails", "SkuPriceId", "SubAccountId", "SubAccountName", "SubAccountType", "Tags", "x_BaselineCosts",
    "x_BusyCost", "x_CachedTokens", "x_CompletionTokens", "x_CostVersion", "x_IdleCost", "x_IdlePolicy", "x_Kind",
    "x_MarginalCost", "x_PriceVersion", "x_PromptTokens", "x_Requests", "x_TariffCost",
)  # fmt: skip
"""Those of the specification that we have something to say in, and ours."""


@dataclass(frozen=True, slots=True)
class FocusSource:
    """What rows are made of: an allocation that is kept apart by version, and the cells of its window by version."""

    allocation: Allocation
    cells: Sequence[UsageCell]
    baselines: Sequence[Baseline]
    price_version: str
    assumed: Assumptions


def focus_csv(source: FocusSource, tenant: str | None = None) -> str:
    """The rows with a heading, of one tenant or of all."""
    text = io.StringIO()
    rows = list(_rows(source, tenant))
    writer = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _rows(source: FocusSource, tenant: str | None) -> Iterator[Mapping[str, str]]:
    used: dict[tuple[int, str, str, bool, tuple[str | int, ...]], list[UsageCell]] = {}
    for cell in source.cells:
        used.setdefault((cell.day, cell.engine, cell.tenant, cell.shadow, cell.key), []).append(cell)
    found: list[tuple[AllocatedLine, list[UsageCell]]] = []
    for line in source.allocation.lines:
        place = (line.day, line.engine_id, line.tenant, line.kind == "shadow", line.key)
        # A load and a job have no tokens; those of their version's requests are on its own line.
        cells = used.get(place, []) if line.kind not in TIMED else []
        if tenant in (None, line.tenant) and (line.loaded_nano or line.marginal_nano or cells):
            found.append((line, cells))
    for _, of in groupby(found, key=lambda one: one[0][:4]):  # lines of a charge follow each other
        charge = list(of)
        for (line, cells), split in zip(charge, _split(source.allocation, [one for one, _ in charge]), strict=True):
            yield {**_row(source, line, cells), **split}


def _split(allocation: Allocation, lines: Sequence[AllocatedLine]) -> list[dict[str, str]]:
    """Of a charge's lines, the version that each fell to and which part of the charge it is. What fell to no version
    has none beside others that did; a charge of which nothing did was not split.
    """
    versions = [_version(line) for line in lines]
    if not any(versions):
        return [{} for _ in lines]
    weights = None if lines[0].kind in TIMED else allocation.weights.get((lines[0].day, lines[0].engine_id))
    named = "" if weights is None else f', "x_Weights": {json.dumps(weights.name, ensure_ascii=False)}'
    parts = largest_remainder(10**RATIO_DIGITS, [line.loaded_nano for line in lines])
    return [
        {
            "AllocatedMethodId": METHOD,
            # Written out: a float of less than 0.0001 would have an exponent.
            "AllocatedMethodDetails": f'{{"Elements": [{{"AllocatedRatio": {_ratio(part)}}}]{named}}}',
            "AllocatedResourceId": version,
            "AllocatedResourceName": version,
            "AllocatedTags": json.dumps({f"{TAG_PREFIX}version": version}, ensure_ascii=False) if version else "",
        }
        for version, part in zip(versions, parts, strict=True)
    ]


def _ratio(part: int) -> str:
    return f"{Decimal(part).scaleb(-RATIO_DIGITS):f}"


def _version(line: AllocatedLine) -> str:
    return str(line.key[0]) if line.key else ""


def _row(source: FocusSource, line: AllocatedLine, cells: Sequence[UsageCell]) -> dict[str, str]:
    tokens = sum((_tokens(cell) for cell in cells), Tokens())
    quantity = f"{tokens.prompt + tokens.completion}.0"  # validators tell decimals by their point
    cost = nano_to_dollars(line.loaded_nano)
    sub_account = "" if line.tenant == SYSTEM else line.tenant
    return {
        **_times(source.allocation, line.day),
        "BilledCost": cost,
        "EffectiveCost": cost,
        "ContractedCost": cost,
        "ListCost": cost,
        "BillingCurrency": CURRENCY,
        "BillingAccountId": PROVIDER.lower(),
        "BillingAccountName": PROVIDER,
        "BillingAccountType": "Installation",
        "SubAccountId": sub_account,
        "SubAccountName": sub_account,
        "SubAccountType": "Tenant" if sub_account else "",
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeDescription": f"Share of engine {line.engine_id}: {line.kind}"
        + (f" of {sub_account}" if sub_account else ""),
        "ChargeFrequency": "Usage-Based",
        "CommitmentDiscountStatus": "",  # rules about what was consumed refer to it
        "ConsumedQuantity": quantity,
        "ConsumedUnit": "Tokens",
        "PricingQuantity": quantity,
        "PricingUnit": "Tokens",
        "PricingCategory": "Other",  # a share of what was paid, at no rate that was agreed upon
        "PricingCurrency": CURRENCY,
        "InvoiceId": "",
        "InvoiceIssuerName": PROVIDER,
        "ProviderName": PROVIDER,
        "PublisherName": PROVIDER,
        "ServiceProviderName": PROVIDER,
        "HostProviderName": PROVIDER,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "ServiceName": "Adapter serving",
        "ResourceId": line.engine_id,
        "ResourceName": "",  # engines have no other name than their id, which must not stand here
        "ResourceType": "Engine",
        "SkuId": f"engine-share-{line.kind}",
        "SkuMeter": f"{line.kind} share of an engine",
        "SkuPriceId": f"engine-share-{line.kind}-{source.allocation.cost_version}",
        "SkuPriceDetails": json.dumps({"x_CostVersion": source.allocation.cost_version}),
        "Tags": json.dumps({f"{TAG_PREFIX}kind": line.kind}),
        **_extras(source, line, cells, tokens),
    }


def _times(allocation: Allocation, day: int) -> dict[str, str]:
    month_begins_ms, month_ends_ms = month_of(day * DAY_MS)
    begins_ms = max(day * DAY_MS, allocation.bill.since_ms)
    ends_ms = min((day + 1) * DAY_MS, allocation.bill.until_ms)
    return {
        "BillingPeriodStart": _instant(month_begins_ms),
        "BillingPeriodEnd": _instant(month_ends_ms),
        "ChargePeriodStart": _instant(begins_ms),
        "ChargePeriodEnd": _instant(-(-ends_ms // 1_000) * 1_000),  # exclusive: what began in its last second is in it
    }


def _extras(source: FocusSource, line: AllocatedLine, cells: Sequence[UsageCell], tokens: Tokens) -> dict[str, str]:
    paid = line.kind == "tenant" and cells
    costs = {one.name: _baseline_nano(one, cells, source.assumed) for one in source.baselines} if paid else {}
    tariff = sum(cell.tariff_nano for cell in cells)
    priced = any(cell.requests > cell.unpriced for cell in cells)
    return {
        "x_Kind": line.kind,
        "x_Requests": str(sum(cell.requests for cell in cells)),
        "x_PromptTokens": str(tokens.prompt),
        "x_CachedTokens": str(tokens.cached),
        "x_CompletionTokens": str(tokens.completion),
        "x_TariffCost": nano_to_dollars(tariff) if paid and priced else "",
        "x_MarginalCost": "" if line.marginal_nano is None else nano_to_dollars(line.marginal_nano),
        "x_BusyCost": nano_to_dollars(line.busy_nano),
        "x_IdleCost": nano_to_dollars(line.idle_nano),
        "x_IdlePolicy": source.allocation.idle.policy,
        "x_BaselineCosts": json.dumps(
            {name: nano_to_dollars(nano) for name, nano in costs.items() if nano is not None}
        ),
        "x_PriceVersion": source.price_version,
        "x_CostVersion": source.allocation.cost_version,
    }


def _baseline_nano(baseline: Baseline, cells: Iterable[UsageCell], assumed: Assumptions) -> int | None:
    """Rounded in each row: the rows of a baseline may differ from a report's total by a nano-dollar each."""
    exact = [
        exact_nano(_tokens(cell), period, baseline.ratio_of(cell.tenant), assumed)
        for cell in cells
        if (period := baseline.period_at(cell.at_ms)) is not None
    ]
    return round(sum(exact)) if exact else None


def _tokens(cell: UsageCell) -> Tokens:
    return Tokens(cell.prompt_tokens, cell.cached_tokens, cell.completion_tokens)


def _instant(ms: int) -> str:
    return as_datetime(ms).strftime("%Y-%m-%dT%H:%M:%SZ")

"""What FOCUS 1.3 demands of the dataset Cost and Usage, as far as a file can show it: what its requirements model says
with MUST, in a form of our own.

Left out are columns of which we have nothing, and do not write: commitment discounts but for their status, capacity
reservations, regions, contracts, unit prices. So are invoices, which nobody issues here, and what one file alone cannot
show: that an id is nobody else's, that a name stays the same, that a price is on a list. An empty field is null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

Row = Mapping[str, str]
When = Callable[[Row], bool]
Form = Callable[[str], bool]


def text(value: str) -> bool:
    """No stand-in for null, and nothing around it."""
    return value == value.strip() and value.lower() not in ("null", "none", "n/a", "not applicable")


def decimal(value: str) -> bool:
    """A sign only if it is negative, no commas, no unit; an exponent after a large E."""
    return re.fullmatch(r"-?\d+(\.\d+)?(E-?\d+)?", value) is not None


def instant(value: str) -> bool:
    """In UTC, to the second."""
    return bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value)) and bool(datetime.fromisoformat(value))


def currency(value: str) -> bool:
    """Three letters."""
    return re.fullmatch("[A-Z]{3}", value) is not None


def json_object(value: str) -> bool:
    """Keys are there once; elements of a list are of one type, none twice and none null."""
    try:
        return _sound(_parsed(value)) and value.startswith("{")
    except ValueError:
        return False


def key_values(value: str) -> bool:
    """An object with neither objects nor lists in it."""
    return json_object(value) and not any(isinstance(one, dict | list) for one in _parsed(value).values())


def one_of(*values: str) -> Form:
    """One of the values that the specification allows."""
    return values.__contains__


def _parsed(value: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError(f"a key is there twice: {value}")
        return dict(pairs)

    return json.loads(value, object_pairs_hook=once, parse_float=Decimal) if value else {}


def _sound(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_sound(one) for one in value.values())
    if isinstance(value, list):
        alike = len({type(one) for one in value}) <= 1 and None not in value
        return alike and len({repr(one) for one in value}) == len(value) and all(_sound(one) for one in value)
    return True


def always(_: Row) -> bool:
    """Whatever else is in the row."""
    return True


def never(_: Row) -> bool:
    """Of what may be empty, or filled, as one likes."""
    return False


def no(column: str) -> When:
    """Where that column is empty, or is not there."""
    return lambda row: not row.get(column)


def has(column: str) -> When:
    """Where that column is filled."""
    return lambda row: bool(row.get(column))


def _is(column: str, *values: str) -> When:
    return lambda row: row.get(column) in values


def _any(*whens: When) -> When:
    return lambda row: any(when(row) for when in whens)


def _both(*whens: When) -> When:
    return lambda row: all(when(row) for when in whens)


def _not(when: When) -> When:
    return lambda row: not when(row)


USAGE, TAX = _is("ChargeCategory", "Usage"), _is("ChargeCategory", "Tax")
REGULAR = _not(_is("ChargeClass", "Correction"))
SOLD = _both(_is("ChargeCategory", "Usage", "Purchase"), REGULAR)
UNUSED = _is("CommitmentDiscountStatus", "Unused")


class Column(NamedTuple):
    """One that we write. `demanded`: the file must have it, of everybody or of who offers what we do."""

    name: str
    form: Form
    demanded: bool
    empty: When
    """Where it must be."""
    filled: When
    """Where it must be."""


AI = ("AI Platforms", "Bots", "Generative AI", "Machine Learning", "Natural Language Processing")
COLUMNS = (
    Column("AllocatedMethodDetails", json_object, False, no("AllocatedMethodId"), never),
    Column("AllocatedMethodId", text, True, never, has("AllocatedResourceId")),
    Column("AllocatedResourceId", text, True, no("AllocatedMethodId"), never),
    Column("AllocatedResourceName", text, True, no("AllocatedResourceId"), has("AllocatedResourceId")),
    Column("AllocatedTags", key_values, True, no("AllocatedMethodId"), never),
    Column("BilledCost", decimal, True, never, always),
    Column("BillingAccountId", text, True, never, always),
    Column("BillingAccountName", text, True, never, always),
    Column("BillingAccountType", text, False, no("BillingAccountId"), has("BillingAccountId")),
    Column("BillingCurrency", currency, True, never, always),
    Column("BillingPeriodEnd", instant, True, never, always),
    Column("BillingPeriodStart", instant, True, never, always),
    Column("ChargeCategory", one_of("Usage", "Purchase", "Tax", "Credit", "Adjustment"), True, never, always),
    Column("ChargeClass", one_of("Correction"), True, never, never),
    Column("ChargeDescription", text, True, never, never),
    Column("ChargeFrequency", one_of("One-Time", "Recurring", "Usage-Based"), False, never, always),
    Column("ChargePeriodEnd", instant, True, never, always),
    Column("ChargePeriodStart", instant, True, never, always),
    Column("CommitmentDiscountStatus", one_of("Used", "Unused"), False, no("CommitmentDiscountId"), never),
    Column("ConsumedQuantity", decimal, True, _any(_not(USAGE), UNUSED, no("SkuPriceId")),
           _both(USAGE, REGULAR, _not(UNUSED))),
    Column("ConsumedUnit", text, True, no("ConsumedQuantity"), has("ConsumedQuantity")),
    Column("ContractedCost", decimal, True, never, always),
    Column("EffectiveCost", decimal, True, never, always),
    Column("HostProviderName", text, True, never, USAGE),
    Column("InvoiceId", text, False, never, never),
    Column("InvoiceIssuerName", text, True, never, always),
    Column("ListCost", decimal, True, never, always),
    Column("PricingCategory", one_of("Standard", "Dynamic", "Committed", "Other"), False, TAX, SOLD),
    Column("PricingCurrency", currency, False, never, always),
    Column("PricingQuantity", decimal, True, _any(TAX, no("SkuPriceId")), SOLD),
    Column("PricingUnit", text, True, no("PricingQuantity"), has("PricingQuantity")),
    Column("ProviderName", text, True, never, always),  # this one and the next are deprecated, and demanded still
    Column("PublisherName", text, True, never, always),
    Column("ResourceId", text, True, never, never),
    Column("ResourceName", text, True, no("ResourceId"), never),
    Column("ResourceType", text, True, no("ResourceId"), has("ResourceId")),
    Column("ServiceCategory", one_of("AI and Machine Learning"), True, never, always),  # of 19, the one that is ours
    Column("ServiceName", text, True, never, always),
    Column("ServiceProviderName", text, True, never, always),
    Column("ServiceSubcategory", one_of(*AI, "Other (AI and Machine Learning)"), False, never, always),
    Column("SkuId", text, False, TAX, SOLD),
    Column("SkuMeter", text, False, no("SkuId"), never),
    Column("SkuPriceDetails", key_values, False, no("SkuPriceId"), never),
    Column("SkuPriceId", text, False, TAX, SOLD),
    Column("SubAccountId", text, True, never, never),
    Column("SubAccountName", text, True, no("SubAccountId"), has("SubAccountId")),
    Column("SubAccountType", text, False, no("SubAccountId"), has("SubAccountId")),
    Column("Tags", key_values, True, never, never),
)  # fmt: skip
SUMMED = {"BilledCost", "ConsumedQuantity", "ContractedCost", "EffectiveCost", "ListCost", "PricingQuantity"}
"""Columns that may differ in rows of a charge that was split, beside those of the split."""


def broken(header: Sequence[str], rows: Sequence[Row], prefix: str) -> list[str]:
    """What a file breaks, a line each; `prefix`: of keys of our own tags."""
    of_rows = [f"row {at}: {said}" for at, row in enumerate(rows, 1) for said in _row(row, prefix)]
    return [*_header(header), *of_rows, *_parents(rows), *_splits(rows)]


def _header(header: Sequence[str]) -> Iterator[str]:
    known = {column.name: column for column in COLUMNS}
    yield from (f"{name} is missing" for name, column in known.items() if column.demanded and name not in header)
    own = [name for name in header if name not in known]
    yield from (f"{name} is no column of 1.3, and does not begin with x_" for name in own if not name.startswith("x_"))
    if list(header)[len(header) - len(own) :] != own:
        yield "columns of our own are among those of 1.3"


def _row(row: Row, prefix: str) -> Iterator[str]:
    for column in COLUMNS:
        value = row.get(column.name, "")
        if value and column.empty(row):
            yield f"{column.name} must be empty"
        if not value and column.filled(row):
            yield f"{column.name} must not be empty"
        if value and not column.form(value):
            yield f"{column.name} is {value!r}, which is not of its form"
    yield from (said for said, holds in BETWEEN if not holds(row))
    objects = ("AllocatedMethodDetails", "AllocatedTags", "SkuPriceDetails", "Tags")
    if not all(json_object(row[name] or "{}") for name in objects):
        return  # told of above
    tags, split_tags = _parsed(row["Tags"]), _parsed(row["AllocatedTags"])
    yield from (f"the tag {key} lacks {prefix}" for key in (*tags, *split_tags) if not key.startswith(prefix))
    yield from (f"the tag {key} is in both columns of tags" for key in tags.keys() & split_tags.keys())
    yield from (f"{key} is no property of a price" for key in _parsed(row["SkuPriceDetails"]) if key[:2] != "x_")
    if row["AllocatedMethodDetails"]:
        yield from _details(_parsed(row["AllocatedMethodDetails"]))


BETWEEN: tuple[tuple[str, When], ...] = (
    ("HostProviderName is not ServiceProviderName, and no other host is told of",
     lambda row: row["HostProviderName"] == row["ServiceProviderName"]),
    ("BilledCost is not 0, though another one is paid",
     lambda row: row["InvoiceIssuerName"] == row["ServiceProviderName"] or Decimal(row["BilledCost"]) == 0),
    ("ListCost is not BilledCost, without a unit price",
     lambda row: bool(row.get("ListUnitPrice")) or row["ListCost"] == row["BilledCost"]),
    ("ContractedCost is not BilledCost, without a unit price",
     lambda row: bool(row.get("ContractedUnitPrice")) or row["ContractedCost"] == row["BilledCost"]),
    ("ChargeFrequency of a purchase is Usage-Based",
     _not(_both(_is("ChargeCategory", "Purchase"), _is("ChargeFrequency", "Usage-Based")))),
    ("ResourceName is ResourceId", lambda row: not row["ResourceId"] or row["ResourceName"] != row["ResourceId"]),
    ("the charge's period is not within the month",
     lambda row: row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["ChargePeriodEnd"]
     <= row["BillingPeriodEnd"]),
)  # fmt: skip
"""Between columns of a row."""


def _details(details: Mapping[str, Any]) -> Iterator[str]:
    elements = details.get("Elements")
    if not isinstance(elements, list) or not all(isinstance(one, dict) for one in elements):
        yield "AllocatedMethodDetails has no list of objects as Elements"
        return
    for one in elements:
        if not isinstance(one.get("AllocatedRatio"), Decimal):
            yield "AllocatedRatio is no decimal"
        if "UsageQuantity" in one and "UsageUnit" not in one:
            yield "UsageQuantity has no UsageUnit"
        own = one.keys() - {"AllocatedRatio", "UsageQuantity", "UsageUnit"}
        yield from (f"{key} of Elements does not begin with x_" for key in own if not key.startswith("x_"))
        yield from (f"{key} of Elements is no plain value" for key in one if isinstance(one[key], dict | list))


def _parents(rows: Sequence[Row]) -> Iterator[str]:
    """What belongs to one of the other."""
    for child, parent in (
        ("SkuPriceId", "SkuId"),
        ("SkuPriceId", "SkuPriceDetails"),
        ("ServiceName", "ServiceCategory"),
        ("ServiceSubcategory", "ServiceCategory"),
    ):
        found: dict[str, set[str]] = {}
        for row in rows:
            found.setdefault(row[child], set()).add(row[parent])
        yield from (f"{child} {name} has {len(of)} of {parent}" for name, of in found.items() if name and len(of) > 1)


def charges(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of what was split, together: by engine, time, sub account and what it was for."""

    def of(row: Row) -> tuple[str, ...]:
        return row["ResourceId"], row["ChargePeriodStart"], row["SubAccountId"], row["SkuId"]

    return [list(found) for _, found in groupby(sorted(rows, key=of), key=of)]


def _splits(rows: Sequence[Row]) -> Iterator[str]:
    alike = [one.name for one in COLUMNS if one.name not in SUMMED and not one.name.startswith("Allocated")]
    for charge in charges(rows):
        what = f"{charge[0]['ResourceId']} {charge[0]['ChargePeriodStart']}, {charge[0]['ChargeDescription']}"
        if not any(row["AllocatedMethodId"] for row in charge):
            if len(charge) > 1:
                yield f"{what}: {len(charge)} rows of a charge that was not split"
            continue
        yield from (f"{what}: {name} differs" for name in alike if len({row[name] for row in charge}) > 1)
        ids = [row["AllocatedResourceId"] for row in charge]
        if len(set(ids)) < len(ids):
            yield f"{what}: two rows of the same part"
        ratios = [_ratio(row) for row in charge]
        if None not in ratios and sum(one or 0 for one in ratios) != 1:
            yield f"{what}: the ratios do not come to 1"


def _ratio(row: Row) -> Decimal | None:
    """`None`: not told, or not in its form."""
    if not json_object(row["AllocatedMethodDetails"]):
        return None
    elements = _parsed(row["AllocatedMethodDetails"]).get("Elements")
    if not isinstance(elements, list):
        return None
    ratios = [one.get("AllocatedRatio") for one in elements if isinstance(one, dict)]
    found = [one for one in ratios if isinstance(one, Decimal)]
    return sum(found, Decimal(0)) if len(found) == len(elements) else None

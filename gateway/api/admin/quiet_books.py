"""Why an adapter takes no traffic, as far as the books know: budgets, prices, refusals, and whether anybody asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from registry.catalog.snapshot import Catalog
from registry.days import day_number, when
from registry.db import now_ms
from registry.ledger.adapter_traffic import adapter_traffic
from registry.limits.budget_report import report_budgets
from registry.limits.store import FIELDS, SPOKEN
from registry.names import AdapterRef
from registry.prices.unpriced import unpriced_models
from registry.service import Registry

DAYS = 7
"""Refusals and requests are of so many UTC days, today's too."""
LIMITS = frozenset(SPOKEN.get(field, field) for field in FIELDS)
"""Reasons of refusals that are limits; all others are codes of errors."""


class Reason(NamedTuple):
    """As `one_adapter.ReasonDocument`."""

    severity: Literal["bad", "warn", "info"]
    sentence: str
    remedy: str


def reasons_in_books(registry: Registry, ref: AdapterRef, catalog: Catalog) -> Iterator[Reason]:
    """By sums by day alone: no attempt is read."""
    scopes = (f"tenant:{ref.tenant}", f"adapter:{ref.adapter_name}")
    for line in report_budgets(registry.limits, registry.spending, registry.refusals):
        if line.scope in scopes and line.spent >= line.budget:
            spent = f"{line.formatted(line.spent)} of {line.formatted(line.budget)} {line.unit}"
            yield Reason(
                "bad",
                f"The {line.window} budget of {line.scope} is used up: {spent}.",
                f"switchyard limits budgets; it begins anew at {when(line.ends_at_ms)}.",
            )
    yield from _of_price(ref, catalog, scopes)
    traffic = adapter_traffic(registry.db, ref.tenant, ref.adapter, day_number(now_ms()) - DAYS + 1)
    yield from _of_refusals(traffic.refused)
    if not traffic.attempts:
        yield Reason(
            "info",
            f"Nobody has asked it in the last {DAYS} days.",
            f"Send its name as `model`, or map the one that clients send: switchyard tenants map {ref.tenant} NAME "
            f"{ref.adapter}",
        )


def _of_refusals(refused: Mapping[str, int]) -> Iterator[Reason]:
    """Those by limits, and those for what they were, which no limit would mend."""
    for by_limit, remedy in (
        (True, "switchyard limits list has the limits."),
        (
            False,
            "Each answer said why; their lines in the gateway's log have the code as `error`, and the key.",
        ),
    ):
        counts = {reason: count for reason, count in sorted(refused.items()) if (reason in LIMITS) is by_limit}
        if counts:
            reasons = ", ".join(f"{count} by {reason}" for reason, count in counts.items())
            yield Reason("warn", f"Requests were refused in the last {DAYS} days: {reasons}.", remedy)


def _of_price(ref: AdapterRef, catalog: Catalog, scopes: tuple[str, ...]) -> Iterator[Reason]:
    limits = ((scope, catalog.limits.get(scope)) for scope in scopes)
    budgets = [
        scope
        for scope, limit in limits
        if limit is not None and (limit.daily_nano is not None or limit.monthly_nano is not None)
    ]
    if budgets and ref.adapter_name in unpriced_models(catalog, f"adapter:{ref.adapter_name}"):
        yield Reason(
            "bad",
            f"{budgets[0]} has a budget in dollars and {ref.adapter_name} has no price, so that requests are refused.",
            f"switchyard tariff add adapter:{ref.adapter_name}",
        )

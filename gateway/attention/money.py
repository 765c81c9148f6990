"""Budgets near their end, usage that nobody pays for or knows, and APIs that end."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.attention.item import Item, Known
from gateway.cost.list_prices import compared_with
from registry.days import day_number
from registry.ledger.open_usage import open_usage
from registry.limits.budget_report import report_budgets
from registry.limits.scopes import KEY
from registry.prices.unpriced import has_price
from registry.words import many

NEAR_PERCENT = 90
USED_UP_PERCENT = 100
DAYS = 7
"""Unpriced and unsettled usage is told of so many days, today's too."""


def budget_items(known: Known) -> Iterator[Item]:
    """Budgets of which nine tenths are spent."""
    registry = known.registry
    for line in report_budgets(registry.limits, registry.spending, registry.refusals):
        if line.percent is not None and line.percent >= NEAR_PERCENT:
            tenant = _tenant_of(line.scope, known)
            gone = line.percent >= USED_UP_PERCENT
            refused = f", and requests were refused: {line.refused}" if line.refused else ""
            yield Item(
                "budget_used_up" if gone else "budget_near",
                "act" if gone else "watch",
                f"{line.scope} {line.window} {line.unit}",
                f"{line.percent} % of the {line.window} budget of {line.scope} is spent "
                f"({line.formatted(line.spent)} of {line.formatted(line.budget)} {line.unit}){refused}",
                "raise the budget, or let it end: it begins anew with its window",
                "switchyard limits budgets",
                f"/tenants/{tenant}" if tenant else "/tenants",
                tenant=tenant,
            )


def usage_items(known: Known) -> Iterator[Item]:
    """Attempts of the last days that somebody would pay for and that had no price, or of which nobody knows the
    tokens. Where nothing has a price yet, that is one thing to decide, and no tenant's; what has one by now is none.
    """
    first = day_number(known.at_ms) - DAYS + 1
    found = open_usage(known.registry.db, first)
    unpriced = sum(line.unpriced for line in found)
    if unpriced and not known.catalog.tariffs:
        yield Item(
            "usage_unpriced",
            "watch",
            "tariff",
            f"nothing has a price: {many(unpriced, 'attempt')} of the last {DAYS} days are charged to nobody",
            "give bases or tenants a price, or leave it where nobody is charged; what was served stays without one",
            _priced("base:NAME"),
            "/cost",
        )
    for line in found:
        decides = known.catalog.tariffs and not has_price(known.catalog, line.tenant, line.model)
        if line.unpriced and decides:
            yield Item(
                "usage_unpriced",
                "act",
                f"{line.tenant} {line.model}",
                f"{many(line.unpriced, 'attempt')} of {line.tenant} on {line.model} in the last {DAYS} days had no "
                "price; nobody is charged for that",
                "give it a price; what was served before stays without one",
                _priced(f"tenant:{line.tenant}"),
                "/cost",
                tenant=line.tenant,
            )
        if line.unmetered:
            yield Item(
                "usage_unsettled",
                "watch",
                f"{line.tenant} {line.model}",
                f"{many(line.unmetered, 'attempt')} of {line.tenant} on {line.model} in the last {DAYS} days ended "
                "without a count of tokens",
                "look which processes or engines died; correct what the engine's own log knows",
                "switchyard ledger reconcile",
                "/cost",
                tenant=line.tenant,
            )


def _priced(scope: str) -> str:
    """The command that gives it a price, as it is to be typed."""
    return f"switchyard tariff add {scope} --input DOLLARS --output DOLLARS --source WHERE"


def retirement_items(known: Known) -> Iterator[Item]:
    """Models that vendors switch off soon, of those that tenants have names of or that figures are compared with."""
    followed = compared_with(known.registry.baselines)
    for one in known.registry.radar.within(known.retirement_days):
        if one.days_left >= 0 and (one.kind == "name" or one.name in followed):
            whose = f"{one.tenant}'s name {one.name}" if one.kind == "name" else f"baseline {one.name}"
            yield Item(
                "model_retiring",
                "watch",
                f"{one.tenant}/{one.name}" if one.tenant else one.name,
                f"the model behind {whose} is switched off in {one.days_left} days",
                one.exit,
                "switchyard cost radar",
                "/cost",
                tenant=one.tenant,
            )


def _tenant_of(scope: str, known: Known) -> str | None:
    kind, _, name = scope.partition(":")
    if kind == KEY:
        return next((key.tenant for key in known.catalog.keys.values() if key.key_id == name), None)
    return name.partition("/")[0]

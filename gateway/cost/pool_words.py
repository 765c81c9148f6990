"""Break-even of shared engines as sentences, and as the document that scripts read."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from gateway.cost.pooling import PoolFound
from gateway.cost.scenario_words import dollars
from gateway.cost.sharing import NOBODY, TenantBreakEven
from registry.money import nano_to_dollars


def sentences(found: PoolFound) -> Iterator[str]:
    """What to know first, then what else there is."""
    pool, one = found.pool, _asked(found)
    costs = f"the engines cost {dollars(pool.bill_nano)} a month"
    if one is None:
        pays = f"{found.baseline} would cost {dollars(pool.baseline_nano)} for the same {pool.requests:,} requests"
        verdict = "Self-hosting pays" if pool.saved_nano > 0 else "Self-hosting does not pay yet"
        need = "" if pool.requests_needed is None else f"; it pays from {pool.requests_needed:,} requests a month on"
        yield f"{verdict}: {costs}, {pays}{need}."
    else:
        yield _tenants(one, found, costs)
        yield (
            f"Its share of the engines is {dollars(one.loaded_nano)} a month by the idle policy {found.idle.policy}, "
            + f"{dollars(one.shapley_nano)} as a fair share (Shapley)."
        )
        yield from _left(found)


def _tenants(one: TenantBreakEven, found: PoolFound, costs: str) -> str:
    pool = found.pool
    there = f"would cost {dollars(one.baseline_nano)} on {found.baseline}"
    said = f"{one.tenant}'s {one.requests:,} requests a month {there}; {costs}"
    if one.more_like_it is None or one.alone is None or one.shared is None:
        return f"{said}: it has no price there, so nothing can be said."
    alone = f"alone it would need {one.alone:,}"
    if pool.saved_nano > 0:
        return f"{said}, which pays with all tenants there are ({dollars(pool.saved_nano)} less than the API); {alone}."
    more = _count(one.more_like_it)
    need = f"{more} more tenants like {one.tenant}, or {one.shared:,} requests of it"
    return f"{said}. Self-hosting pays with {need}; {alone}."


def _left(found: PoolFound) -> Iterator[str]:
    left = found.left
    if left is None:
        return
    more = {tenant: nano for tenant, nano in left.more.items() if tenant != NOBODY and nano}
    said = ", ".join(f"{tenant} {dollars(nano)}" for tenant, nano in sorted(more.items(), key=lambda one: -one[1]))
    if left.more[NOBODY]:
        said += (", and " if said else "") + f"nobody {dollars(left.more[NOBODY])}, which stays with you"
    yield f"If {left.tenant} leaves, the bill stays, and more a month is paid by: {said or 'nobody'}."


def _count(number: Fraction) -> str:
    return f"{float(number):,.1f}"


def _asked(found: PoolFound) -> TenantBreakEven | None:
    return next((one for one in found.pool.tenants if one.tenant == found.tenant), None)


def notes(found: PoolFound) -> Iterator[str]:
    """What the figures rest on."""
    given = (
        "the bill is the one that you gave" if found.bill_is_given else "the bill is what engines cost in these days"
    )
    yield f"from {found.days} whole days, as a month of 730 hours; {given}; tokens: {found.tokens}"
    if found.by_tokens:
        yield "no engine has a cost, so its working time is not known: all of the bill is divided by tokens"
    if found.pool.platform_nano:
        yield f"{dollars(found.pool.platform_nano)} of the bill is for copies and probes, which no tenant pays"
    if found.pool.orders is not None:
        yield f"fair shares are the mean over {found.pool.orders:,} orders of the tenants, drawn from all there are"
    if found.unlisted:
        yield f"{found.unlisted:,} requests had no list price then, and are in no figure"
    if found.uncosted_hours:
        yield f"engines were there for {float(found.uncosted_hours):,.1f} hours without a cost: the bill is too low"


def document(found: PoolFound) -> dict[str, Any]:
    """Dollars a month are decimal numbers in text; `null` is never, or not known."""
    pool, left = found.pool, found.left
    return {
        "baseline": found.baseline,
        "days": found.days,
        "idle_policy": found.idle.policy,
        "price_version": found.price_version,
        "bill_dollars": nano_to_dollars(pool.bill_nano),
        "platform_dollars": nano_to_dollars(pool.platform_nano),
        "baseline_dollars": nano_to_dollars(pool.baseline_nano),
        "savings_dollars": nano_to_dollars(pool.saved_nano),
        "shapley_orders": pool.orders,
        "requests": pool.requests,
        "break_even_requests": pool.requests_needed,
        "unlisted": found.unlisted,
        "tenants": [_tenant(one) for one in pool.tenants],
        "if_it_leaves": None
        if left is None
        else {
            "tenant": left.tenant,
            "savings_dollars": nano_to_dollars(left.saved_nano),
            "more_dollars": {name: nano_to_dollars(nano) for name, nano in left.more.items() if name != NOBODY},
            "nobody_dollars": nano_to_dollars(left.more[NOBODY]),
        },
        "sentences": [*sentences(found), *notes(found)],
    }


def _tenant(one: TenantBreakEven) -> dict[str, Any]:
    return {
        "tenant": one.tenant,
        "requests": one.requests,
        "baseline_dollars": nano_to_dollars(one.baseline_nano),
        "loaded_dollars": nano_to_dollars(one.loaded_nano),
        "savings_dollars": nano_to_dollars(one.saved_nano),
        "shapley_dollars": nano_to_dollars(one.shapley_nano),
        "break_even_requests_alone": one.alone,
        "break_even_requests_shared": one.shared,
        "more_tenants_like_it": None if one.more_like_it is None else round(float(one.more_like_it), 2),
    }

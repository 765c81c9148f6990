"""What is known of a baseline as one document: for the command line and the admin API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from registry.days import DAY_MS, date_of, day_number
from registry.money import nano_to_dollars
from registry.prices.baseline_infos import RETIRED, BaselineInfo, Claim, ComponentPrice, Fact, PricePeriod


def document(info: BaselineInfo, periods: Iterable[PricePeriod], stale: bool) -> dict[str, Any]:
    """Dollars are decimals in text, per million tokens; a day is `YYYY-MM-DD` (UTC)."""
    return {
        "name": info.name,
        "status": info.state,
        "ends_on": day(info.ends_at_ms),
        "substitute": info.substitute,
        "tokenizer": info.tokenizer,
        "provider": info.provider,
        "checked_on": day(info.checked_at_ms),
        "stale": stale,
        "claim": None if info.claim is None else _claim(info.claim),
        "facts": {field: _fact(fact) for field, fact in sorted(info.facts.items())},
        "prices": [_price(price, until_ms) for price, until_ms in by_component(periods)],
    }


def is_stale(info: BaselineInfo, now_ms: int, stale_days: int) -> bool:
    """Whether nobody has looked its prices up for so long; what is shut down has none to look up."""
    if info.state == RETIRED:
        return False
    return info.checked_at_ms is None or now_ms - info.checked_at_ms > stale_days * DAY_MS


def by_component(periods: Iterable[PricePeriod]) -> list[tuple[ComponentPrice, int | None]]:
    """Each price and where it ends, by component, oldest first; `None`: until further notice."""
    found: dict[int, tuple[ComponentPrice, int | None]] = {}
    for period in periods:
        for price in period.components.values():
            found[price.seq] = (price, period.until_ms)
    return sorted(found.values(), key=lambda one: (one[0].component, one[0].effective_from_ms))


def day(at_ms: int | None) -> str | None:
    """Its UTC day; `None` for none, and for the beginning of time, as which a price without a first day is kept."""
    return None if not at_ms else date_of(day_number(at_ms))


def _price(price: ComponentPrice, until_ms: int | None) -> dict[str, Any]:
    return {
        "component": price.component,
        "dollars": nano_to_dollars(price.nano_per_mtok),
        "effective_from": day(price.effective_from_ms),
        "until": day(until_ms),
        "source": price.source,
        "retrieved_on": day(price.retrieved_at_ms),
        "note": price.note,
        "origin": price.origin,
        "correction": price.correction,
        "stated_from": day(price.stated_from_ms),
        "seq": price.seq,
    }


def _fact(fact: Fact) -> dict[str, Any]:
    return {
        "text": fact.text,
        "source": fact.source,
        "retrieved_on": day(fact.retrieved_at_ms),
        "note": fact.note,
        "seq": fact.seq,
    }


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "dollars_a_month": nano_to_dollars(claim.nano_per_month),
        "workload": claim.workload,
        "source": claim.source,
        "note": claim.note,
    }

"""Which APIs are compared with when none is named, and at which of their list prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.cost.scenario import Listed
from registry.days import DAY_MS
from registry.ledger.daily_usage import DailyUsage
from registry.money import cost_nano
from registry.prices.baseline_infos import PricePeriod
from registry.prices.baselines import Baselines

STAYS = "gpt-5.4-mini"
"""An API whose end is not announced: what a decision is made against when none is named."""
OF_REPORTS = ("ft:gpt-4o-mini", STAYS)
"""Baselines that traffic is compared with when none is named, as far as they have a price: where fine-tuned traffic of
this kind comes from, and what may take its place.
"""
OF_SCENARIOS = ("gpt-4", "gpt-4-turbo", "gpt-4o", "gpt-5-mini", "ft:gpt-4o", "ft:gpt-4.1-mini", *OF_REPORTS)
"""Those that a supposed month is compared with: the guide's too, and more of what may take their place."""


@dataclass(frozen=True, slots=True)
class ListPrices:
    """Of the APIs that were asked for, at one instant."""

    listed: tuple[Listed, ...]
    unpriced: tuple[str, ...]
    """Those without a price of input and output then."""
    version: str
    """Of the price log."""


def list_prices(baselines: Baselines, names: Sequence[str], at_ms: int, version: str | None = None) -> ListPrices:
    """The prices that hold at an instant, as the price log has them, or had them by a version.

    Without names those of `OF_SCENARIOS` that are in the log. Raises `NotFound` for a name or a version that there is
    not.
    """
    version = version or baselines.version()
    known = set(baselines.names(version))
    wanted = dict.fromkeys(names or (name for name in OF_SCENARIOS if name in known))
    listed, unpriced = [], []
    for name in wanted:
        period = in_force(baselines.prices(name, version), at_ms)
        if period is None or not period.complete:
            unpriced.append(name)
        else:
            listed.append(Listed(baselines.info(name, version, at_ms), period))
    return ListPrices(tuple(listed), tuple(unpriced), version)


def in_force(periods: Sequence[PricePeriod], at_ms: int) -> PricePeriod | None:
    """The one that an instant is in; of a time before the first one there is none."""
    return next(
        (one for one in periods if one.from_ms <= at_ms and (one.until_ms is None or at_ms < one.until_ms)), None
    )


def listed_nano(usage: DailyUsage, periods: Sequence[PricePeriod]) -> int | None:
    """What a day's usage would have cost, at the list price that was in force when the day began and with our tokens
    taken for the API's; `None`: it had no price.
    """
    period = in_force(periods, usage.day * DAY_MS)
    if period is None or not period.complete:
        return None
    return cost_nano(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, period)

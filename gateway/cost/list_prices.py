"""Which APIs are compared with when none is named, and at which of their list prices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from gateway.cost.assumptions import Assumptions
from gateway.cost.baselines import Baseline, Tokens, exact_nano
from gateway.cost.calibrated import calibrated_ratios
from gateway.cost.scenario import Listed
from registry.days import DAY_MS
from registry.ledger.daily_usage import DailyUsage
from registry.prices.baseline_infos import PricePeriod
from registry.prices.baselines import Baselines
from registry.service import Registry

STAYS = "gpt-5.4-mini"
"""An API whose end is not announced: what a decision is made against when none is named."""
OF_REPORTS = ("ft:gpt-4o-mini", STAYS)
"""Baselines that traffic is compared with when none is named, as far as they have a price: where fine-tuned traffic of
this kind comes from, and what may take its place.
"""
OF_SCENARIOS = ("gpt-4", "gpt-4-turbo", "gpt-4o", "gpt-5-mini", "ft:gpt-4o", "ft:gpt-4.1-mini", *OF_REPORTS)
"""Those that a supposed month is compared with: the guide's too, and more of what may take their place."""


def compared_with(baselines: Baselines) -> frozenset[str]:
    """Names of those that somebody here compares with: of each report, and what an operator has written down."""
    return frozenset({*OF_REPORTS, *baselines.names_from("operator")})


@dataclass(frozen=True, slots=True)
class ListPrices:
    """Of the APIs that were asked for, at one instant."""

    listed: tuple[Listed, ...]
    unlisted: tuple[str, ...]
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
    listed, unlisted = [], []
    for name in wanted:
        period = in_force(baselines.prices(name, version), at_ms)
        if period is None or not period.complete:
            unlisted.append(name)
        else:
            listed.append(Listed(baselines.info(name, version, at_ms), period))
    return ListPrices(tuple(listed), tuple(unlisted), version)


def in_force(periods: Sequence[PricePeriod], at_ms: int) -> PricePeriod | None:
    """The one that an instant is in; of a time before the first one there is none."""
    return next(
        (one for one in periods if one.from_ms <= at_ms and (one.until_ms is None or at_ms < one.until_ms)), None
    )


def known_baseline(
    registry: Registry, name: str, price_version: str, at_ms: int, *, tenant: str | None = None
) -> Baseline:
    """What is known of an API at an instant, with its prices of all times, and how many tokens of it one of each
    tenant's is (or of `tenant` alone). Raises `NotFound` for a name or a version that there is not.
    """
    info = registry.baselines.info(name, price_version, at_ms)
    ratios = calibrated_ratios(registry.calibrations, name, price_version)
    shown = {of: ratio for of, ratio in ratios.items() if tenant in (None, of)}
    return Baseline(name, info, registry.baselines.prices(name, price_version), ratios=shown)


def listed_nano(baseline: Baseline, tenant: str, day: int, tokens: Tokens) -> Fraction | None:
    """What a tenant's tokens of a day would have cost, at the list price that was in force when the day began; `None`:
    there was none. As a report has it, without batches and with the cache that our engines had.
    """
    period = baseline.period_at(day * DAY_MS)
    return None if period is None else exact_nano(tokens, period, baseline.ratio_of(tenant), Assumptions())


def tokens_by_day(usage: Iterable[DailyUsage]) -> dict[tuple[str, int], Tokens]:
    """By tenant and day."""
    found: dict[tuple[str, int], Tokens] = {}
    for one in usage:
        of = Tokens(one.prompt_tokens, one.cached_tokens, one.completion_tokens)
        found[one.tenant, one.day] = found.get((one.tenant, one.day), Tokens()) + of
    return found


def tokens_said(baselines: Iterable[Baseline]) -> str:
    """Whose tokens are taken for whose, as a clause."""
    return "; ".join(sorted({one.why for of in baselines for one in (of.ratio, *of.ratios.values())}))

"""What requests come to at list prices is the same whether it is worked out by day or by price."""

from __future__ import annotations

import random
from fractions import Fraction
from functools import partial

import pytest

from gateway.cost.assumptions import TokenRatio
from gateway.cost.baselines import Baseline, Tokens
from gateway.cost.list_prices import listed_nano
from gateway.cost.pooling import _used
from registry.days import DAY_MS
from registry.ledger.daily_usage import DailyUsage
from registry.prices.baseline_infos import ComponentPrice, PricePeriod


def period(draw: random.Random, first: int, end: int | None, *, whole: bool = True) -> PricePeriod:
    names = ("input", "output", "cached_input")[: draw.choice((2, 3)) if whole else 1]
    prices = {
        name: ComponentPrice(name, draw.randrange(1, 10**9), 0, "a test", None, "", at, False, "operator", None)
        for at, name in enumerate(names)
    }
    return PricePeriod("api", first * DAY_MS, None if end is None else end * DAY_MS, prices)


@pytest.mark.parametrize("seed", range(20))
def test_a_sum_of_tokens_costs_what_its_days_cost(seed: int) -> None:
    draw = random.Random(seed)
    periods = (period(draw, 3, 9), period(draw, 9, 12, whole=False), period(draw, 12, None))
    baseline = Baseline("api", None, periods, ratios={"acme": TokenRatio(Fraction(draw.randrange(1, 99), 7))})
    number = partial(draw.randrange, -5, 10**6)
    usage = [
        DailyUsage(day, tenant, "", "", draw.randrange(99), number(), number(), number(), 0, 0)
        for day in range(20)
        for tenant in ("acme", "globex")
    ]
    requests, nano, unlisted = dict[str, int](), dict[str, Fraction](), 0
    for one in usage:
        tokens = Tokens(one.prompt_tokens, one.cached_tokens, one.completion_tokens)
        of_day = listed_nano(baseline, one.tenant, one.day, tokens)
        if of_day is None:
            unlisted += one.requests
        else:
            requests[one.tenant] = requests.get(one.tenant, 0) + one.requests
            nano[one.tenant] = nano.get(one.tenant, Fraction(0)) + of_day
    assert _used(baseline, usage) == ({name: (requests[name], nano[name]) for name in nano}, unlisted)

"""Days on which a tenant cost much more than usual, and what the difference is made of. Pure arithmetic, no numpy.

**Whether.** What a day comes to is expected from the days before it by `forecast.py`, shape of the week included. It is
called a jump where it is over `LEAST_TIMES` what was expected, and over what is expected with the factor
exp(`DEVIATIONS` · spread), the spread that of the logarithms of the 28 days before against their own expectation,
robustly (1.4826 times their median distance from 0), and never under `LEAST_SPREAD`. If logarithms were normal, that
would be once in 3.5 million days; how often it is on quiet series with heavier tails is measured in the tests.

**Why.** Of each slice (a key on an adapter) `cost = requests · weighted tokens a request · price of one`
is held against a usual day of the slice, which is the mean of up to four same weekdays before. The change of a slice is
divided among its factors by logarithmic means, so that parts add up to it exactly (LMDI-I: B. W. Ang, Energy Policy 33,
2005, 867-871). A token of an answer is weighed as four of a prompt, as list prices have it. A slice that was not there
on usual days is new as a whole: its requests.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from gateway.cost.forecast import LEAST_DAYS, LEAST_FACTOR, ROBUST, WEEK, model_of
from registry.ledger.daily_usage import DailyUsage

Cause = Literal["requests", "prompt length", "answer length", "price"]
DEVIATIONS = 5.0
LEAST_TIMES = 1.5
LEAST_SPREAD = 0.1
"""Of logarithms: a tenth more or less is no news, however alike days were."""
LOOKED_BACK = 28
"""Days whose spread counts."""
ANSWER_WEIGHT = 4.0
"""Tokens of a prompt that one token of an answer costs as much as."""
USUAL_WEEKS = 4
TINY = 1e-9
NEW_SHARE = 0.5
"""Of a slice's requests that a version must have, and not have had on usual days, to be named as the cause."""
MOST_PARTS = 3


@dataclass(frozen=True, slots=True)
class Amount:
    """What a slice came to on a day, or on a usual one."""

    requests: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    nano: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.nano + other.nano,
        )

    @property
    def prompt_length(self) -> float:
        """Tokens of a prompt."""
        return self.prompt_tokens / self.requests if self.requests else 0.0

    @property
    def answer_length(self) -> float:
        """Tokens of the answer to a request."""
        return self.completion_tokens / self.requests if self.requests else 0.0

    @property
    def length(self) -> float:
        """Weighted tokens of a request."""
        return self.prompt_length + ANSWER_WEIGHT * self.answer_length

    @property
    def price(self) -> float:
        """Of a weighted token."""
        return self.nano / (self.requests * self.length) if self.requests and self.length else 0.0

    def times(self, factor: float) -> Amount:
        """A multiple of it."""
        return Amount(
            self.requests * factor, self.prompt_tokens * factor, self.completion_tokens * factor, self.nano * factor
        )


NOTHING = Amount()
Slice = tuple[str, str]
"""A key's id, and `tenant/adapter` or a base."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one cause in one slice adds to the difference."""

    key_id: str
    model: str
    """`tenant/adapter`, or a base."""
    cause: Cause
    nano: float
    was: float
    """Requests, tokens a request, or nano-dollars a weighed token, on a usual day …"""
    is_: float
    """… and on this one."""
    version: str | None = None
    """What began to answer that day, where that is most of the slice."""


@dataclass(frozen=True, slots=True)
class Jump:
    """A day that cost much more than usual."""

    tenant: str
    day: int
    priced: bool
    """Whether amounts are nano-dollars at the tariff; without any they are weighted tokens."""
    amount: int
    usual: int
    """As expected from the days before."""
    parts: tuple[Part, ...]
    """The largest first."""
    change: float
    """Against the usual days that parts are held against: what all parts together, also those not named, come to."""

    @property
    def times(self) -> float:
        """How many times the usual."""
        return self.amount / self.usual if self.usual else math.inf


def jump_on(usage: Sequence[DailyUsage], day: int, first: int) -> Jump | None:
    """Whether a tenant's whole `day` was one; `usage` is its own, from the day `first` on. `None`: it was not, or it is
    too early to say.
    """
    priced = any(one.tariff_nano for one in usage)
    days = [0] * (day - first + 1)
    for one in usage:
        if first <= one.day <= day:
            days[one.day - first] += worth(one, priced)
    usual = usual_of(days[:-1], days[-1], day)
    if usual is None:
        return None
    parts, change = parts_of(usage, day, first, priced=priced)
    return Jump(usage[0].tenant, day, priced, days[-1], round(usual), parts, change)


def usual_of(before: Sequence[int], today: int, day: int) -> float | None:
    """What the day was expected to come to, where it is a jump."""
    if today <= 0:
        return None
    model = model_of(before, day)
    if model is None or model.factors[day % WEEK] < LEAST_FACTOR:
        return None
    expected = model.expected(day)
    if expected <= 0 or today <= LEAST_TIMES * expected:
        return None
    far = math.log(today / expected) / DEVIATIONS
    return expected if far > LEAST_SPREAD and _spread_is_under(far, before, day) else None


def _spread_is_under(limit: float, before: Sequence[int], day: int) -> bool:
    """Whether the spread of the logarithms of the last days is, each against what was to be expected of it by the days
    before it. It is not as soon as more than half of all days are as far off.
    """
    found = []
    most = min(LOOKED_BACK, len(before) - LEAST_DAYS)
    for back in range(1, most + 1):
        model, value = model_of(before[:-back], day - back), before[-back]
        expected = 0.0 if model is None else model.expected(day - back)
        if model is not None and model.factors[(day - back) % WEEK] >= LEAST_FACTOR and expected > 0:
            found.append(ROBUST * abs(math.log(max(value, expected / 100) / expected)))
            if 2 * sum(one >= limit for one in found) > most:
                return False
    return len(found) >= WEEK and median(found) < limit


def parts_of(usage: Iterable[DailyUsage], day: int, first: int, *, priced: bool) -> tuple[tuple[Part, ...], float]:
    """The largest parts of the difference to a usual day, and all of it."""
    usual_days = [past for weeks in range(1, USUAL_WEEKS + 1) if (past := day - WEEK * weeks) >= first]
    today: dict[Slice, dict[str, Amount]] = defaultdict(lambda: defaultdict(Amount))
    usual: dict[Slice, dict[str, Amount]] = defaultdict(lambda: defaultdict(Amount))
    for one in usage:
        slice_ = one.key_id, one.model.partition("@")[0]
        if one.day == day:
            today[slice_][one.model] += _amount(one, priced)
        elif one.day in usual_days:
            usual[slice_][one.model] += _amount(one, priced).times(1 / len(usual_days))
    parts = [part for slice_ in today.keys() | usual.keys() for part in _parts(slice_, usual[slice_], today[slice_])]
    largest = sorted(parts, key=lambda part: (-part.nano, part.key_id, part.model, part.cause))
    return tuple(part for part in largest if part.nano > 0)[:MOST_PARTS], sum(part.nano for part in parts)


def _parts(slice_: Slice, usual: Mapping[str, Amount], today: Mapping[str, Amount]) -> Iterator[Part]:
    """Of one slice, by version: they add up to its change."""
    was, is_ = sum(usual.values(), NOTHING), sum(today.values(), NOTHING)
    if was.nano <= 0 or is_.nano <= 0:
        yield Part(*slice_, "requests", is_.nano - was.nano, was.requests, is_.requests)
        return
    version = next(
        (name for name, one in today.items() if name not in usual and one.requests >= NEW_SHARE * is_.requests), None
    )
    scale = _log_mean(is_.nano, was.nano)
    read, written = scale * _share(is_, was, "prompt"), scale * _share(is_, was, "answer")
    change: dict[Cause, tuple[float, float, float]] = {
        "requests": (scale, was.requests, is_.requests),
        "prompt length": (read, was.prompt_length, is_.prompt_length),
        "answer length": (written, was.answer_length, is_.answer_length),
        "price": (scale, was.price, is_.price),
    }
    for cause, (weight, before, after) in change.items():
        yield Part(*slice_, cause, weight * math.log(_some(after) / _some(before)), before, after, version)


def _share(is_: Amount, was: Amount, what: Literal["prompt", "answer"]) -> float:
    """What a change of the length of prompts or answers weighs in one of the length of requests."""
    lengths = [one.prompt_length if what == "prompt" else ANSWER_WEIGHT * one.answer_length for one in (is_, was)]
    return _log_mean(*lengths) / _log_mean(is_.length, was.length)


def _log_mean(a: float, b: float) -> float:
    """Of two positive numbers: (a - b) / ln(a / b), and the number itself where they are the same."""
    a, b = _some(a), _some(b)
    return a if math.isclose(a, b, rel_tol=1e-12) else (a - b) / math.log(a / b)


def _some(value: float) -> float:
    """What has a logarithm: 0 is taken for very little, as is usual in this decomposition."""
    return max(value, TINY)


def _amount(one: DailyUsage, priced: bool) -> Amount:
    requests, prompt, answer = float(one.requests), float(one.prompt_tokens), float(one.completion_tokens)
    return Amount(requests, prompt, answer, float(worth(one, priced)))


def worth(one: DailyUsage, priced: bool) -> int:
    """Nano-dollars at the tariff; of a tenant without one, weighted tokens."""
    return one.tariff_nano if priced else one.prompt_tokens + int(ANSWER_WEIGHT) * one.completion_tokens

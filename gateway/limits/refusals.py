"""What a client hears of limits: OpenAI's `x-ratelimit-*` headers, and why a request may not begin."""

from __future__ import annotations

import math
from typing import Literal

from gateway.errors import Headers, Overloaded, QuotaExceeded, RateLimited, Unpriced
from gateway.limits.caps import Budget
from gateway.limits.counters import Counter
from gateway.limits.rates import Rate
from gateway.limits.sizes import Size, Units
from registry.days import as_datetime
from registry.money import nano_to_dollars

__all__ = ["Headers", "cannot_count", "headers_of", "no_price", "out_of_budget", "over_rate", "too_many_at_once"]


def headers_of(counters: list[Counter], now_s: float) -> Headers:
    """Limit, remaining and reset of requests and tokens, each of the scope that had least left after the last request
    that it let through.
    """
    requests: Rate | None = None
    tokens: Rate | None = None
    for counter in counters:
        rate = counter.requests
        if rate is not None and (requests is None or rate.left < requests.left):
            requests = rate
        rate = counter.tokens
        if rate is not None and (tokens is None or rate.left < tokens.left):
            tokens = rate
    if requests is None:
        return () if tokens is None else _headers(tokens, now_s)
    return _headers(requests, now_s) if tokens is None else _headers(requests, now_s) + _headers(tokens, now_s)


def _headers(rate: Rate, now_s: float) -> Headers:
    left = rate.left
    return (
        rate.limit_header,
        (rate.remaining_name, b"%d" % left if left > 0 else b"0"),
        (rate.reset_name, _duration(rate.full_at_s - now_s)),
    )


def _duration(seconds: float) -> bytes:
    """As OpenAI writes it: `12ms`, `1.5s`, `6m0s`."""
    ms = math.ceil(seconds * 1000)
    if ms < 1_000:
        return b"%dms" % ms if ms > 0 else b"0ms"
    if ms < 60_000:
        return b"%gs" % (ms / 1000)
    return b"%dm%ds" % divmod(math.ceil(seconds), 60)


def too_many_at_once(scope: str, limit: int) -> RateLimited:
    """All places are taken."""
    if not limit:
        return _in_vain(
            RateLimited(
                f"No requests are allowed to {_named(scope)}: its concurrency is 0. Ask the operator to raise it.",
                code="rate_limit_exceeded",
            ).by(scope, "concurrency")
        )
    return RateLimited(
        f"{limit} requests of {_named(scope)} run already, which is its limit. Send the next one when one has ended.",
        code="rate_limit_exceeded",
        retry_after_s=1,
    ).by(scope, "concurrency")


def over_rate(
    scope: str, what: Literal["requests", "tokens"], rate: Rate, units: int, now_s: float, size: Size | None = None
) -> RateLimited:
    """The minute's requests or tokens are used up; or the request alone, of this size, exceeds a whole minute's."""
    limit, reason = rate.limit, f"{what}_per_minute"
    if units > limit:
        told = f"No {what} are allowed to {_named(scope)}: the limit is 0 a minute. Ask the operator to raise it."
        if limit:
            size = size or Size(units, units)
            remedy = size.remedy("rate_tokens", limit)
            told = f"Request too large for {_named(scope)}: it can use {units} {what}{size.description()}, "
            told += f"the limit is {limit} " + (
                f"a minute. {remedy}." if remedy else "a minute. No request is so small: ask the operator to raise it."
            )
        return _in_vain(RateLimited(told, code="rate_limit_exceeded").by(scope, reason))
    wait_s = max(1, math.ceil(rate.wait_s(units, now_s)))
    return RateLimited(
        f"Rate limit of {_named(scope)} reached: {limit} {what} a minute, this request needs {units}. "
        f"Try again in {wait_s} s.",
        code="rate_limit_exceeded",
        retry_after_s=wait_s,
    ).by(scope, reason)


def out_of_budget(scope: str, budget: Budget, most: int, size: Size) -> RateLimited | QuotaExceeded:
    """The budget cannot pay for the most that this request, of this size, could use.

    When only what running requests hold is in the way, it is worth trying again in a moment, and otherwise not before
    the window ends.
    """
    window, unit, left = budget.window, budget.unit, budget.limit - budget.spent_by_all()
    reason = f"{window.name}_{unit}"
    if most <= left:
        return RateLimited(
            f"What is left of the {window.name} budget of {_named(scope)} is held by requests that run. "
            "Try again in 1 s.",
            code="rate_limit_exceeded",
            retry_after_s=1,
        ).by(scope, reason)
    if not budget.limit:
        told = f"The {window.name} budget of {_named(scope)} is {_amount(0, unit)}. Ask the operator to raise it."
        return QuotaExceeded(told, code="insufficient_quota").by(scope, reason)
    begins_anew = f"{as_datetime(window.ends_ms):%Y-%m-%d %H:%M} UTC"
    told = f"The {window.name} budget of {_named(scope)} is {_amount(budget.limit, unit)} and "
    if left <= 0:
        told += f"is spent. Ask the operator to raise it, or wait until {begins_anew}."
    else:
        units: Units = "nano" if budget.in_dollars else "tokens"
        remedy = size.remedy(units, left)
        told += f"has {_amount(left, unit)} left; this request can use {_amount(most, unit)}{size.description()}. "
        waiting = f"wait until {begins_anew}"
        if size.remedy(units, budget.limit) is None:
            told += "No request is so small: ask the operator to raise it."
        elif remedy is None:
            told += f"Ask the operator to raise it, or {waiting}."
        else:
            told += (
                f"{remedy}, or {waiting}." if most <= budget.limit else f"{remedy}, or ask the operator to raise it."
            )
    return QuotaExceeded(told, code="insufficient_quota").by(scope, reason)


def _in_vain(error: RateLimited) -> RateLimited:
    """Trying again does not help."""
    error.should_retry = False
    return error


def cannot_count(scope: str) -> Overloaded:
    """The ledger or the store of shared limits does not answer, and limits are to hold even then."""
    return Overloaded(
        f"The limits of {_named(scope)} cannot be counted now. Try again in 1 s.",
        code="limits_unavailable",
        retry_after_s=1,
    ).by(scope, "limits_unavailable")


def no_price(scope: str) -> Unpriced:
    """A budget in dollars cannot be kept."""
    return Unpriced(
        f"{_named(scope).capitalize()} has a budget in dollars and this model has no price, so it is not served. "
        "The operator adds one with `switchyard tariff add`.",
        param="model",
        code="unpriced",
    ).by(scope, "unpriced")


def _named(scope: str) -> str:
    kind, _, name = scope.partition(":")
    return f"this {kind} ({name})"


def _amount(amount: int, unit: str) -> str:
    if unit == "tokens":
        return f"{amount} tokens"
    return f"${nano_to_dollars(amount)}"

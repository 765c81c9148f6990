"""What a client hears of limits: OpenAI's `x-ratelimit-*` headers, and why a request may not begin."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from gateway.cost.counters import Budget, Counter
from gateway.cost.rates import Rate
from gateway.errors import Headers, Overloaded, QuotaExceeded, RateLimited, Unpriced

__all__ = ["Headers", "cannot_count", "headers_of", "no_price", "out_of_budget", "over_rate", "too_many_at_once"]

NANO = 1_000_000_000


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
    return RateLimited(
        f"{limit} requests of {_named(scope)} run already, which is its limit. Send the next one when one has ended.",
        code="rate_limit_exceeded",
        retry_after_s=1,
    )


def over_rate(scope: str, what: str, rate: Rate, units: int, now_s: float) -> RateLimited:
    """The minute's requests or tokens are used up; or the request alone is larger than a whole minute."""
    limit = rate.limit
    if units > limit:
        refusal = RateLimited(
            f"Request too large for {_named(scope)}: it can use {units} {what}, the limit is {limit} a minute. "
            "Send a shorter prompt or a smaller max_tokens."
            if limit
            else f"No {what} are allowed to {_named(scope)}: the limit is 0 a minute. Ask the operator to raise it.",
            code="rate_limit_exceeded",
        )
        refusal.should_retry = False
        return refusal
    wait_s = max(1, math.ceil(rate.wait_s(units, now_s)))
    return RateLimited(
        f"Rate limit of {_named(scope)} reached: {limit} {what} a minute, this request needs {units}. "
        f"Try again in {wait_s} s.",
        code="rate_limit_exceeded",
        retry_after_s=wait_s,
    )


def out_of_budget(scope: str, budget: Budget, ask: int) -> RateLimited | QuotaExceeded:
    """The budget cannot pay for the most that this request could use.

    When only what running requests hold is in the way, it is worth trying again in a moment, and otherwise not before
    the window ends.
    """
    window, unit, left = budget.window, budget.unit, budget.limit - budget.spent_by_all()
    if ask <= left:
        return RateLimited(
            f"What is left of the {window.name} budget of {_named(scope)} is held by requests that run. "
            "Try again in 1 s.",
            code="rate_limit_exceeded",
            retry_after_s=1,
        )
    begins_anew = datetime.fromtimestamp(window.ends_ms / 1000, UTC)
    return QuotaExceeded(
        f"The {window.name} budget of {_named(scope)} is {_amount(budget.limit, unit)} and has "
        f"{_amount(max(0, left), unit)} left; this request can use {_amount(ask, unit)}. Send a smaller max_tokens, "
        f"ask the operator for more, or wait until {begins_anew:%Y-%m-%d %H:%M} UTC.",
        code="insufficient_quota",
    )


def cannot_count(scope: str) -> Overloaded:
    """The ledger or the store of shared limits does not answer, and limits are to hold even then."""
    return Overloaded(
        f"The limits of {_named(scope)} cannot be counted now. Try again in 1 s.",
        code="limits_unavailable",
        retry_after_s=1,
    )


def no_price(scope: str) -> Unpriced:
    """A budget in dollars cannot be kept."""
    return Unpriced(
        f"{_named(scope).capitalize()} has a budget in dollars and this model has no price, so it is not served. "
        "The operator adds one with `switchyard tariff add`.",
        param="model",
        code="unpriced",
    )


def _named(scope: str) -> str:
    kind, _, name = scope.partition(":")
    return f"this {kind} ({name})"


def _amount(amount: int, unit: str) -> str:
    if unit == "tokens":
        return f"{amount} tokens"
    return "$" + f"{amount // NANO}.{amount % NANO:09d}".rstrip("0").rstrip(".")

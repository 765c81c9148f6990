"""Holding on one scope what a request may use, all that the scope limits or nothing."""

from __future__ import annotations

from gateway.errors import ApiError
from gateway.limits.counters import Counter
from gateway.limits.refusals import cannot_count, out_of_budget, over_rate, too_many_at_once
from gateway.limits.sizes import Size


class Reservation:
    """The most that one request can use, before it has begun.

    `rate_tokens` is a guess, for the limit per minute; `tokens` and `nano` are bounds, for budgets. `nano` is 0 when no
    price is known. `size` is for a refusal to say what can be done.
    """

    __slots__ = ("nano", "rate_tokens", "size", "tokens")

    def __init__(self, rate_tokens: int, tokens: int, nano: int, size: Size | None = None) -> None:
        self.rate_tokens = rate_tokens
        self.tokens = tokens
        self.nano = nano
        self.size = Size(rate_tokens, tokens) if size is None else size


NOTHING = Reservation(0, 0, 0)
"""Of a request under limits that count no tokens and no dollars."""


DOOR = Reservation(0, 0, 0)
"""Of a request whose body is not read: a place and a unit of the rate of its tenant and of its key, and no tokens."""


def begins(counter: Counter, reservation: Reservation) -> bool:
    """Whether this takes a place and a unit of the rate of requests, which each scope gives once to a request."""
    return counter.at_door is (reservation is DOOR)


def hold_on(counter: Counter, reservation: Reservation, now_s: float, at_ms: int) -> bool:
    """Hold on one scope, all that it limits or nothing. The hot path: everything is looked at once."""
    if not counter.starts_ms <= at_ms < counter.ends_ms:
        counter.roll(at_ms)
    requests = None
    takes = begins(counter, reservation)
    if takes:
        places, requests = counter.places, counter.requests
        if places is not None and counter.in_flight >= places.allowed:
            return False
        if requests is not None and not requests.take_if_free(1, now_s):
            return False
    if reservation is not DOOR and not _hold_use(counter, reservation, now_s):
        if requests is not None:
            requests.take(-1, now_s)
        return False
    counter.asked += 1
    counter.in_flight += takes
    return True


def _hold_use(counter: Counter, reservation: Reservation, now_s: float) -> bool:
    """Hold tokens and dollars."""
    tokens = counter.tokens
    held_nano, held_tokens = counter.held_nano + reservation.nano, counter.held_tokens + reservation.tokens
    if held_nano > counter.nano_room or held_tokens > counter.token_room:
        return False
    if tokens is not None and not tokens.take_if_free(reservation.rate_tokens, now_s):
        return False
    counter.held_nano = held_nano
    counter.held_tokens = held_tokens
    return True


def undo(counter: Counter, reservation: Reservation, now_s: float) -> None:
    """Give back all that was held on one scope for a request that may not begin."""
    takes = begins(counter, reservation)
    counter.in_flight -= takes
    counter.held_tokens -= reservation.tokens
    counter.held_nano -= reservation.nano
    if takes and counter.requests is not None:
        counter.requests.take(-1, now_s)
    if counter.tokens is not None:
        counter.tokens.take(-reservation.rate_tokens, now_s)


def lacks(counter: Counter, reservation: Reservation, now_s: float, at_ms: int) -> bool:
    """Whether this scope lets the request not begin now."""
    if not counter.starts_ms <= at_ms < counter.ends_ms:
        counter.roll(at_ms)
    places, requests, tokens = counter.places, counter.requests, counter.tokens
    if begins(counter, reservation) and (
        (places is not None and counter.in_flight >= places.allowed)
        or (requests is not None and requests.lacks(1, now_s))
    ):
        return True
    return reservation is not DOOR and (
        counter.held_nano + reservation.nano > counter.nano_room
        or counter.held_tokens + reservation.tokens > counter.token_room
        or (tokens is not None and tokens.lacks(reservation.rate_tokens, now_s))
    )


def refusal(counter: Counter, reservation: Reservation, now_s: float) -> ApiError:
    """Why this scope lets the request not begin; only when it does not."""
    scope, tokens = counter.scope, counter.tokens
    places, requests = (counter.places, counter.requests) if begins(counter, reservation) else (None, None)
    if places is not None and counter.in_flight >= places.allowed:
        return too_many_at_once(scope, places.limit)
    if requests is not None and requests.lacks(1, now_s):
        return over_rate(scope, "requests", requests, 1, now_s)
    if tokens is not None and tokens.lacks(reservation.rate_tokens, now_s):
        return over_rate(scope, "tokens", tokens, reservation.rate_tokens, now_s, reservation.size)
    if counter.unread:
        return cannot_count(scope)
    for budget in counter.budgets:
        units = reservation.nano if budget.in_dollars else reservation.tokens
        if budget.used() + units > budget.allowed:
            return out_of_budget(scope, budget, units, reservation.size)
    raise AssertionError(f"{scope} has refused a request for nothing")

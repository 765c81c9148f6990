"""How long an answer may be that fits into the limits of a request, when nothing else is held there."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.limits.caps import Budget
from gateway.limits.counters import Counter
from registry.catalog.snapshot import TariffEntry
from registry.money import completion_within, most_nano

NEAR = 4
LEAST_OF_A_BUDGET = 64
"""Tokens. What is left of a budget cuts no answer shorter: then the request is refused, and can have all of the next
window.
"""


def longest_answers(
    counters: Iterable[Counter], rate_prompt: int, prompt: int, price: TariffEntry | None, most: int
) -> int:
    """Of `most` tokens of answers to a prompt of at most `prompt` tokens (`rate_prompt` for the limit per minute), so
    many as a minute's tokens, and what is left of the budgets, have room for. 0 when the prompt alone is too long.
    """
    fits = most
    for counter in counters:
        if counter.tokens is not None:
            fits = min(fits, counter.tokens.limit - rate_prompt)
        for budget in counter.budgets:
            left = budget.limit - budget.spent_by_all()
            room = _of_dollars(left, prompt, price, most) if budget.in_dollars else left - prompt
            if room < fits:
                fits = room if room >= _least(budget, prompt, price, most) else 0
    return max(0, fits)


def decided_by_prompt(
    counters: Iterable[Counter], prompt: int, answers: int, least_answers: int, price: TariffEntry | None
) -> bool:
    """Whether it matters how far below `prompt` the truth is: a budget of theirs has room for fewer than `NEAR` such
    requests, beside what is spent and held, and each has room for one with `least_answers` and next to no prompt.
    """
    nano = 0 if price is None else most_nano(prompt, answers, price)
    near_nano, near_tokens = NEAR * nano, NEAR * (prompt + answers)
    near = False
    for counter in counters:
        # No more than what is left may be used here: so where there is room here for so many, they are not near it.
        if (
            counter.held_nano + near_nano <= counter.nano_room
            and counter.held_tokens + near_tokens <= counter.token_room
        ):
            continue
        for budget in counter.budgets:
            left = budget.limit - budget.spent_by_all() - (budget.used() - budget.spent())
            if _least_of(budget, least_answers, price) > left:
                return False
            near = near or (near_nano if budget.in_dollars else near_tokens) > left
    return near


def _least_of(budget: Budget, answers: int, price: TariffEntry | None) -> int:
    """What a prompt of one token and so many of answers take of it."""
    if budget.in_dollars:
        return 0 if price is None else most_nano(1, answers, price)
    return 1 + answers


def _of_dollars(left_nano: int, prompt: int, price: TariffEntry | None, most: int) -> int:
    """Answer tokens that the money is enough for beside the prompt; `most` when they are not what is lacking."""
    fits = None if price is None else completion_within(left_nano, prompt, price)
    return most if fits is None else fits


def _least(budget: Budget, prompt: int, price: TariffEntry | None, most: int) -> int:
    """Less is not worth an answer; but a budget that never has more, when nothing is spent, gives what it has."""
    whole = _of_dollars(budget.limit, prompt, price, most) if budget.in_dollars else budget.limit - prompt
    return max(1, min(LEAST_OF_A_BUDGET, whole, most))

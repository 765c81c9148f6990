"""What a baseline is assumed to do with the same traffic: its tokens, what its cache has, what goes by batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Literal

from registry.errors import InvalidInput

Label = Literal["measured", "calibrated", "assumed"]
"""How the tokens of a baseline are known: counted with its own tokenizer, from requests of a sample that were sent to
it, or taken to be as many as ours.
"""
SHARE_DIGITS = 12
"""Decimals of a share, at most."""


@dataclass(frozen=True, slots=True)
class TokenRatio:
    """The baseline's tokens for each of ours, in prompts and in completions, and how that is known."""

    prompt: Fraction = Fraction(1)
    completion: Fraction = Fraction(1)
    label: Label = "assumed"
    why: str = "it counts as many tokens as our engines do"
    """A clause for people."""
    prompt_interval: tuple[Fraction, Fraction] | None = None
    """In which the ratio lies with 95 %; `None`: nobody knows."""
    completion_interval: tuple[Fraction, Fraction] | None = None
    seq: int | None = None
    """The line of the price log that it is from; `None`: none."""


SAME = TokenRatio()
"""Our counts taken as the baseline's: assumed."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is assumed of every baseline in a report."""

    cached_share: Fraction | None = None
    """Part of the prompt tokens that the API's cache would have had; `None`: as many as our own cache had."""
    batch_share: Fraction = field(default=Fraction(0))
    """Part of the requests that could have gone by the API's batch queue, at its batch prices and without its cache."""


def assumptions_of(cached_share: str | None, batch_share: str) -> Assumptions:
    """As people write them. Raises `InvalidInput`."""
    cached, batch = share_of(cached_share, "cached_share"), share_of(batch_share, "batch_share")
    return Assumptions(cached, Fraction(0) if batch is None else batch)


def share_of(text: str | None, param: str) -> Fraction | None:
    """`"0.25"` → a quarter; `None` where none is given. Raises `InvalidInput`."""
    if text is None:
        return None
    try:
        share = Decimal(text)
    except InvalidOperation:
        share = Decimal("NaN")
    if not share.is_finite() or not 0 <= share <= 1 or share.as_tuple().exponent < -SHARE_DIGITS:  # type: ignore[operator]
        raise InvalidInput(
            f"{param} is {text[:40]!r}; expected a share from 0 to 1 such as 0.25, with up to {SHARE_DIGITS} decimals",
            param=param,
        )
    return Fraction(share)

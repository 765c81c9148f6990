"""A scenario's case, as people write it: decimal dollars, shares, an hour's or a month's price of a GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from gateway.cost.scenario import HOURS_A_MONTH, Case
from registry.errors import InvalidInput
from registry.money import dollars_to_nano

SHARE_DIGITS = 12
"""Decimals of a share, at most."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is written as text; `None`: the guide's."""

    cached_share: str | None = None
    batch_share: str | None = None
    gpu_month: str | None = None
    gpu_hour: str | None = None
    own_training: str | None = None


def case_of(case: Case, terms: Terms) -> Case:
    """The case with what the terms say. Raises `InvalidInput`."""
    if terms.gpu_month is not None and terms.gpu_hour is not None:
        raise InvalidInput("gpu_hour and gpu_month are both given; say one of them", param="gpu_hour")
    engine_nano, training_nano = case.engine_nano, case.own_training_nano
    if terms.gpu_month is not None:
        engine_nano = dollars_to_nano(terms.gpu_month, "gpu_month")
    if terms.gpu_hour is not None:
        engine_nano = dollars_to_nano(terms.gpu_hour, "gpu_hour") * HOURS_A_MONTH
    if terms.own_training is not None:
        training_nano = dollars_to_nano(terms.own_training, "own_training")
    return replace(
        case,
        cached_share=share_of(terms.cached_share, "cached_share") or case.cached_share,
        batch_share=share_of(terms.batch_share, "batch_share") or case.batch_share,
        engine_nano=engine_nano,
        own_training_nano=training_nano,
    )


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

"""Money is integer nano-dollars: what tokens cost, and dollars as people write them."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Protocol

from registry.errors import InvalidInput

NANO = 1_000_000_000
"""Nano-dollars in a dollar."""
MAX_NANO = 2**63 - 1
"""What a column holds: nine billion dollars."""
MTOK = 1_000_000
"""Tokens that a price is for."""
_EXACT = Context(traps=[Inexact, InvalidOperation])


class TokenPrice(Protocol):
    """Nano-dollars per million tokens; cached ones are a part of the input."""

    @property
    def input_nano_per_mtok(self) -> int:
        """Of input that no cache had."""

    @property
    def cached_input_nano_per_mtok(self) -> int:
        """Of input that a cache had."""

    @property
    def output_nano_per_mtok(self) -> int:
        """Of what is generated."""


def cost_nano(prompt: int, cached: int, completion: int, price: TokenPrice) -> int:
    """What so many tokens cost; `cached` of the `prompt` tokens came from a prefix cache.

    Exact up to the end, where it is rounded once, half up, to a whole nano-dollar. Raises `ValueError` when more tokens
    are cached than there are.
    """
    if cached > prompt:
        raise ValueError(f"cached tokens ({cached}) are more than prompt tokens ({prompt})")
    exact = (
        (prompt - cached) * price.input_nano_per_mtok
        + cached * price.cached_input_nano_per_mtok
        + completion * price.output_nano_per_mtok
    )
    return (exact + MTOK // 2) // MTOK


def most_nano(prompt: int, completion: int, price: TokenPrice) -> int:
    """At most so many tokens never cost more, whatever was cached: rounded up."""
    dearest = max(price.input_nano_per_mtok, price.cached_input_nano_per_mtok)
    return -(-(prompt * dearest + completion * price.output_nano_per_mtok) // MTOK)


def completion_within(nano: int, prompt: int, price: TokenPrice) -> int | None:
    """Completion tokens that the money is enough for beside the prompt, whatever was cached; `None`: without end."""
    if not price.output_nano_per_mtok:
        return None
    return (nano - most_nano(prompt, 0, price)) * MTOK // price.output_nano_per_mtok


def nano_to_dollars(nano: int) -> str:
    """`1_500_000_000` → `1.5`: all the decimals that count, and no others."""
    sign, nano = ("-" if nano < 0 else ""), abs(nano)
    return sign + f"{nano // NANO}.{nano % NANO:09d}".rstrip("0").rstrip(".")


def dollars_to_nano(text: str, param: str) -> int:
    """`"0.30"` → 300,000,000. Raises `InvalidInput` for what is no non-negative number, or finer than a nano-dollar."""
    try:
        nano = _EXACT.multiply(_EXACT.create_decimal(text), NANO)
    except ArithmeticError:
        nano = Decimal("NaN")
    if not nano.is_finite() or not 0 <= nano <= MAX_NANO or nano != nano.to_integral_value():
        raise InvalidInput(
            f"{param} is {text[:40]!r}; expected dollars such as 0.30, not negative, with up to 9 decimals", param=param
        )
    return int(nano)

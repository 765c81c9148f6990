"""After how many requests a fixed cost is paid for: the one formula, wherever something is bought to save something.

    requests = fixed cost / (cost of a request elsewhere - cost of a request here)

Exact, in whole requests, rounded up: the first request after which nothing is lost any more.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Protocol

from registry.money import MTOK

Nano = Fraction | int
"""Nano-dollars, which of one request need not be whole."""


class InAndOut(Protocol):
    """Nano-dollars per million tokens."""

    @property
    def input_nano_per_mtok(self) -> int:
        """Of what is read."""

    @property
    def output_nano_per_mtok(self) -> int:
        """Of what is written."""


def break_even(fixed_nano: Nano, elsewhere_nano: Nano, here_nano: Nano = 0) -> int | None:
    """Requests until `fixed_nano` is saved, at what one costs elsewhere and here; `None`: never, as none is saved."""
    saved = Fraction(elsewhere_nano) - Fraction(here_nano)
    return math.ceil(Fraction(fixed_nano) / saved) if saved > 0 else None


def request_nano(prompt: Nano, answer: Nano, price: InAndOut) -> Fraction:
    """What one request costs of so many tokens on average, which no cache had; not rounded."""
    whole = Fraction(prompt) * price.input_nano_per_mtok + Fraction(answer) * price.output_nano_per_mtok
    return whole / MTOK

"""What all states are made of: numbers, intervals of them, documents. Without numpy, so that words need none."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

Numbers: TypeAlias = "float | NDArray[Any]"
"""A float, or an array of shape `(lanes,)`."""
Whole: TypeAlias = "int | NDArray[np.int64]"
"""An int, or an array of shape `(lanes,)`, such as the arm of one unit in each lane."""
DIGITS = 12
"""Significant digits of a figure that something is decided by: logarithms differ beyond them between machines."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate, and what the truth lies between; the ends are infinite while nothing can be said."""

    estimate: Numbers
    low: Numbers
    high: Numbers

    @classmethod
    def of(cls, estimate: Numbers, low: Numbers, high: Numbers) -> Self:
        """With rounded figures."""
        return cls(rounded(estimate), rounded(low), rounded(high))

    def within(self, most: float) -> Interval:
        """Of a number that cannot be more than `most`, nor less than its negative: without what is impossible, which
        takes no truth away. An end that is not known yet stays infinite.
        """
        if not math.isfinite(float(self.high) - float(self.low)):
            return self
        estimate, low, high = (max(-most, min(most, float(one))) for one in (self.estimate, self.low, self.high))
        return Interval(estimate, low, high)


class State:
    """What all states have: documents of themselves, if their numbers are floats."""

    __slots__ = ()

    def written(self) -> dict[str, Any]:
        """A document that JSON knows."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        """The state that `written` made the document of. Raises `TypeError` when it is none of this kind."""
        return cls(**{name: _hashable(value) for name, value in document.items()})


def rounded(value: Numbers) -> Numbers:
    """A float with 12 significant digits. Arrays stay: nothing is decided by them that must be repeated elsewhere."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float | int) else value


def finite(value: float) -> float | None:
    """A number that JSON knows: None for an infinite one."""
    return value if math.isfinite(value) else None


def _hashable(value: Any) -> Any:
    return tuple(_hashable(one) for one in value) if isinstance(value, list | tuple) else value

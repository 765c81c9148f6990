"""By how much quantiles differ, such as P95 of the time to the first token (`QuantileDifference`).

What speaks against a value as an arm's quantile is how far the arm's weighted share of units below it is from the
quantile's: an e-value by the normal mixture of `boundary.py`, whose variance is known at the true value. The product of
two arms' e-values speaks against a pair of quantiles, and the difference lies between those of the pairs that are left.
For one arm: S. R. Howard and A. Ramdas, Sequential estimation of quantiles, Bernoulli 28, 2022 (arXiv 1906.09712).
The weights are those of `means.py`: both shares are about the same mix of units, whatever a ramp did.

Memory is bounded: values are counted in bins each of which ends 2 % above the one before. Ends of intervals are those
of bins, outwards, which widens them by at most 2 % of the value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gateway.experiments.inference.boundary import log_e_value, mixing_for
from gateway.experiments.inference.lanes import TINY
from gateway.experiments.inference.means import LEAST_EXPECTED, LEAST_UNITS, TUNED_FOR
from gateway.experiments.inference.values import Interval

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

LOWEST, HIGHEST, GROWTH = 0.1, 1e7, 1.02
"""Of milliseconds: from what no network is as fast as up to hours."""
BINS = 932
ENDS = np.array([float(f"{LOWEST * GROWTH**number:.12g}") for number in range(BINS - 1)])
"""Where each bin but the last ends, which has all above. Rounded, so that a value has the same bin on every machine."""

DECIMALS = 9
"""Of logarithms that are compared."""
STARTS, STOPS = np.concatenate([[0.0], ENDS]), np.concatenate([ENDS, [math.inf]])


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """The values of one of two arms: Σ of the weights in each bin, and Σ of their squares over all."""

    sums: NDArray[np.float64]
    squares: float

    @classmethod
    def start(cls) -> Distribution:
        """Without values."""
        return cls(np.zeros(BINS), 0.0)

    def fold(self, values: NDArray[np.float64], weight: float) -> Distribution:
        """With values that have this weight each."""
        if not len(values):
            return self
        counts = np.bincount(np.searchsorted(ENDS, values), minlength=BINS)
        return Distribution(self.sums + weight * counts, self.squares + weight * weight * len(values))

    def against(self, share: float, weight: float, mixing: float) -> NDArray[np.float64]:
        """Of each bin the logarithm of what speaks against the quantile's being in it, of the best value there."""
        below = np.cumsum(self.sums)
        total = max(float(below[-1]), TINY)
        below /= total
        before = np.concatenate([[0.0], below[:-1]])
        off = np.maximum(np.maximum(share - below, before - share), 0.0)
        spread = self.squares * share * (1 - share) / weight
        return np.round(log_e_value(off * total / weight, spread, weight, mixing), DECIMALS)

    def estimate(self, share: float) -> float:
        """The middle of the bin in which the quantile is."""
        below = np.cumsum(self.sums)
        number = int(np.searchsorted(below, share * below[-1]))
        return float(ENDS[min(number, BINS - 2)]) / math.sqrt(GROWTH)


@dataclass(frozen=True, slots=True, eq=False)
class Two:
    """A treatment and the control, over the same mix of units."""

    treated: Distribution
    controlled: Distribution
    units: float = 0.0
    expected_treated: float = 0.0
    weight: float = 0.0
    """Effective units, as in `means.py`."""

    def fold(self, treated: NDArray[np.float64], controlled: NDArray[np.float64], chance: float) -> Two:
        """With units more, whose chance of the treatment was the same."""
        count = len(treated) + len(controlled)
        return Two(
            self.treated.fold(treated, 4 * (1 - chance)),
            self.controlled.fold(controlled, 4 * chance),
            self.units + count,
            self.expected_treated + count * chance,
            self.weight + count * 4 * chance * (1 - chance),
        )


@dataclass(frozen=True, slots=True, eq=False)
class QuantileDifference:
    """Differences of one quantile of all arms to the control's; `contrasts` has one for each arm.

    Unlike in other states an array is no lanes: it is several units at once, of one run.
    """

    share: float
    control: int
    mixing: float
    contrasts: tuple[Two, ...]

    @classmethod
    def start(
        cls, arms: int = 2, *, share: float = 0.95, control: int = 0, tuned_for: float = TUNED_FOR
    ) -> QuantileDifference:
        """Before the first unit; `share` 0.95 is P95."""
        empty = Two(Distribution.start(), Distribution.start())
        return cls(share, control, mixing_for(tuned_for), (empty,) * arms)

    def fold(
        self, arm: int | NDArray[np.int64], shares: Sequence[float], value: float | NDArray[np.float64]
    ) -> QuantileDifference:
        """With one unit more, or with arrays of arms and values of several whose shares were the same."""
        arms, values = np.atleast_1d(arm), np.atleast_1d(value)
        controlled = values[arms == self.control]
        contrasts = list(self.contrasts)
        for number, before in enumerate(self.contrasts):
            both = shares[number] + shares[self.control]
            if number != self.control and both:
                contrasts[number] = before.fold(values[arms == number], controlled, shares[number] / both)
        return replace(self, contrasts=tuple(contrasts))

    def interval(self, alpha: float, arm: int = 1, *, relative: bool = True, one_sided: bool = False) -> Interval:
        """The quantile of `arm` over that of the control less 1, or without `relative` their difference.

        Infinite while there are too few units. With `one_sided`, each end alone is wrong with probability alpha at
        most: both together are wrong twice as often.
        """
        two = self.contrasts[arm]
        control = two.units - two.expected_treated
        empty = not (two.treated.sums.any() and two.controlled.sums.any())
        if two.units < LEAST_UNITS or min(control, two.expected_treated) < LEAST_EXPECTED or empty:
            return Interval(0.0, -math.inf, math.inf)
        left = math.log(1 / (2 * alpha if one_sided else alpha))
        treated, controlled = (
            side.against(self.share, two.weight, self.mixing) for side in (two.treated, two.controlled)
        )
        first, last = _left(controlled, left - treated)
        here = first <= last
        lows, highs = STARTS[here], STOPS[here]
        other_lows, other_highs = STARTS[first[here]], STOPS[last[here]]
        one, other = two.treated.estimate(self.share), two.controlled.estimate(self.share)
        if relative:
            with np.errstate(divide="ignore"):
                most = np.where(np.isfinite(highs), highs / other_lows, math.inf)
            return Interval.of(one / other - 1, float((lows / other_highs).min()) - 1, float(most.max()) - 1)
        return Interval.of(one - other, float((lows - other_highs).min()), float((highs - other_lows).max()))

    def written(self) -> dict[str, Any]:
        """A document that JSON knows; of bins only those that have something."""
        contrasts = [
            {
                **{name: getattr(two, name) for name in ("units", "expected_treated", "weight")},
                **{name: _written(getattr(two, name)) for name in ("treated", "controlled")},
            }
            for two in self.contrasts
        ]
        return {"share": self.share, "control": self.control, "mixing": self.mixing, "contrasts": contrasts}

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        """The state that `written` made the document of."""
        contrasts = [
            Two(**{**two, "treated": _read(two["treated"]), "controlled": _read(two["controlled"])})
            for two in document["contrasts"]
        ]
        return cls(**{**document, "contrasts": tuple(contrasts)})


def _written(values: Distribution) -> dict[str, Any]:
    bins = {str(number): float(values.sums[number]) for number in np.flatnonzero(values.sums)}
    return {"bins": bins, "squares": values.squares}


def _read(document: dict[str, Any]) -> Distribution:
    sums = np.zeros(BINS)
    for number, total in document["bins"].items():
        sums[int(number)] = total
    return Distribution(sums, document["squares"])


def _left(against: NDArray[np.float64], allowed: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each of `allowed` the first and the last bin against which no more speaks; where there is none, the first is
    behind the last. What speaks against bins falls down to the quantile and rises behind it.
    """
    least = int(np.argmin(against))
    first = np.searchsorted(-against[: least + 1], -allowed)
    last = least - 1 + np.searchsorted(against[least:], allowed, side="right")
    return np.where(allowed >= against[least], first, BINS), np.asarray(last)

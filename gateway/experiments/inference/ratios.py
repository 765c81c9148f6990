"""By how many percent means differ, or ratios of means such as dollars per accepted answer (`RatioDifference`).

Of both arms the means of `value` and `per` are estimated over the same units, with the weights of `means.py`:

    ξ(arm) = w·m + w·[unit is in the arm]·(value − m) / share of the arm,    mean(arm) = Σξ / Σw

and the logarithm of the ratio of ratios is linear in small changes of these four means (delta method), so that it has
the asymptotic sequence of its influences: Waudby-Smith et al., arXiv 2103.06476, on functions of means. For one look:
A. Deng, U. Knoblich and J. Lu, Applying the delta method in metric analytics, KDD 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

from gateway.experiments.inference.boundary import mixing_for, radius, radius_one_sided
from gateway.experiments.inference.lanes import TINY, exp, larger, log, where
from gateway.experiments.inference.means import LEAST_EXPECTED, LEAST_UNITS, TUNED_FOR, Baseline
from gateway.experiments.inference.values import Interval, Numbers, State, Whole

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

SIDES = 4
"""Value and per of the treatment, then those of the control."""
PAIRS = tuple(combinations_with_replacement(range(SIDES), 2))
LARGEST_ERROR = 0.1
"""The most that any of the four means' squared relative error may be, for the delta method to hold."""


@dataclass(frozen=True, slots=True)
class FourMeans(State):
    """Sums over the units of one treatment and the control."""

    units: Numbers = 0.0
    expected_treated: Numbers = 0.0
    weight: Numbers = 0.0
    totals: tuple[Numbers, ...] = (0.0,) * SIDES
    """Σξ of each."""
    products: tuple[Numbers, ...] = (0.0,) * len(PAIRS)
    """Σξξ of each pair of them."""

    def fold(self, outcomes: Sequence[Numbers], here: Numbers, chance: Numbers) -> FourMeans:
        """With one unit more; all is 0 where it is in neither arm."""
        return FourMeans(
            self.units + here,
            self.expected_treated + here * chance,
            self.weight + here * (4 * chance * (1 - chance)),
            tuple(was + one for was, one in zip(self.totals, outcomes, strict=True)),
            tuple(was + outcomes[a] * outcomes[b] for was, (a, b) in zip(self.products, PAIRS, strict=True)),
        )

    def log_ratio(self) -> tuple[Numbers, Numbers, bool | NDArray[Any]]:
        """Logarithm of the ratio of ratios, variance of one effective unit, and whether they can be relied on."""
        known: bool | NDArray[Any] = True
        value: Numbers = 0.0
        slopes: list[Numbers] = []
        for side, sign in enumerate((1, -1, -1, 1)):
            total = where(self.totals[side] > 0, self.totals[side], 1.0)
            of_itself = self.products[PAIRS.index((side, side))]
            known = known & (self.totals[side] > 0) & (of_itself <= LARGEST_ERROR * total * total)
            value = value + sign * log(total)
            slopes.append(sign * self.weight / total)
        variance: Numbers = 0.0
        for (a, b), product in zip(PAIRS, self.products, strict=True):
            variance = variance + (1 if a == b else 2) * slopes[a] * slopes[b] * product
        control = self.units - self.expected_treated
        enough = (self.units >= LEAST_UNITS) & (self.expected_treated >= LEAST_EXPECTED) & (control >= LEAST_EXPECTED)
        spread = larger(variance, 0.0) / larger(self.weight, TINY)
        return value, spread, known & enough & (spread > 0)


@dataclass(frozen=True, slots=True)
class RatioDifference(State):
    """Relative differences of all arms to the control; `contrasts` has one for each arm, the control's is empty."""

    control: int
    mixing: float
    value: Baseline
    per: Baseline
    contrasts: tuple[FourMeans, ...]

    @classmethod
    def start(cls, arms: int = 2, *, control: int = 0, tuned_for: float = TUNED_FOR) -> RatioDifference:
        """Before the first unit. `tuned_for`: effective units after which the sequence is to be narrowest."""
        return cls(control, mixing_for(tuned_for), Baseline(), Baseline(), (FourMeans(),) * arms)

    def fold(self, arm: Whole, shares: Sequence[Numbers], value: Numbers, per: Numbers = 1.0) -> RatioDifference:
        """With one unit more: of `value` per `per`, such as dollars per accepted answer; `per` 1 compares means."""
        contrasts = self.contrasts
        if self.value.units:
            rests = (value - self.value.mean, per - self.per.mean)
            contrasts = tuple(
                self._contrast(number, one, arm, shares, rests) for number, one in enumerate(self.contrasts)
            )
        return replace(self, value=self.value.fold(value), per=self.per.fold(per), contrasts=contrasts)

    def _contrast(
        self, number: int, before: FourMeans, arm: Whole, shares: Sequence[Numbers], rests: Sequence[Numbers]
    ) -> FourMeans:
        if number == self.control:
            return before
        chance = shares[number] / larger(shares[number] + shares[self.control], TINY)
        treated, controlled = (arm == number) * 1.0, (arm == self.control) * 1.0
        here = treated + controlled
        means = (self.value.mean, self.per.mean)
        common = [here * (4 * chance * (1 - chance)) * mean for mean in means]
        outcomes = [was + 4 * (1 - chance) * treated * rest for was, rest in zip(common, rests, strict=True)]
        outcomes += [was + 4 * chance * controlled * rest for was, rest in zip(common, rests, strict=True)]
        return before.fold(outcomes, here, chance)

    def interval(self, alpha: float, arm: int = 1, *, one_sided: bool = False) -> Interval:
        """Ratio of `arm` over that of the control, less 1: -0.38 is 38 % less. Infinite while it cannot be relied on.

        With `one_sided`, each end alone is wrong with probability alpha at most, not both together.
        """
        contrast = self.contrasts[arm]
        value, spread, known = contrast.log_ratio()
        bound = radius_one_sided if one_sided else radius
        half = where(known, bound(spread, larger(contrast.weight, TINY), self.mixing, alpha), 0.0)
        value = where(known, value, 0.0)
        low = where(known, exp(value - half) - 1, -math.inf)
        high = where(known, exp(value + half) - 1, math.inf)
        return Interval.of(exp(value) - 1, low, high)

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        """The state that `written` made the document of."""
        parts = {
            "value": Baseline.read(document["value"]),
            "per": Baseline.read(document["per"]),
            "contrasts": tuple(FourMeans.read(one) for one in document["contrasts"]),
        }
        return cls(**{**document, **parts})

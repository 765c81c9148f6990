"""By how much the means of arms differ, at any time and in a ramp (`MeanDifference`).

A unit of one of two arms, whose chance of the treatment was p, has the pseudo-outcome

    φ = (value − m)(A/p − (1−A)/(1−p)),    A: 1 in the treatment, 0 in the control; m: the mean of earlier units

whose expectation is the difference, whatever p and however the mean drifts. Units weigh w = 4p(1−p), which is known
before the arm is: w·φ = 4(A − p)(value − m). At an even split every unit weighs 1, on a canary of 5 % it weighs 0.19,
and where there is no control it weighs nothing. The estimate is Σwφ / Σw, "effective units" are Σw.

Sources: Waudby-Smith et al., arXiv 2103.06476, for the sequence and the pseudo-outcomes; weights p(1−p): F. Li,
K. L. Morgan, A. M. Zaslavsky, Balancing covariates via propensity score weighting, JASA 113, 2018. A covariate that is
known before the arm makes m a regression on earlier units (CUPED: A. Deng et al., WSDM 2013).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gateway.experiments.inference.boundary import mixing_for, radius, radius_one_sided
from gateway.experiments.inference.lanes import TINY, larger, where
from gateway.experiments.inference.values import Interval, Numbers, State, Whole

if TYPE_CHECKING:
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

LEAST_UNITS = 200
"""Units of two arms together below which nothing is said of them."""
LEAST_EXPECTED = 30
"""Units that are expected in the smaller of two arms below which nothing is said: 600 on a canary of 5 %."""
TUNED_FOR = 5_000.0
"""Effective units after which the sequence is narrowest, unless a plan says otherwise."""


@dataclass(frozen=True, slots=True)
class Baseline(State):
    """What is expected of a unit before its arm is known: the mean of earlier ones, or a regression on a covariate."""

    units: int = 0
    mean: Numbers = 0.0
    covariate_mean: Numbers = 0.0
    covariate_squares: Numbers = 0.0
    products: Numbers = 0.0

    def expected(self, covariate: Numbers | None = None) -> Numbers:
        """The value that is expected, with the covariate's slope if that is given."""
        if covariate is None:
            return self.mean
        known = self.covariate_squares > 0
        slope = self.products * known / (self.covariate_squares + (1 - known))
        return self.mean + slope * (covariate - self.covariate_mean)

    def fold(self, value: Numbers, covariate: Numbers | None = None) -> Baseline:
        """With one unit more; one without a covariate counts as one with the mean of it."""
        units, rest = self.units + 1, value - self.mean
        off = 0.0 if covariate is None else covariate - self.covariate_mean
        return Baseline(
            units,
            self.mean + rest / units,
            self.covariate_mean + off / units,
            self.covariate_squares + off * off * self.units / units,
            self.products + off * rest * self.units / units,
        )


@dataclass(frozen=True, slots=True)
class Contrast(State):
    """Sums over the units of one treatment and the control."""

    units: Numbers = 0.0
    expected_treated: Numbers = 0.0
    weight: Numbers = 0.0
    """Σw: effective units."""
    total: Numbers = 0.0
    """Σwφ."""
    squares: Numbers = 0.0
    products: Numbers = 0.0
    """Σw·wφ."""
    weight_squares: Numbers = 0.0
    alike: Numbers = 0.0
    """Σ of the squares that wφ is expected to have if both arms vary alike: w·4(value − m)²."""
    steepest: Numbers = 0.0
    """The most that one unit's rest was multiplied by."""

    def fold(self, treated: bool | NDArray[np.bool_], here: Numbers, chance: Numbers, rest: Numbers) -> Contrast:
        """With one unit more, or the same where `here`, whether it is in one of the two arms, is 0."""
        weight = here * (4 * chance * (1 - chance))
        outcome = here * 4 * (treated - chance) * rest
        return Contrast(
            self.units + here,
            self.expected_treated + here * chance,
            self.weight + weight,
            self.total + outcome,
            self.squares + outcome * outcome,
            self.products + weight * outcome,
            self.weight_squares + weight * weight,
            self.alike + weight * (4 * rest * rest),
            larger(self.steepest, 4 * larger(chance, 1 - chance) * ((chance > 0) & (chance < 1))),
        )

    def estimate(self) -> Numbers:
        """Σwφ / Σw; 0 without units."""
        return self.total / larger(self.weight, TINY)

    def spread(self, span: float | None) -> Numbers:
        """The variance of one effective unit.

        Of what is measured and what it would be if both arms varied alike it is the larger: a small arm has not met its
        rare, large values yet. At an even split they are the same. Where values have a span, it is as if one unit more
        had strayed by all of it: what never happened yet may happen.
        """
        mean = self.estimate()
        measured = self.squares - 2 * mean * self.products + mean * mean * self.weight_squares
        alike = self.alike - mean * mean * self.weight_squares
        floor = 0.0 if span is None else (self.steepest * span) ** 2
        return (larger(larger(measured, alike), 0.0) + floor) / larger(self.weight, TINY)

    def enough(self, least_units: float, least_expected: float) -> bool | NDArray[np.bool_]:
        """Whether there are enough units of both arms for a normal limit."""
        control = self.units - self.expected_treated
        return (self.units >= least_units) & (self.expected_treated >= least_expected) & (control >= least_expected)


@dataclass(frozen=True, slots=True)
class MeanDifference(State):
    """Differences of means of all arms to the control's; `contrasts` has one for each arm, the control's is empty."""

    control: int
    mixing: float
    span: float | None
    """The most that two values can differ by, where that is known: 1 for a rate."""
    least_units: float
    least_expected: float
    baseline: Baseline
    contrasts: tuple[Contrast, ...]

    @classmethod
    def start(
        cls, arms: int = 2, *, control: int = 0, span: float | None = None, tuned_for: float = TUNED_FOR
    ) -> MeanDifference:
        """Before the first unit. `tuned_for`: effective units after which the sequence is to be narrowest."""
        empty = (Contrast(),) * arms
        return cls(control, mixing_for(tuned_for), span, LEAST_UNITS, LEAST_EXPECTED, Baseline(), empty)

    def fold(
        self, arm: Whole, shares: Sequence[Numbers], value: Numbers, covariate: Numbers | None = None
    ) -> MeanDifference:
        """With one unit more. `shares`: of every arm, when the unit got its arm; they need not sum to 1.

        The first unit only says where values lie. `covariate` must have been known before the arm was.
        """
        contrasts = self.contrasts
        if self.baseline.units:
            rest = value - self.baseline.expected(covariate)
            contrasts = tuple(
                self._contrast(number, one, arm, shares, rest) for number, one in enumerate(self.contrasts)
            )
        return replace(self, baseline=self.baseline.fold(value, covariate), contrasts=contrasts)

    def _contrast(
        self, number: int, before: Contrast, arm: Whole, shares: Sequence[Numbers], rest: Numbers
    ) -> Contrast:
        if number == self.control:
            return before
        treated = arm == number
        here = treated + (arm == self.control) * 1.0
        chance = shares[number] / larger(shares[number] + shares[self.control], TINY)
        return before.fold(treated, here, chance, rest)

    def interval(self, alpha: float, arm: int = 1, *, one_sided: bool = False) -> Interval:
        """Mean of `arm` less that of the control; infinite while there are too few units, or all are the same.

        With `one_sided`, each end alone is wrong with probability alpha at most, not both together.
        """
        contrast = self.contrasts[arm]
        estimate, spread = contrast.estimate(), contrast.spread(self.span)
        bound = radius_one_sided if one_sided else radius
        known = contrast.enough(self.least_units, self.least_expected) & (spread > 0)
        weight = larger(contrast.weight, TINY)
        half = where(known, bound(spread, weight, self.mixing, alpha), math.inf)
        return Interval.of(estimate, estimate - half, estimate + half)

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        """The state that `written` made the document of."""
        parts = {
            "baseline": Baseline.read(document["baseline"]),
            "contrasts": tuple(Contrast.read(one) for one in document["contrasts"]),
        }
        return cls(**{**document, **parts})

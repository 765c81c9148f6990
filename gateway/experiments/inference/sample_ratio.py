"""Whether arms got the units that were planned for them (`SampleRatio`): a sample ratio mismatch makes all else void.

The e-process of M. Lindon and A. Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022 (arXiv
2011.03567): the Dirichlet-multinomial likelihood of the arms over the planned one. Its prior has c = `CONCENTRATION`
times the planned shares. Here shares may change: before each unit, arm a is bet on with

    q(a) ∝ π(a)·(cπ(a) + n(a)) / (cπ(a) + e(a)),    π: shares; n: units that it got; e: units that it should have

which is theirs exactly while shares are constant. Σq = 1, so the product of q/π over units is a martingale as long as
arms get what was planned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.experiments.inference.lanes import TINY, larger, log
from gateway.experiments.inference.values import Numbers, State, Whole, rounded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONCENTRATION = 400.0
"""Best at differences of about 2.5 points from an even split; 5 points are found about as soon."""
ALARM = math.log(100)
"""An alarm is wrong in at most one of 100 experiments, however often one looks."""


@dataclass(frozen=True, slots=True)
class SampleRatio(State):
    """Units of each arm, those that were expected, and the evidence that they do not fit."""

    counts: tuple[Numbers, ...]
    expected: tuple[Numbers, ...]
    log_e: Numbers = 0.0
    peak: Numbers = 0.0
    """The most that `log_e` ever was."""

    @classmethod
    def start(cls, arms: int = 2) -> SampleRatio:
        """Before the first unit."""
        return cls((0.0,) * arms, (0.0,) * arms)

    def fold(self, arm: Whole, shares: Sequence[Numbers]) -> SampleRatio:
        """With one unit more; `shares` of all arms when it got its arm, which sum to 1.

        Raises `ValueError` for a unit of an arm that had no share.
        """
        if isinstance(arm, int) and not shares[arm] > 0:
            raise ValueError(f"a unit is in arm {arm}, whose share was {shares[arm]:g}")
        bets = [
            (CONCENTRATION * share + count) / larger(CONCENTRATION * share + expected, TINY)
            for share, count, expected in zip(shares, self.counts, self.expected, strict=True)
        ]
        mean = sum(share * bet for share, bet in zip(shares, bets, strict=True))
        got = [arm == number for number in range(len(shares))]
        bet = sum(is_it * bet for is_it, bet in zip(got, bets, strict=True))
        log_e = self.log_e + log(bet / mean)
        return replace(
            self,
            counts=tuple(count + is_it for count, is_it in zip(self.counts, got, strict=True)),
            expected=tuple(was + share for was, share in zip(self.expected, shares, strict=True)),
            log_e=log_e,
            peak=larger(self.peak, log_e),
        )

    def alarms(self) -> bool | NDArray[np.bool_]:
        """Whether the evidence has ever been 100 to 1: rounded, so that another machine comes to the same."""
        return rounded(self.peak) >= rounded(ALARM)

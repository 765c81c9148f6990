"""Who wins pairs of answers (`PairWins`), at any time.

Ties are dropped and their rate is told. Over decided pairs the e-process against "each wins half" is the beta-binomial
likelihood ratio with the prior Beta(a, a): E = B(a + wins, a + losses) / B(a, a) / 0.5^n. The confidence sequence of
the rate is all rates against which the same mixture has less evidence than 1/alpha: H. Robbins, Annals of
Mathematical Statistics 41, 1970; S. R. Howard et al., Annals of Statistics 49, 2021 (arXiv 1810.08240).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.experiments.inference.lanes import TINY, larger, log
from gateway.experiments.inference.values import Interval, Numbers, State, Whole, rounded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PRIOR = 20.0
"""The a of Beta(a, a): best at rates of about 60 %."""
HALVINGS = 50


@dataclass(frozen=True, slots=True)
class PairWins(State):
    """Pairs that B won, those that A won, ties, and the evidence that B does not win half of the decided ones."""

    wins: Numbers = 0.0
    losses: Numbers = 0.0
    ties: Numbers = 0.0
    log_e: Numbers = 0.0
    peak: Numbers = 0.0
    """The most that `log_e` ever was."""

    @classmethod
    def start(cls) -> PairWins:
        """Before the first pair."""
        return cls()

    def fold(self, winner: Whole) -> PairWins:
        """With one pair more: 1 if B won it, -1 if A did, 0 for a tie."""
        won, lost = (winner == 1) * 1.0, (winner == -1) * 1.0
        tied = 1 - won - lost
        half = PRIOR + (self.wins + self.losses) / 2
        log_e = self.log_e + log((won * (PRIOR + self.wins) + lost * (PRIOR + self.losses)) / half + tied)
        peak = larger(self.peak, log_e)
        return PairWins(self.wins + won, self.losses + lost, self.ties + tied, log_e, peak)

    def decided(self, alpha: float) -> bool | NDArray[np.bool_]:
        """Whether one of them was better at any time so far; wrong with probability alpha at most."""
        return rounded(self.peak) >= rounded(-math.log(alpha))

    def interval(self, alpha: float) -> Interval:
        """The rate at which B wins decided pairs, as a confidence sequence; from 0 to 1 without any."""
        decided = self.wins + self.losses
        rate = (self.wins + 0.5 * (decided == 0)) / larger(decided, 1.0)
        mixture = self.log_e - decided * math.log(2) + math.log(alpha)
        low, high = (self._end(end + 0.0 * rate, rate, mixture) for end in (0.0, 1.0))
        return Interval.of(rate, low, high)

    def _end(self, out: Numbers, inside: Numbers, mixture: Numbers) -> Numbers:
        """Where, between an end of [0, 1] and the rate itself, the evidence is 1/alpha."""
        for _ in range(HALVINGS):
            middle = (out + inside) / 2
            likelihood = self.wins * log(larger(middle, TINY)) + self.losses * log(larger(1 - middle, TINY))
            excluded = mixture >= likelihood
            out, inside = out + (middle - out) * excluded, middle + (inside - middle) * excluded
        return out

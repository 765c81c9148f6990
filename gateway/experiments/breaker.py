"""Failures that come too often on a treatment to be chance: found at once, before anything else is known of it.

Of the units that fail, the first failure of each counts. While treatment and control are equally good, such a failure
is the treatment's with the probability `share`: its part of the two arms' weights at that moment. A treatment that
fails `r` times as often has `q = r·share / (r·share + 1 − share)` instead. The product of `q / share` over failures of
the treatment and `(1 − q) / (1 − share)` over those of the control is a likelihood ratio, and so is its mean over a few
`r`: while nothing is wrong it ever reaches `1 / FALSE_ALARM` with a probability of `FALSE_ALARM` at most (Ville's
inequality), however often it is looked at, whatever the error rate of both, and through every change of weights.
An outage of both arms moves it by chance alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

RATE_RATIOS = (2.0, 5.0, 20.0)
"""How many times as often a broken treatment fails. Small ones find it by many failures, large ones by a handful."""
FALSE_ALARM = 1e-4
"""The most that the chance of a false alarm may be, over the whole life of an experiment and all of its treatments."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of one treatment's failures against the control's."""

    logs: tuple[float, ...] = (0.0,) * len(RATE_RATIOS)
    """Logarithm of the likelihood ratio for each of `RATE_RATIOS`."""
    candidate: int = 0
    """Units of the treatment whose first failure came while both arms had weight. What is stored of running experiments
    has this name, and so has the log.
    """
    control: int = 0
    """The same of the control."""

    def failed(self, of_treatment: bool, share: float) -> Breaker:
        """After one more unit has failed. A failure while one of the two arms had no weight tells nothing."""
        if not 0.0 < share < 1.0:
            return self
        logs = []
        for log, ratio in zip(self.logs, RATE_RATIOS, strict=True):
            q = ratio * share / (ratio * share + 1.0 - share)
            logs.append(log + (math.log(q / share) if of_treatment else math.log((1.0 - q) / (1.0 - share))))
        return Breaker(tuple(logs), self.candidate + of_treatment, self.control + (not of_treatment))

    @property
    def log_e(self) -> float:
        """Logarithm of the evidence that the treatment is broken."""
        most = max(self.logs)
        return most + math.log(sum(math.exp(log - most) for log in self.logs) / len(self.logs))

    @property
    def fails_more(self) -> bool:
        """Whether the treatment has failed more units than the control: enough to act on where a unit is a window of
        time (`registry.experiments.failing`), of which there are too few for evidence before harm is done. It is the
        treatment too that pays for an outage of all engines in its window alone.
        """
        return self.candidate > self.control

    def is_open(self, treatments: int) -> bool:
        """Whether the treatment must have no more traffic, one of so many."""
        return self.log_e >= acts_at(treatments)


def acts_at(treatments: int) -> float:
    """Logarithm of the evidence that opens the breaker of one of so many treatments."""
    return math.log(treatments / FALSE_ALARM)

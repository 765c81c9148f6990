"""How many tokens a baseline counts for each of ours, from prompts that both were asked. Pure; loads numpy.

    ratio = tokens of the baseline / tokens of ours, of all prompts together

Its interval holds at all times at once, so that one may stop as soon as it is tight: the asymptotic confidence sequence
of the influences (baseline - ratio · ours) / mean of ours (delta method; I. Waudby-Smith et al., arXiv 2103.06476).
Both ratios, of prompts and of answers, are within theirs with 95 % together. A conversation counts once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from gateway.experiments.inference.boundary import mixing_for, radius
from registry.calibrations.store import Ratio

ALPHA = 0.05 / 2
"""Of each of the two ratios."""
LEAST_PAIRS = 30
"""Before which an interval cannot be relied on, and nothing is stopped."""
TUNED_FOR = 200
"""Conversations after which the interval is about narrowest."""
Stopped = Literal["tight", "budget", "prompts"]
DIGITS = 6


@dataclass(frozen=True, slots=True)
class TokenSums:
    """What is known of one ratio: sums over conversations."""

    number: int = 0
    own: int = 0
    other: int = 0
    own_squared: int = 0
    both: int = 0
    other_squared: int = 0

    def fold(self, own: int, other: int) -> TokenSums:
        """With one conversation more."""
        return TokenSums(
            self.number + 1,
            self.own + own,
            self.other + other,
            self.own_squared + own * own,
            self.both + own * other,
            self.other_squared + other * other,
        )

    @property
    def ratio(self) -> float | None:
        """`None` without a token of ours."""
        return self.other / self.own if self.own else None

    def interval(self) -> tuple[float, float] | None:
        """In which the ratio is; `None` before enough is known."""
        ratio = self.ratio
        if ratio is None or self.number < LEAST_PAIRS:
            return None
        residual = self.other_squared - 2 * ratio * self.both + ratio**2 * self.own_squared
        spread = max(0.0, residual / self.number) / (self.own / self.number) ** 2
        half = float(radius(spread, float(self.number), mixing_for(TUNED_FOR), ALPHA))
        return max(0.0, ratio - half), ratio + half

    def is_tight(self, within: float) -> bool:
        """Whether half of the interval is at most that part of the ratio."""
        found, ratio = self.interval(), self.ratio
        return found is not None and bool(ratio) and (found[1] - found[0]) / 2 <= within * (ratio or math.inf)

    def told(self) -> Ratio | None:
        """As it is stored."""
        found, ratio = self.interval(), self.ratio
        if found is None or ratio is None:
            return None
        return Ratio(*(f"{one:.{DIGITS}f}" for one in (ratio, *found)))


@dataclass(frozen=True, slots=True)
class Calibrating:
    """A calibration that is under way."""

    tight: float
    budget_nano: int
    prompt: TokenSums = TokenSums()
    completion: TokenSums = TokenSums()
    spent_nano: int = 0

    def fold(self, own: tuple[int, int], other: tuple[int, int], nano: int) -> Calibrating:
        """With one conversation more: tokens of prompts and answers, and what the baseline takes for it."""
        return replace(
            self,
            prompt=self.prompt.fold(own[0], other[0]),
            completion=self.completion.fold(own[1], other[1]),
            spent_nano=self.spent_nano + nano,
        )

    @property
    def stops(self) -> Stopped | None:
        """Why it ends now; `None`: it goes on."""
        if self.prompt.is_tight(self.tight) and self.completion.is_tight(self.tight):
            return "tight"
        return "budget" if self.spent_nano >= self.budget_nano else None

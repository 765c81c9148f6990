"""Whose answers are preferred, of pairs that a judge or people have compared, and how sure that is. Knows no numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway.experiments.inference.pairs import PairWins
from registry.wilson import wilson

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Preference:
    """Conversations that B wins, that A wins, and ties; the share of decided ones that B wins.

    `low` to `high` holds at any time, however often one looks; `wilson_low` to `wilson_high` only for a number of
    pairs that was fixed before, None without a decided pair. `evidence` is the e-value against "each wins half";
    `decided_after` how many conversations it took until that was 1/alpha, None if it never was.
    """

    b_wins: int
    a_wins: int
    ties: int
    share: float
    low: float
    high: float
    wilson_low: float | None
    wilson_high: float | None
    evidence: float
    decided_after: int | None
    text: str

    @property
    def units(self) -> int:
        """Conversations of which something is known."""
        return self.b_wins + self.a_wins + self.ties


class Standing:
    """What is known of a preference while conversations come in, each once, in an order that has nothing to do with
    them.
    """

    def __init__(self) -> None:
        self._state = PairWins.start()
        self._units = 0
        self._decided_after: int | None = None

    def take(self, winner: int) -> None:
        """One more: 1 if B won it, -1 if A did, 0 for a tie."""
        self._state = self._state.fold(winner)
        self._units += 1
        if self._decided_after is None and self._state.decided(ALPHA):
            self._decided_after = self._units

    @property
    def is_decided(self) -> bool:
        """Whether one is certainly preferred; wrong in one comparison of twenty at most, however often it is asked."""
        return self._decided_after is not None

    @property
    def preference(self) -> Preference:
        """Until now."""
        state = self._state
        wins, losses, ties = (int(number) for number in (state.wins, state.losses, state.ties))
        found = state.interval(ALPHA)
        share, low, high = float(found.estimate), float(found.low), float(found.high)
        fixed_low, fixed_high = wilson(wins, wins + losses) if wins + losses else (None, None)
        return Preference(
            wins,
            losses,
            ties,
            share,
            low,
            high,
            fixed_low,
            fixed_high,
            math.exp(min(float(state.log_e), 700.0)),
            self._decided_after,
            _words(wins, losses, ties, low, high),
        )


def _words(wins: int, losses: int, ties: int, low: float, high: float) -> str:
    """As a product manager reads it."""
    if wins + losses == 0:
        return "neither is preferred: all pairs are ties" if ties else "nothing is known of any pair"
    of = "pairs that are no ties" if ties else "pairs"
    if low > 0.5:
        return f"B is preferred in {_range(low, high)} of {of} (95 %, any time)"
    if high < 0.5:
        return f"A is preferred in {_range(1 - high, 1 - low)} of {of} (95 %, any time)"
    return f"neither is certainly preferred: B wins {_range(low, high)} of {of} (95 %, any time)"


def _range(low: float, high: float) -> str:
    return f"{_percent(low)} to {_percent(high)} %"


def _percent(share: float) -> str:
    """Whole percents, but for what would round to a half that it is not."""
    whole = f"{100 * share:.0f}"
    return f"{100 * share:.1f}" if whole == "50" and share != 0.5 else whole

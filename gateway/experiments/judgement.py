"""What a judge made of pairs of answers: who wins them (`PairWins`), and whether it prefers the answer shown first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.experiments.inference.pairs import PairWins
from gateway.experiments.inference.values import Interval
from gateway.experiments.inference.verdicts import Verdict, preference

CANDIDATE, CONTROL, TIE = "candidate", "control", "tie"
WINNERS: Mapping[tuple[str, str], int] = {(CANDIDATE, CANDIDATE): 1, (CONTROL, CONTROL): -1}
"""What was said in both orders → who has won; all else is a tie."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of one treatment against the control."""

    pairs: PairWins = field(default_factory=PairWins)
    preferences: int = 0
    """Answers that were preferred to the other: two of a pair at most, as it is shown in both orders."""
    first: int = 0
    """Of these, those that were shown first: half of them, by a judge without a bias."""

    def fold(self, words: str) -> Judgement:
        """With one pair more: whom the judge preferred with the candidate's answer first, and with the control's."""
        candidate_first, control_first = words.split(" ")
        said = [(candidate_first, CANDIDATE), (control_first, CONTROL)]
        decided = [word == first for word, first in said if word != TIE]
        winner = WINNERS.get((candidate_first, control_first), 0)
        return Judgement(self.pairs.fold(winner), self.preferences + len(decided), self.first + sum(decided))

    def interval(self, alpha: float) -> Interval:
        """The share of decided pairs that the treatment wins less one half; without ends while there is none."""
        if not self.pairs.wins + self.pairs.losses:
            return Interval(0.0, float("-inf"), float("inf"))
        found = self.pairs.interval(alpha)
        return Interval.of(found.estimate - 0.5, found.low - 0.5, found.high - 0.5)

    def verdict(self, alpha: float, margin: float, arm: str) -> Verdict:
        """In words: with ties, and with what the judge thinks of the first place."""
        won, lost, ties = (int(one) for one in (self.pairs.wins, self.pairs.losses, self.pairs.ties))
        tally = f"{won} won, {lost} lost, {ties} ties"
        if self.preferences:
            tally += f"; the answer shown first was preferred in {100 * self.first / self.preferences:.0f} %"
        return preference(self.interval(alpha), margin, alpha, arm, tally)

    def written(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Judgement:
        """What `written` made."""
        return cls(PairWins.read(document["pairs"]), document["preferences"], document["first"])

"""Who won: by a judge or by people, pair by pair, and each conversation once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from registry.votes.store import Side, Winner
from trainer.evaluation.judge import PairVerdict
from trainer.pairwise.pairs import Pair


@dataclass(frozen=True, slots=True)
class Won:
    """A pair, who won it, and who says so. None: a judge's answer could not be read, or nobody has voted on it."""

    pair: Pair
    winner: Winner | None
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """Pairs by who won them; `unknown` are those of which nothing was said that can be read.

    `longer_won` is the share of decided pairs that the longer text won; None without any whose lengths differ.
    """

    a: int
    b: int
    ties: int
    unknown: int
    longer_won: float | None

    @property
    def pairs(self) -> int:
        """Of which something was said."""
        return self.a + self.b + self.ties


def by_judge(verdict: PairVerdict) -> Winner | None:
    """Who won in both orders."""
    if not verdict.is_readable:
        return None
    names: dict[str, Winner] = {"incumbent": "a", "candidate": "b", "tie": "tie"}
    return names[verdict.winner]


def counts_of(won: Sequence[Won]) -> Counts:
    """The sums."""
    counts = Counter(one.winner for one in won)
    unequal = [_longer(one.pair) == one.winner for one in won if one.winner in ("a", "b") and _longer(one.pair)]
    longer = sum(unequal) / len(unequal) if unequal else None
    return Counts(counts["a"], counts["b"], counts["tie"], counts[None], longer)


def unit_winner(won: Iterable[Won]) -> int | None:
    """Of the pairs of one conversation: 1 if B won more of them than A, -1 if fewer, 0 if as many; None if nothing is
    known of any.
    """
    known = [one.winner for one in won if one.winner is not None]
    if not known:
        return None
    lead = known.count("b") - known.count("a")
    return (lead > 0) - (lead < 0)


def _longer(pair: Pair) -> Side | None:
    a, b = len(pair.text("a")), len(pair.text("b"))
    return None if a == b else "a" if a > b else "b"

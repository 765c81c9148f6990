"""Whom those who judge prefer together, and how far they agree, beyond what chance would make them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from registry.votes.store import Winner


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of these judges on the `pairs` that all of them have judged: the share on which two of them say the same, and
    kappa, 1 for all and 0 for what chance gives; None where they only ever say one thing.
    """

    judges: tuple[str, ...]
    pairs: int
    share: float
    kappa: float | None


def by_majority(votes: Iterable[Winner]) -> Winner | None:
    """Whom more people prefer; a tie if as many prefer either; None without a vote."""
    counts = Counter(votes)
    if not counts:
        return None
    return "a" if counts["a"] > counts["b"] else "b" if counts["b"] > counts["a"] else "tie"


def agreements(said: Mapping[str, Mapping[str, Winner]]) -> list[Agreement]:
    """`said` has, by judge, who won by pair. Of each two who share pairs, and of all if they are three or more."""
    judges = sorted(said)
    found = []
    for group in [*combinations(judges, 2), *([tuple(judges)] if len(judges) > 2 else [])]:
        both = sorted(set.intersection(*(set(said[judge]) for judge in group)))
        if both:
            rows = [[said[judge][pair] for judge in group] for pair in both]
            kappa = cohen if len(group) == 2 else fleiss
            found.append(Agreement(group, len(both), _observed(rows), kappa(rows)))
    return found


def cohen(rows: Sequence[Sequence[Winner]]) -> float | None:
    """Kappa of two: (observed - expected) / (1 - expected), expected from each one's own shares (J. Cohen, "A
    coefficient of agreement for nominal scales", Educational and Psychological Measurement 20, 1960). A row is a pair.
    """
    shares = [Counter(row[at] for row in rows) for at in (0, 1)]
    expected = sum(shares[0][name] * shares[1][name] for name in shares[0]) / len(rows) ** 2
    return _kappa(_observed(rows), expected)


def fleiss(rows: Sequence[Sequence[Winner]]) -> float | None:
    """Kappa of three or more, expected from the shares of all together (J. L. Fleiss, "Measuring nominal scale
    agreement among many raters", Psychological Bulletin 76, 1971). A row is a pair, with a verdict of each.
    """
    counts = Counter(verdict for row in rows for verdict in row)
    total = sum(counts.values())
    return _kappa(_observed(rows), sum((count / total) ** 2 for count in counts.values()))


def _observed(rows: Sequence[Sequence[Winner]]) -> float:
    """The share of two judges' verdicts on a pair that are the same, over all twos and pairs."""
    same = [one == other for row in rows for one, other in combinations(row, 2)]
    return sum(same) / len(same)


def _kappa(observed: float, expected: float) -> float | None:
    return None if expected >= 1 else (observed - expected) / (1 - expected)

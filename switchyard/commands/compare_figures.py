"""How sure it is whose answers are preferred, and the evaluation matrix of a comparison."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import mean, median, quantiles

from gateway.experiments.inference.pairs import PairWins, wilson
from trainer.errors import EvaluationError
from trainer.evaluation.items import Item, item_of
from trainer.evaluation.metrics import Metric, metric_named
from trainer.evaluation.rows import EvaluationSet
from trainer.pairwise.pairs import Comparison, Pair, Side
from trainer.pairwise.winners import Won, unit_winner

ALPHA = 0.05
PREFERENCE = "preference"
THOUSAND, MILLION = 1_000, 1_000_000


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
        fixed = wilson(wins, wins + losses) if wins + losses else None
        return Preference(
            wins,
            losses,
            ties,
            share,
            low,
            high,
            None if fixed is None else float(fixed.low),
            None if fixed is None else float(fixed.high),
            math.exp(min(float(state.log_e), 700.0)),
            self._decided_after,
            _words(wins, losses, ties, low, high),
        )


def standing_of(won: Sequence[Won]) -> Standing:
    """Of pairs in the seed's order, in which those of a conversation stand together."""
    found = Standing()
    for _, pairs in groupby(won, key=lambda one: one.pair.row.unit):
        winner = unit_winner(pairs)
        if winner is not None:
            found.take(winner)
    return found


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


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one side's answers. Tokens are as the endpoint counts them, None where it does not; dollars are of a thousand
    answers, None without a price.
    """

    median_s: float
    p95_s: float
    characters: float
    tokens: float | None
    dollars: float | None
    cut: int


def cost_of(pairs: Sequence[Pair], side: Side, dollars: tuple[float, float] | None) -> Cost:
    """Of at least one pair."""
    replies = [pair.a if side == "a" else pair.b for pair in pairs]
    taken = [reply.latency_s for reply in replies]
    p95_s = quantiles(taken, n=20, method="inclusive")[-1] if len(taken) > 1 else taken[0]
    counted = all(reply.prompt_tokens for reply in replies)
    tokens = mean(reply.answer_tokens for reply in replies) if counted else None
    price = None
    if dollars is not None and tokens is not None:
        read = mean(reply.prompt_tokens for reply in replies)
        price = THOUSAND * (read * dollars[0] + tokens * dollars[1]) / MILLION
    characters = mean(len(reply.text) for reply in replies)
    return Cost(median(taken), p95_s, characters, tokens, price, sum(not reply.ended for reply in replies))


def metrics_for(names: Sequence[str], data: EvaluationSet) -> tuple[Metric, ...]:
    """Those that are asked for, else those that right answers allow. Raises EvaluationError for one of no answers."""
    found = tuple(map(metric_named, names or _usual(data)))
    wrong = next((metric.name for metric in found if metric.family == "likelihood"), None)
    if wrong is not None:
        raise EvaluationError(f"metric is {wrong!r}, which is of versions alone; `switchyard evaluate` measures it")
    return found


def _usual(data: EvaluationSet) -> Iterator[str]:
    references = [row.reference for row in data.rows if row.reference is not None]
    if references:
        yield from ("label_exact", "rouge_l")
        if all(map(_is_document, references)):
            yield "json_exact"


def _is_document(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def items_of(
    pairs: Sequence[Pair], preference: Preference | None, metrics: Sequence[Metric]
) -> tuple[list[Item], dict[str, str]]:
    """Lines of the matrix, A in the incumbent's place and B in the candidate's; and why one of them is not there."""
    asked = [pair.asked for pair in pairs]
    items: list[Item] = []
    missing: dict[str, str] = {}
    for metric in metrics:
        found = item_of(metric, asked)
        if isinstance(found, Item):
            items.append(found)
        else:
            missing[metric.name] = found
    if preference is not None and preference.units:
        items.append(_preference_item(preference))
    return items, missing


def _preference_item(found: Preference) -> Item:
    """Shares of conversations that each side wins. The interval of their difference is the sequence, of the share of
    decided ones that there are: so it says "better" exactly if the sequence does, however often one looks.
    """
    a, b = found.a_wins / found.units, found.b_wins / found.units
    low, high = ((a + b) * (2 * end - 1) for end in (found.low, found.high))
    return Item(PREFERENCE, a, b, b - a, low, high, None, found.units, found.units)


def title_of(comparison: Comparison) -> str:
    """Of its picture."""
    return f"{comparison.b.model} (B) against {comparison.a.model} (A)"

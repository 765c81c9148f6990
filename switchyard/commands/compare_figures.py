"""How sure it is whose answers are preferred, and the evaluation matrix of a comparison."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import mean, median, quantiles

from gateway.experiments.preference import Preference, Standing
from registry.votes.store import Side
from trainer.errors import EvaluationError
from trainer.evaluation.items import Item, item_of
from trainer.evaluation.metrics import Metric, metric_named
from trainer.evaluation.rows import EvaluationSet
from trainer.pairwise.pairs import Comparison, Pair
from trainer.pairwise.winners import Won, unit_winner

PREFERENCE = "preference"
THOUSAND, MILLION = 1_000, 1_000_000


def standing_of(won: Sequence[Won]) -> Standing:
    """Of pairs in the seed's order, in which those of a conversation stand together."""
    found = Standing()
    for _, pairs in groupby(won, key=lambda one: one.pair.row.unit):
        winner = unit_winner(pairs)
        if winner is not None:
            found.take(winner)
    return found


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
    decided ones that there are: so it says "better" exactly if the sequence does, however often one looks. Of ties
    alone there is none: nothing times anything would be a difference of 0, for certain.
    """
    a, b = found.a_wins / found.units, found.b_wins / found.units
    if a + b == 0:
        return Item(PREFERENCE, a, b, b - a, None, None, None, found.units, found.units)
    low, high = ((a + b) * (2 * end - 1) for end in (found.low, found.high))
    return Item(PREFERENCE, a, b, b - a, low, high, None, found.units, found.units)


def title_of(comparison: Comparison) -> str:
    """Of its picture."""
    return f"{comparison.b.model} (B) against {comparison.a.model} (A)"

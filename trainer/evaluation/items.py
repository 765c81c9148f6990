"""What was asked of two models, and one line of the evaluation matrix for each metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.verdicts import Word
from trainer.endpoints.client import Reply
from trainer.evaluation.asking import Likelihood
from trainer.evaluation.metrics import Metric, label_of
from trainer.evaluation.paired import PairedDifference, Sums, of_right_and_wrong, of_sums
from trainer.evaluation.rows import EvaluationRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainer.evaluation.paired import Numbers

MAX_LABELS = 100
"""Distinct references that can be labels."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One row with both answers, the incumbent's first. `likelihoods` are of the reference, where they were had."""

    row: EvaluationRow
    replies: tuple[Reply, Reply]
    likelihoods: tuple[Likelihood, Likelihood] | None


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the matrix. `improvement` is positive where the candidate is better, also of what should be low.

    `low` and `high` are the ends of its 95 % interval, None where there are too few units for one; `p` is of an exact
    test, where there is one. `units` are conversations, `rows` answers.
    """

    metric: str
    incumbent: float
    candidate: float
    improvement: float
    low: float | None
    high: float | None
    p: float | None
    units: int
    rows: int

    @property
    def word(self) -> Word:
        """What the interval says of the candidate."""
        if self.low is None or self.high is None:
            return "too_few_units"
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "undecided"


def item_of(metric: Metric, asked: Sequence[Asked]) -> Item | str:
    """The metric over these rows, or why there is none."""
    rows = [one for one in asked if one.row.reference is not None or not metric.needs_reference]
    if not rows:
        return "no row has a reference"
    if metric.family == "likelihood":
        return _of_likelihoods(metric, rows)
    if metric.family == "labels":
        return _of_labels(metric, rows)
    first, second = ([score_of(metric, one, side) for one in rows] for side in (0, 1))
    units = [one.row.unit for one in rows]
    return item_of_scores(metric.name, units, first, second, span=None if metric.is_right_or_wrong else 1.0)


def item_of_scores(
    name: str, units: Sequence[str], first: Sequence[float], second: Sequence[float], *, span: float | None
) -> Item:
    """Of a score for each answer of both sides, more being better. `span` is the most that two scores can differ by;
    None of answers that are right (1) or wrong (0).
    """
    if span is None and len(set(units)) == len(units):
        pair = of_right_and_wrong([score == 1 for score in first], [score == 1 for score in second])
    else:
        pair = of_sums(_means(units, first, second, span or 1.0))
    return _item(name, units, pair)


def score_of(metric: Metric, one: Asked, side: int) -> float:
    """Of one side's answer to a row."""
    assert metric.score is not None
    return float(metric.score(one.replies[side].text, one.row.reference or ""))


def _item(name: str, units: Sequence[str], pair: PairedDifference, *, lower_is_better: bool = False) -> Item:
    low, high = pair.low, pair.high
    if lower_is_better and low is not None and high is not None:
        low, high = -high, -low
    return Item(
        name,
        pair.first,
        pair.second,
        -pair.difference if lower_is_better else pair.difference,
        low,
        high,
        pair.p,
        len(set(units)),
        len(units),
    )


def _means(units: Sequence[str], one: Sequence[float], other: Sequence[float], span: float) -> Sums:
    """Of scores: a unit's is the mean of its answers', so that long conversations count no more than short ones."""
    import numpy as np

    at = _unit_of_each(units)
    sizes = np.bincount(at).astype(np.float64)
    ones = np.ones(len(sizes))
    first, second = (np.stack((np.bincount(at, weights=list(side)) / sizes, ones), 1) for side in (one, other))
    return Sums(first, second, _ratio, span)


def _of_likelihoods(metric: Metric, rows: Sequence[Asked]) -> Item | str:
    """Loss in nats a token over all tokens, or its exponential."""
    import numpy as np

    scored = [one for one in rows if one.likelihoods is not None]
    if not scored:
        return "no log-probabilities of prompts were had"
    units = [one.row.unit for one in scored]
    at = _unit_of_each(units)
    sides: list[Numbers] = []
    for side in (0, 1):
        found = [one.likelihoods[side] for one in scored if one.likelihoods is not None]
        nats, tokens = [-one.logprob for one in found], [float(one.tokens) for one in found]
        sides.append(np.stack((np.bincount(at, weights=nats), np.bincount(at, weights=tokens)), 1).astype(float))

    def of(sums: Numbers) -> Numbers:
        loss = _ratio(sums)
        return np.exp(loss) if metric.name == "perplexity" else loss

    return _item(metric.name, units, of_sums(Sums(sides[0], sides[1], of)), lower_is_better=metric.lower_is_better)


def _of_labels(metric: Metric, rows: Sequence[Asked]) -> Item | str:
    """Macro F1: the mean over labels of 2 tp / (2 tp + fp + fn). An answer that names none of them is a miss of its
    row's label, and a false find of no other.
    """
    import numpy as np

    labels = sorted({label_of(one.row.reference or "") for one in rows})
    if len(labels) > MAX_LABELS:
        return f"the references are {len(labels)} different texts; labels are {MAX_LABELS} at most"
    place = {label: at for at, label in enumerate(labels)}
    units = [one.row.unit for one in rows]
    at, k = _unit_of_each(units), len(labels)
    sides = [np.zeros((int(at.max()) + 1, 3 * k)) for _ in (0, 1)]
    for unit, one in zip(at, rows, strict=True):
        right = place[label_of(one.row.reference or "")]
        for side, reply in zip(sides, one.replies, strict=True):
            said = place.get(label_of(reply.text))
            if said == right:
                side[unit, right] += 1
                continue
            side[unit, 2 * k + right] += 1
            if said is not None:
                side[unit, k + said] += 1

    def macro_f1(sums: Numbers) -> Numbers:
        found, false, missed = sums[..., :k], sums[..., k : 2 * k], sums[..., 2 * k :]
        whole = 2 * found + false + missed
        there = whole > 0  # a resample may lack a label
        scores: Numbers = 2 * found / np.where(there, whole, 1)
        return np.asarray(scores.sum(axis=-1) / np.maximum(there.sum(axis=-1), 1))

    return _item(metric.name, units, of_sums(Sums(sides[0], sides[1], macro_f1, span=1.0)))


def _unit_of_each(units: Sequence[str]) -> NDArray[np.int64]:
    """Each row's unit as a number from 0."""
    import numpy as np

    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(unit, len(numbers)) for unit in units])


def _ratio(sums: Numbers) -> Numbers:
    return sums[..., 0] / sums[..., 1]

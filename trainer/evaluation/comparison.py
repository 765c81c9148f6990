"""Every held-out row is asked of the candidate and of the incumbent, side by side, and the answers are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from statistics import median, quantiles
from typing import Any

from trainer.errors import EvaluationError
from trainer.evaluation.asking import Asker, Likelihood, NoLikelihood
from trainer.evaluation.items import Asked, Item, item_of, score_of
from trainer.evaluation.metrics import Metric, label_of
from trainer.evaluation.rows import EvaluationRow, EvaluationSet, text_of

HEADROOM_TOKENS = 8
"""More than the longest reference, at least: an answer that goes on after it is wrong, and is shown to."""
WITHOUT_REFERENCE_TOKENS = 512
LONGEST_REFERENCES = 8
"""Whose tokens are counted: those with the most bytes."""
MAX_SLICE_VALUES = 20
MAX_SHOWN = 5
MAX_SHOWN_CHARACTERS = 200
LENGTH, LABEL = "length", "label"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two. `model` is the name it is asked by; `digest` is its manifest's, None of a base."""

    model: str
    digest: str | None
    base_digest: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be compared. `max_tokens` None: as long as the longest reference, and a quarter more."""

    candidate: Side
    incumbent: Side
    data: EvaluationSet
    metrics: tuple[Metric, ...]
    slices: tuple[str, ...] = ()
    max_tokens: int | None = None
    at_once: int = 4


@dataclass(frozen=True, slots=True)
class SliceItem:
    """A metric over the rows whose `field` has this value. There are many of them, so a few differ by chance alone."""

    field: str
    value: str
    item: Item


@dataclass(frozen=True, slots=True)
class Latency:
    """How long answers took, in seconds, as the client saw it."""

    median_s: float
    p95_s: float


@dataclass(frozen=True, slots=True)
class Lost:
    """A row that the incumbent answers rightly and the candidate does not; texts are shortened."""

    line: int
    prompt: str
    expected: str | None
    incumbent: str
    candidate: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Candidate against incumbent. Pairs have the incumbent's first.

    `not_measured` says of a metric why it is not in `items`. `cut` counts answers that had not ended at `max_tokens`.
    """

    candidate: Side
    incumbent: Side
    data: EvaluationSet
    max_tokens: int
    items: tuple[Item, ...]
    not_measured: dict[str, str]
    slices: tuple[SliceItem, ...]
    latency: tuple[Latency, Latency]
    cut: tuple[int, int]
    lost: tuple[Lost, ...]


def compare(wanted: Wanted, ask: Asker, told: Callable[[int, int], object] = lambda done, total: None) -> Evaluation:
    """Ask every row of both. `told` hears how many rows of how many are done. Raises EvaluationError."""
    if not wanted.data.rows:
        raise EvaluationError(f"{wanted.data.name} has no row")
    sides = (wanted.incumbent, wanted.candidate)
    for side in sides:  # the first question loads an adapter, and its time is not the answers'
        ask.answer(side.model, wanted.data.rows[0], 1)
    max_tokens = wanted.max_tokens or _most_tokens(wanted, ask)
    asked, why = _all_asked(wanted, ask, max_tokens, told)
    items, not_measured = [], {}
    for metric in wanted.metrics:
        found = item_of(metric, asked)
        if isinstance(found, Item):
            items.append(found)
        else:
            not_measured[metric.name] = why if metric.family == "likelihood" and why else found
    return Evaluation(
        wanted.candidate,
        wanted.incumbent,
        wanted.data,
        max_tokens,
        tuple(items),
        not_measured,
        tuple(_sliced(wanted, asked)),
        (_latency(asked, 0), _latency(asked, 1)),
        (_cut(asked, 0), _cut(asked, 1)),
        tuple(islice(_lost(wanted.metrics, asked), MAX_SHOWN)),
    )


def _most_tokens(wanted: Wanted, ask: Asker) -> int:
    references = sorted(
        {row.reference for row in wanted.data.rows if row.reference}, key=lambda one: -len(one.encode())
    )
    if not references:
        return WITHOUT_REFERENCE_TOKENS
    longest = max(ask.count(wanted.candidate.model, one) for one in references[:LONGEST_REFERENCES])
    return longest + max(HEADROOM_TOKENS, longest // 4)


def _all_asked(
    wanted: Wanted, ask: Asker, max_tokens: int, told: Callable[[int, int], object]
) -> tuple[list[Asked], str]:
    """Every row with both answers, in the order of the file; and why no likelihood was had, if one was wanted."""
    scores = any(metric.family == "likelihood" for metric in wanted.metrics)
    why = ""
    if scores and wanted.candidate.base_digest != wanted.incumbent.base_digest:
        scores, why = False, "the two are on different bases, whose tokens are not the same"
    if scores:
        first = wanted.data.rows[0]
        try:
            ask.likelihood(wanted.candidate.model, first, first.reference or "a")
        except NoLikelihood as failed:
            scores, why = False, str(failed)
    total = len(wanted.data.rows)
    asked: list[Asked] = []
    with ThreadPoolExecutor(wanted.at_once, "evaluate") as pool:
        turns = enumerate(wanted.data.rows)
        try:
            for one in pool.map(lambda turn: _ask(wanted, ask, turn[0], turn[1], max_tokens, scores), turns):
                asked.append(one)
                told(len(asked), total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return asked, why


def _ask(wanted: Wanted, ask: Asker, turn: int, row: EvaluationRow, max_tokens: int, scores: bool) -> Asked:
    """Who is asked first changes with every row, so that neither finds the engine warmer."""
    models = (wanted.incumbent.model, wanted.candidate.model)
    order = (0, 1) if turn % 2 == 0 else (1, 0)
    replies = {side: ask.answer(models[side], row, max_tokens) for side in order}
    likelihoods: tuple[Likelihood, Likelihood] | None = None
    if scores and row.reference:
        found = [ask.likelihood(model, row, row.reference) for model in models]
        likelihoods = found[0], found[1]
    return Asked(row, (replies[0], replies[1]), likelihoods)


def _latency(asked: Sequence[Asked], side: int) -> Latency:
    taken = [one.replies[side].latency_s for one in asked]
    return Latency(median(taken), quantiles(taken, n=20, method="inclusive")[-1] if len(taken) > 1 else taken[0])


def _cut(asked: Sequence[Asked], side: int) -> int:
    return sum(not one.replies[side].ended for one in asked)


def _sliced(wanted: Wanted, asked: Sequence[Asked]) -> Iterator[SliceItem]:
    for field in wanted.slices:
        values = _values(field, asked)
        common = [value for value, _ in Counter(values).most_common(MAX_SLICE_VALUES)]
        for value in sorted(common):
            rows = [one for one, own in zip(asked, values, strict=True) if own == value]
            for metric in wanted.metrics:
                found = item_of(metric, rows)
                if isinstance(found, Item):
                    yield SliceItem(field, value, found)


def _values(field: str, asked: Sequence[Asked]) -> list[str]:
    """Of each row: its label, whether its prompt is short, or what its line says in a field of that name."""
    if field == LABEL:
        return [label_of(one.row.reference or "") for one in asked]
    if field == LENGTH:
        lengths = [one.row.prompt_characters for one in asked]
        middle = median(lengths)
        return [f"at most {middle:.0f} characters" if own <= middle else "longer" for own in lengths]
    values = [one.row.fields.get(field, "") for one in asked]
    if not any(values):
        known = sorted({name for one in asked for name in one.row.fields})
        names = ", ".join((*known, LENGTH, LABEL))
        raise EvaluationError(f"slice is {field[:60]!r}, and no row has it; choose from {names}")
    return values


def _lost(metrics: Sequence[Metric], asked: Sequence[Asked]) -> Iterator[Lost]:
    """The rows that the first right-or-wrong metric finds right of the incumbent and wrong of the candidate."""
    judge = next((metric for metric in metrics if metric.is_right_or_wrong), None)
    if judge is None:
        return
    for one in asked:
        if one.row.reference is None and judge.needs_reference:
            continue
        if score_of(judge, one, 0) > score_of(judge, one, 1):
            yield Lost(
                one.row.line,
                _short(_last_words(one.row.prompt)),
                None if one.row.reference is None else _short(one.row.reference),
                *(_short(reply.text) for reply in one.replies),
            )


def _last_words(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else text_of(prompt[-1].get("content"))


def _short(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}…"

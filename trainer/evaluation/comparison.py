"""Every held-out row is asked of the candidate and of the incumbent, side by side, and the answers are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from statistics import median, quantiles
from typing import Any

from trainer.endpoints.at_once import each_in_order
from trainer.errors import EvaluationError
from trainer.evaluation.asking import Asker, Likelihood, NoLikelihood
from trainer.evaluation.general import GENERAL_AGREEMENT, GENERAL_LOSS, check_general, warning_of
from trainer.evaluation.harness import PREFIX, Harness, run_harness
from trainer.evaluation.items import Asked, Item, item_of, score_of
from trainer.evaluation.judge import JUDGE, JUDGE_SCORE, JUDGE_TALK, Judge, Judging
from trainer.evaluation.judged import Conversation, JudgedItems, judge_conversations, judge_pairs
from trainer.evaluation.metrics import Metric
from trainer.evaluation.rows import EvaluationRow, EvaluationSet, text_of
from trainer.evaluation.slices import SliceItem, sliced

HEADROOM_TOKENS = 8
"""More than the longest reference, at least: an answer that goes on after it is wrong, and is shown to."""
WITHOUT_REFERENCE_TOKENS = 512
LONGEST_REFERENCES = 8
"""Whose tokens are counted: those with the most bytes."""
MAX_SHOWN = 5
MAX_SHOWN_CHARACTERS = 200
NO_JUDGE = "no judge was named; --judge names one"
NO_TALK = "no conversation was held; --talk and --judge do"
MISSING_EXTRAS = {
    JUDGE: NO_JUDGE,
    JUDGE_TALK: NO_TALK,
    JUDGE_SCORE: NO_TALK,
    GENERAL_LOSS: "general prompts were not asked; --general does",
    GENERAL_AGREEMENT: "general prompts were not asked; --general does",
}
"""Metrics that are no scores of rows, and why each of them may be missing."""
NO_HARNESS = "lm-evaluation-harness did not run it; --harness does"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two. `model` is the name it is asked by; `digest` is its manifest's, None of a base."""

    model: str
    digest: str | None
    base_digest: str


@dataclass(frozen=True, slots=True)
class Extras:
    """What is measured besides: by a judge, on conversations of two turns, on general prompts against the base, and by
    tasks of lm-evaluation-harness.

    `named` are the names of such metrics that are asked for. `base` is the base's public name. `settings` are what
    decides their figures, such as the digests of other files, JSON-ready.
    """

    named: tuple[str, ...] = ()
    judge: Judge | None = None
    talks: tuple[Conversation, ...] = ()
    general: tuple[EvaluationRow, ...] = ()
    base: str = ""
    harness: Harness | None = None
    settings: dict[str, Any] = field(default_factory=dict)


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
    extras: Extras = Extras()


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
    `judgings` say how a judge behaved, by metric.
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
    judgings: dict[str, Judging]
    warnings: tuple[str, ...]
    settings: dict[str, Any]


def is_extra(metric: str) -> bool:
    """Whether a metric is no score of rows."""
    return metric in MISSING_EXTRAS or metric.startswith(PREFIX)


def compare(wanted: Wanted, ask: Asker, told: Callable[[int, int], object] = lambda done, total: None) -> Evaluation:
    """Ask every row of both. `told` hears how many rows of how many are done. Raises EvaluationError."""
    if not wanted.data.rows:
        raise EvaluationError(f"{wanted.data.name} has no row")
    sides = (wanted.incumbent, wanted.candidate)
    for side in sides:  # the first question loads an adapter, and its time is not the answers'
        ask.answer(side.model, wanted.data.rows[0], 1)
    max_tokens = wanted.max_tokens or _most_tokens(wanted, ask)
    asked, why = _all_asked(wanted, ask, max_tokens, told)
    items: list[Item] = []
    not_measured: dict[str, str] = {}
    for metric in wanted.metrics:
        found = item_of(metric, asked)
        if isinstance(found, Item):
            items.append(found)
        else:
            not_measured[metric.name] = why if metric.family == "likelihood" and why else found
    judgings, warnings = _measure_extras(wanted, ask, asked, items, not_measured)
    return Evaluation(
        wanted.candidate,
        wanted.incumbent,
        wanted.data,
        max_tokens,
        tuple(items),
        not_measured,
        tuple(sliced(wanted.slices, wanted.metrics, asked)),
        (_latency(asked, 0), _latency(asked, 1)),
        (_cut(asked, 0), _cut(asked, 1)),
        tuple(islice(_lost(wanted.metrics, asked), MAX_SHOWN)),
        judgings,
        warnings,
        wanted.extras.settings,
    )


def _measure_extras(
    wanted: Wanted, ask: Asker, asked: Sequence[Asked], items: list[Item], not_measured: dict[str, str]
) -> tuple[dict[str, Judging], tuple[str, ...]]:
    """Add what is measured besides to `items` and `not_measured`."""
    extras = wanted.extras
    judgings: dict[str, Judging] = {}
    warnings: list[str] = []
    judged: list[JudgedItems] = []
    if extras.judge is not None:
        models = wanted.incumbent.model, wanted.candidate.model
        judged.append(judge_pairs(extras.judge, asked, wanted.at_once))
        if extras.talks:
            judged.append(judge_conversations(extras.judge, ask, models, extras.talks, wanted.at_once))
    for one in judged:
        items += one.items
        not_measured |= one.not_measured
        judgings |= one.judgings
    if extras.general:
        general, why = check_general(ask, extras.base, wanted.candidate.model, extras.general, wanted.at_once)
        items += general
        not_measured |= why
        if warning := warning_of(general):
            warnings.append(warning)
    if extras.harness is not None:
        items += run_harness(extras.harness, (wanted.incumbent.model, wanted.candidate.model))
    measured = {item.metric for item in items}
    for name in extras.named:
        if name not in measured:
            not_measured.setdefault(name, MISSING_EXTRAS.get(name, NO_HARNESS))
    return judgings, tuple(warnings)


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

    def work(turn: tuple[int, EvaluationRow]) -> Asked:
        return _ask(wanted, ask, turn[0], turn[1], max_tokens, scores)

    with closing(each_in_order(work, enumerate(wanted.data.rows), wanted.at_once)) as answers:
        for one in answers:
            asked.append(one)
            told(len(asked), total)
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

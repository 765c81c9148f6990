"""Whether an adapter has made its base forget: general prompts that have nothing to do with its task.

Candidate and base get the same prompts. What the candidate thinks of the right continuation, in nats a token, is
compared with what the base thinks of it; and its answers with the base's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainer.endpoints.at_once import each_in_order
from trainer.evaluation.asking import Asker, NoLikelihood
from trainer.evaluation.items import Asked, Item, item_of, item_of_scores
from trainer.evaluation.metrics import SIMPLE, rouge_l
from trainer.evaluation.rows import EvaluationRow, EvaluationSet, read_rows

PROMPTS = Path(__file__).parent / "sets" / "general.jsonl"
GENERAL_LOSS, GENERAL_AGREEMENT = "general_loss", "general_agreement"
"""Metrics: nats a token, lower is better; and ROUGE-L of the candidate's answers against its base's."""
WARN_ABOVE_NATS = 0.1
"""A rise of the loss from which on a person is warned."""
MAX_ANSWER_TOKENS = 48
MOST_PROMPTS = 1_000


def read_prompts(file: Path = PROMPTS) -> EvaluationSet:
    """General prompts with their continuations. DataError lists every line that is none."""
    return read_rows(file, MOST_PROMPTS)


def check_general(
    ask: Asker, base: str, candidate: str, prompts: Sequence[EvaluationRow], at_once: int
) -> tuple[tuple[Item, ...], dict[str, str]]:
    """Both items with the base in the incumbent's place, and why one of them is not there. Raises EvaluationError."""
    asked = list(each_in_order(lambda row: _ask(ask, base, candidate, row), prompts, at_once))
    agreement = item_of_scores(
        GENERAL_AGREEMENT,
        [one.row.unit for one in asked],
        [1.0] * len(asked),
        [rouge_l(one.replies[1].text, one.replies[0].text) for one in asked],
        span=1.0,
    )
    try:
        scored = list(each_in_order(lambda one: _score(ask, base, candidate, one), asked, at_once))
    except NoLikelihood as failed:
        return (agreement,), {GENERAL_LOSS: str(failed)}
    loss = item_of(SIMPLE["loss"], scored)
    if isinstance(loss, str):
        return (agreement,), {GENERAL_LOSS: loss}
    return (replace(loss, metric=GENERAL_LOSS), agreement), {}


def warning_of(items: Sequence[Item], margin_nats: float = WARN_ABOVE_NATS) -> str | None:
    """A sentence when the candidate thinks worse of general texts than its base does, by more than the margin."""
    loss = next((item for item in items if item.metric == GENERAL_LOSS), None)
    if loss is None or -loss.improvement <= margin_nats:
        return None
    return (
        f"It may have forgotten: on general prompts its loss is {-loss.improvement:.3f} nats a token above its base's "
        f"({loss.incumbent:.3f} to {loss.candidate:.3f}), more than {margin_nats:g}. Train for fewer steps, at a lower "
        "rate or rank, or mix general rows into the data."
    )


def _ask(ask: Asker, base: str, candidate: str, row: EvaluationRow) -> Asked:
    replies = [ask.answer(model, row, MAX_ANSWER_TOKENS) for model in (base, candidate)]
    return Asked(row, (replies[0], replies[1]), None)


def _score(ask: Asker, base: str, candidate: str, one: Asked) -> Asked:
    found = [ask.likelihood(model, one.row, one.row.reference or "") for model in (base, candidate)]
    return replace(one, likelihoods=(found[0], found[1]))

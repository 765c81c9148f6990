"""How much better the adapter is than its base on rows that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.data.encode import Encoded
from trainer.forward import greedy_answers, token_logprobs
from trainer.metrics import METRICS, Score, wilson
from trainer.recipe import EvaluationSection


@dataclass(frozen=True, slots=True)
class Side:
    """One model's result. `loss` is the mean negative log-likelihood per answer token, in nats."""

    loss: float
    score: Score


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Base and adapter on the same held-out rows."""

    metric: str
    rows: int
    base: Side
    adapter: Side


def evaluate(model: Any, tokenizer: Any, rows: Sequence[Encoded], section: EvaluationSection) -> Evaluation:
    """Score a PEFT model with its adapter on and off, on the first `max_rows` of `rows`; at least one row."""
    used = rows[: section.max_rows]
    adapter = _side(model, tokenizer, used, section)
    with model.disable_adapter():
        base = _side(model, tokenizer, used, section)
    return Evaluation(section.metric, len(used), base, adapter)


def heldout_loss(model: Any, rows: Sequence[Encoded]) -> float:
    """Mean negative log-likelihood per answer token, in nats; prompts do not count."""
    logprobs = token_logprobs(model, [row.input_ids for row in rows])
    answer = [values[len(row.prompt_ids) - 1 :] for row, values in zip(rows, logprobs, strict=True)]
    return -sum(map(sum, answer)) / sum(map(len, answer))


def _side(model: Any, tokenizer: Any, rows: Sequence[Encoded], section: EvaluationSection) -> Side:
    matches = METRICS[section.metric]
    answers = greedy_answers(model, tokenizer, [row.prompt_ids for row in rows], section.max_new_tokens)
    references = [str(tokenizer.decode(row.completion_ids, skip_special_tokens=True)) for row in rows]
    correct = sum(matches(answer, reference) for answer, reference in zip(answers, references, strict=True))
    return Side(heldout_loss(model, rows), wilson(correct, len(rows)))

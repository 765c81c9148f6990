"""How much better the adapter is than its base on rows that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from registry.training.sections import EvaluationSection
from trainer.data.encode import Encoded
from trainer.evaluation.metrics import METRICS
from trainer.evaluation.proportions import Score, score_of
from trainer.forward import Answer, greedy_answers, token_logprobs

HEADROOM_TOKENS = 8
"""More than the longest reference, at least: an answer that goes on after it is wrong, and is shown to."""
MAX_WRONG_SHOWN = 5
MAX_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One model's result; no `score` without a metric.

    `loss` is the mean negative log-likelihood per answer token, in nats; `cut` counts answers that had not ended at the
    most tokens that were generated.
    """

    loss: float
    score: Score | None
    cut: int


@dataclass(frozen=True, slots=True)
class WrongAnswer:
    """One of the adapter's wrong answers; texts are shortened, a prompt at its beginning.

    `line` is the 1-based line of the file with the held-out rows. `cut` says that the answer had not ended.
    """

    line: int
    prompt: str
    expected: str
    answer: str
    cut: bool


@dataclass(frozen=True, slots=True)
class TrainingEvaluation:
    """Base and adapter on the same held-out rows. Lengths are in tokens, with the stop token."""

    metric: str | None
    rows: int
    max_new_tokens: int
    longest_reference: int
    base: ModelFigures
    adapter: ModelFigures
    wrong: tuple[WrongAnswer, ...]

    @property
    def is_better(self) -> bool:
        """Whether the adapter answers more rows rightly than the base; without a metric, whether its loss is less."""
        if self.base.score is None or self.adapter.score is None:
            return self.adapter.loss < self.base.loss
        return self.adapter.score.correct > self.base.score.correct

    def facts(self) -> dict[str, Any]:
        """JSON-ready, without any text of the rows."""
        facts = asdict(self)
        del facts["wrong"]
        return facts


@dataclass(frozen=True, slots=True)
class Examination:
    """The held-out rows that are scored, and the most tokens that an answer to one may have."""

    metric: str | None
    rows: tuple[Encoded, ...]
    max_new_tokens: int
    longest_reference: int

    @property
    def too_long(self) -> int:
        """References that are longer than an answer may be, so that none can be right; 0 if none is made."""
        if self.metric is None:
            return 0
        return sum(len(row.completion_ids) > self.max_new_tokens for row in self.rows)


def examination(rows: Sequence[Encoded], section: EvaluationSection) -> Examination:
    """The first `max_rows` of `rows`; answers may be as long as the references and a little more, or as it is set."""
    used = tuple(rows[: section.max_rows])
    longest = max(len(row.completion_ids) for row in used)
    most = section.max_new_tokens or longest + max(HEADROOM_TOKENS, longest // 4)
    return Examination(section.metric, used, most, longest)


@dataclass(frozen=True, slots=True)
class Result:
    """What one model answered, row by row; no answers without a metric."""

    loss: float
    answers: tuple[Answer, ...]
    right: tuple[bool, ...]

    @property
    def side(self) -> ModelFigures:
        """The sums."""
        score = score_of(sum(self.right), len(self.right)) if self.right else None
        return ModelFigures(self.loss, score, sum(not answer.ended for answer in self.answers))


def examine(model: Any, tokenizer: Any, asked: Examination) -> Result:
    """Ask a model all rows, as it is; greedy. Without a metric nothing is generated: the loss alone is taken."""
    if asked.metric is None:
        return Result(heldout_loss(model, asked.rows), (), ())
    matches = METRICS[asked.metric]
    answers = greedy_answers(model, tokenizer, [row.prompt_ids for row in asked.rows], asked.max_new_tokens)
    references = [_text(tokenizer, row.completion_ids) for row in asked.rows]
    right = tuple(matches(answer.text, reference) for answer, reference in zip(answers, references, strict=True))
    return Result(heldout_loss(model, asked.rows), tuple(answers), right)


def evaluation(tokenizer: Any, asked: Examination, base: Result, adapter: Result) -> TrainingEvaluation:
    """Both results beside each other, with some of the adapter's wrong answers."""
    wrong = [
        WrongAnswer(
            row.line,
            _shown(_text(tokenizer, row.prompt_ids), keep_end=True),
            _shown(_text(tokenizer, row.completion_ids)),
            _shown(answer.text),
            not answer.ended,
        )
        for row, answer, right in zip(asked.rows, adapter.answers, adapter.right, strict=bool(adapter.answers))
        if not right
    ]
    return TrainingEvaluation(
        asked.metric,
        len(asked.rows),
        asked.max_new_tokens,
        asked.longest_reference,
        base.side,
        adapter.side,
        tuple(wrong[:MAX_WRONG_SHOWN]),
    )


def heldout_loss(model: Any, rows: Sequence[Encoded]) -> float:
    """Mean negative log-likelihood per answer token, in nats; prompts do not count."""
    logprobs = token_logprobs(model, [row.input_ids for row in rows])
    answer = [values[len(row.prompt_ids) - 1 :] for row, values in zip(rows, logprobs, strict=True)]
    return -sum(map(sum, answer)) / sum(map(len, answer))


def _text(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True))


def _shown(text: str, *, keep_end: bool = False) -> str:
    if len(text) <= MAX_SHOWN_CHARACTERS:
        return text
    return f"…{text[-MAX_SHOWN_CHARACTERS:]}" if keep_end else f"{text[:MAX_SHOWN_CHARACTERS]}…"

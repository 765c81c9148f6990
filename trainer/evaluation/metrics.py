"""Scores of single answers, by name: from 0 for wrong to 1 for right. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer.errors import EvaluationError

MAX_PATTERN_CHARACTERS = 1_000
MAX_WORDS = 2_000
"""Of a text of which ROUGE-L sees no more: its work grows with the square."""
Score = Callable[[str, str], float]
"""Of an answer, against a reference."""


def json_exact(answer: str, reference: str) -> bool:
    """Both are JSON and the same value; blanks and the order of keys do not matter."""
    try:
        return bool(json.loads(answer) == json.loads(reference))
    except (ValueError, RecursionError):  # a model may well say nothing but brackets
        return False


def label_exact(answer: str, reference: str) -> bool:
    """The same text apart from outer blanks."""
    return answer.strip() == reference.strip()


def label_of(text: str) -> str:
    """The label that a text names: without outer blanks, a last full stop, and its case."""
    return text.strip().removesuffix(".").casefold()


def rouge_l(answer: str, reference: str) -> float:
    """ROUGE-L F1 of words: C.-Y. Lin, "ROUGE: a package for automatic evaluation of summaries", 2004, section 3.1 with
    beta = 1. Words are runs of letters and digits, without case; of scripts without blanks each sign is one.
    """
    ours, theirs = _words(answer), _words(reference)
    if not ours or not theirs:
        return float(ours == theirs)
    common = _longest_common(ours, theirs)
    return 2 * common / (len(ours) + len(theirs))


def _words(text: str) -> list[str]:
    found = re.findall(
        r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]|[^\W_\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]+", text.casefold()
    )
    return found[:MAX_WORDS]


def _longest_common(first: list[str], second: list[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for at, other in enumerate(second, 1):
            before, row[at] = row[at], before + 1 if word == other else max(row[at], row[at - 1])
    return row[-1]


METRICS: dict[str, Callable[[str, str], bool]] = {"json_exact": json_exact, "label_exact": label_exact}
"""Of those that a recipe may name: an answer is right or wrong."""
Family = Literal["answers", "labels", "likelihood"]


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured. `answers` have a score each, `labels` are counted together, `likelihood` is of the references.

    `needs_reference` is false for what an answer shows by itself. `lower_is_better` is of losses.
    """

    name: str
    family: Family
    score: Score | None = None
    needs_reference: bool = True
    lower_is_better: bool = False

    @property
    def is_right_or_wrong(self) -> bool:
        """Whether a score is 0 or 1."""
        return self.family == "answers" and self.name != "rouge_l"


LIKELIHOOD = ("loss", "perplexity")
SIMPLE: dict[str, Metric] = {
    "label_exact": Metric("label_exact", "answers", label_exact),
    "json_exact": Metric("json_exact", "answers", json_exact),
    "rouge_l": Metric("rouge_l", "answers", rouge_l),
    "accuracy": Metric("accuracy", "answers", lambda answer, reference: label_of(answer) == label_of(reference)),
    "macro_f1": Metric("macro_f1", "labels"),
    **{name: Metric(name, "likelihood", lower_is_better=True) for name in LIKELIHOOD},
}
JSON_SCHEMA = "json_schema:"
FORMS = f"{JSON_SCHEMA}FILE", "regex:PATTERN"


def metric_named(name: str) -> Metric:
    """The metric of that name. Raises EvaluationError for any other, for a bad schema or a bad pattern."""
    if name in SIMPLE:
        return SIMPLE[name]
    kind, colon, rest = name.partition(":")
    if colon and kind == "json_schema":
        return Metric(name, "answers", _follows_schema(Path(rest)), needs_reference=False)
    if colon and kind == "regex":
        return Metric(name, "answers", _matches(rest), needs_reference=False)
    raise EvaluationError(f"metric is {name[:80]!r}; choose from {', '.join((*SIMPLE, *FORMS))}")


def _matches(pattern: str) -> Score:
    if not 0 < len(pattern) <= MAX_PATTERN_CHARACTERS:
        raise EvaluationError(f"a pattern has 1 to {MAX_PATTERN_CHARACTERS} characters; this one has {len(pattern)}")
    try:
        rule = re.compile(pattern, re.DOTALL)
    except re.error as failed:
        raise EvaluationError(f"metric is 'regex:{pattern[:60]}', which is no regular expression: {failed}") from failed
    return lambda answer, reference: float(rule.fullmatch(answer.strip()) is not None)


def _follows_schema(file: Path) -> Score:
    try:
        schema = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as failed:
        raise EvaluationError(f"metric is 'json_schema:{file}', and that is no JSON file: {failed}") from failed
    validator = _validator(schema, file)

    def follows(answer: str, reference: str) -> float:
        try:
            return float(validator.is_valid(json.loads(answer)))
        except (ValueError, RecursionError):
            return 0.0

    return follows


def _validator(schema: Any, file: Path) -> Any:
    try:
        import jsonschema
    except ImportError as failed:
        raise EvaluationError("json_schema needs the extra: pip install 'switchyard[train]'") from failed
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as failed:
        raise EvaluationError(f"{file} is no JSON schema: {failed.message[:200]}") from failed
    return kind(schema)

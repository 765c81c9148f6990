"""Metrics that are measured without anybody's doing, which of their values are better, and what others are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from registry.errors import InvalidInput

MOST_NAME_CHARACTERS = 64
NAME = re.compile(rf"[a-z][a-z0-9_.-]{{0,{MOST_NAME_CHARACTERS - 1}}}", re.ASCII)
Direction = Literal["higher", "lower"]
Kind = Literal["yes or no", "number", "quantile"]


@dataclass(frozen=True, slots=True)
class AutomaticMetric:
    """One of them. A unit's value is the mean of its requests' values within the window, but for a quantile's."""

    direction: Direction
    kind: Kind
    source: Literal["usage", "answer"]
    """`usage`: the usage rows, of every request. `answer`: the answer's bytes, of those that are sampled."""
    description: str


AUTOMATIC: Mapping[str, AutomaticMetric] = {
    "errors": AutomaticMetric("lower", "yes or no", "usage", "Requests that an engine or the gateway failed."),
    "latency_ms": AutomaticMetric("lower", "number", "usage", "Milliseconds of an attempt."),
    "latency_p95": AutomaticMetric("lower", "quantile", "usage", "Of the same, what 95 % of units stay below."),
    "ttft_ms": AutomaticMetric("lower", "number", "usage", "Milliseconds to the first bytes of a streamed answer."),
    "ttft_p95": AutomaticMetric("lower", "quantile", "usage", "Of the same, what 95 % of units stay below."),
    "prompt_tokens": AutomaticMetric("lower", "number", "usage", "Tokens that were read."),
    "completion_tokens": AutomaticMetric("lower", "number", "usage", "Tokens that were written."),
    "cost": AutomaticMetric("lower", "number", "usage", "Dollars of an answer, at the tariff."),
    "refusal": AutomaticMetric("lower", "yes or no", "answer", "Answers that decline."),
    "empty": AutomaticMetric("lower", "yes or no", "answer", "Answers without a word."),
    "repetition": AutomaticMetric("lower", "yes or no", "answer", "Answers that go in circles."),
    "truncation": AutomaticMetric("lower", "yes or no", "answer", "Answers that ended at the bound of their length."),
    "conformance": AutomaticMetric("higher", "yes or no", "answer", "Answers of the form that the adapter declares."),
    "unscored": AutomaticMetric("lower", "yes or no", "answer", "Sampled answers that could not be looked at."),
}
JUDGED = "judge_win"
"""How often the treatment's answer is preferred, of pairs of answers to one request that a judge has decided, less one
half. It is of pairs and not of units' values.
"""
DEFAULT_METRIC = "errors"


def yes_or_no(metric: str) -> str:
    """Among a unit's values: the name under which it is 1 when all that was said of the metric was true or false. No
    metric of feedback can be called so.
    """
    return f"{metric}:yes_or_no"


def direction_of(metric: str) -> Direction | None:
    """Which values are better; `None` for a metric that feedback brings."""
    if metric == JUDGED:
        return "higher"
    known = AUTOMATIC.get(metric)
    return None if known is None else known.direction


def check_feedback_name(metric: str) -> str:
    """The name itself, if feedback may bring it. Raises `InvalidInput`."""
    if metric in AUTOMATIC or metric == JUDGED:
        raise InvalidInput(
            f"metric is {metric!r}, which is measured here and brought by no feedback; choose another name",
            param="metric",
        )
    if NAME.fullmatch(metric) is None:
        raise InvalidInput(
            f"metric is {metric[:80]!r}; a name has 1 to {MOST_NAME_CHARACTERS} characters a-z, 0-9, '_', '.' and '-' "
            "and begins with a letter",
            param="metric",
        )
    return metric

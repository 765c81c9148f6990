"""The metrics that an experiment may have: who measures them, in which unit, which way is better, and for how long what
comes in counts. The one place that names them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from registry.errors import InvalidInput

Measured = Literal["usage", "answer", "judge", "feedback"]
"""By whom: `usage` is read from the rows of the ledger, `answer` is found in an answer's text, `judge` by a model that
compares two answers, and `feedback` is what the client says.
"""
Better = Literal["higher", "lower"]
Unit = Literal["share", "number", "ms", "tokens", "dollars"]
"""`share`: a yes or no, 1 or 0, or a share of those."""
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
MAX_NAME_CHARACTERS = 64
NAME = re.compile(rf"[a-z][a-z0-9_.-]{{0,{MAX_NAME_CHARACTERS - 1}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Metric:
    """One of them. `window_s`: after a unit's first served byte, what comes in within so many seconds counts for it."""

    name: str
    measured: Measured
    better: Better
    unit: Unit
    window_s: int
    says: str


_USAGE = (
    Metric("error", "usage", "lower", "share", 5 * MINUTE_S, "attempts that an engine failed"),
    Metric("latency_ms", "usage", "lower", "ms", 5 * MINUTE_S, "from the attempt's begin to its last byte"),
    Metric("ttft_ms", "usage", "lower", "ms", 5 * MINUTE_S, "from the attempt's begin to its first byte"),
    Metric("prompt_tokens", "usage", "lower", "tokens", 5 * MINUTE_S, "tokens that were read"),
    Metric("completion_tokens", "usage", "lower", "tokens", 5 * MINUTE_S, "tokens that were written"),
    Metric("cost_dollars", "usage", "lower", "dollars", 5 * MINUTE_S, "cost of an answer by its tariff"),
)
_ANSWER = (
    Metric("refusal", "answer", "lower", "share", 5 * MINUTE_S, "answers that begin by refusing"),
    Metric("empty", "answer", "lower", "share", 5 * MINUTE_S, "answers without text and without a call of a tool"),
    Metric("repetition", "answer", "lower", "share", 5 * MINUTE_S, "answers that go round in circles"),
    Metric("truncation", "answer", "lower", "share", 5 * MINUTE_S, "answers that ended because they were too long"),
    Metric("schema_valid", "answer", "higher", "share", 5 * MINUTE_S, "answers that follow the adapter's JSON schema"),
    Metric("pattern_match", "answer", "higher", "share", 5 * MINUTE_S, "answers that the adapter's pattern matches"),
    Metric("unscored", "answer", "lower", "share", 5 * MINUTE_S, "sampled answers that could not be looked at"),
)
_JUDGE = (Metric("judge_win", "judge", "higher", "share", HOUR_S, "comparisons won; a tie is a half"),)
KNOWN: Mapping[str, Metric] = MappingProxyType({one.name: one for one in (*_USAGE, *_ANSWER, *_JUDGE)})
"""All but those of feedback, whose names are the client's."""
OF_ANSWERS: tuple[str, ...] = tuple(one.name for one in _ANSWER)


def metric_named(name: str, better: Better | None = None) -> Metric:
    """The metric of that name; one that is not in `KNOWN` is of feedback, and `better` says which way it goes.

    Raises `InvalidInput` for what is no name of a metric, and for a direction that a known one does not have.
    """
    known = KNOWN.get(name)
    if known is None:
        _check(name)
        return Metric(name, "feedback", better or "higher", "number", DAY_S, "what clients say of answers")
    if better not in (None, known.better):
        raise InvalidInput(
            f"direction is {better!r}, but {name} is better when it is {known.better}", param="direction"
        )
    return known


def check_feedback_name(name: str) -> str:
    """The name itself, if clients may give feedback by it. Raises `InvalidInput`."""
    if name in KNOWN:
        raise InvalidInput(
            f"metric is {name!r}, which is measured here and not by clients; choose another name", param="metric"
        )
    _check(name)
    return name


def _check(name: str) -> None:
    if NAME.fullmatch(name) is None:
        raise InvalidInput(
            f"metric is {name[:80]!r}; a name has 1 to {MAX_NAME_CHARACTERS} characters a-z, 0-9, '_', '.' and '-' and "
            "begins with a letter",
            param="metric",
        )

"""What is known of two answers to one request: figures of each, what tells them apart, and their texts while kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

PAIRED = "paired"
"""The cause that is none: both answers are whole."""
Verdict = Literal["control", "candidate", "tie"]


@dataclass(frozen=True, slots=True)
class AnswerFigures:
    """One answer in figures. `None` is what is not known, or does not apply."""

    model: str
    """The version that answered, under its public name."""
    outcome: str
    """As in its usage row."""
    engine: str
    in_flight: int
    """Requests of the same worker on that engine when it began, itself not among them."""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    cost_nano: int | None = None
    ttft_ms: float | None = None
    """From the attempt's begin to its first bytes; of streams alone."""
    total_ms: float | None = None
    finish_reason: str | None = None
    """Of its first choice."""
    chars: int | None = None
    """Of its text."""
    is_json: bool | None = None
    """Whether its text is JSON; `None` where there is no text."""
    fits_schema: bool | None = None
    """Whether it is what the request's `response_format` asks for; `None` where it asks for nothing."""

    def as_dict(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Diff:
    """What tells two whole answers apart."""

    exact: bool
    """The same text and the same calls of tools."""
    same_words: bool
    """The same but for case, punctuation and space."""
    similarity: float
    """0 to 1: F1 of the two bags of words, 1 for two empty answers."""
    length_ratio: float | None
    """Candidate's tokens by control's; `None` where control's are none or unknown."""

    def as_dict(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class AnswerText:
    """The text of one answer, as it is kept."""

    text: str
    calls: tuple[str, ...] = ()
    """Calls of tools, each as `name(arguments)`."""


@dataclass(frozen=True, slots=True)
class Content:
    """The texts of a pair. `request` is the checked body that the engine was sent, without its model."""

    request: dict[str, Any]
    control: AnswerText
    candidate: AnswerText


@dataclass(frozen=True, slots=True)
class CopiedPair:
    """A pair as it is stored. `cause` says why a side is missing or broken off; `None`: both are whole."""

    shadow_id: int
    request_id: str
    tenant: str
    at_ms: int
    endpoint: str
    cause: str | None
    control: AnswerFigures
    candidate: AnswerFigures | None
    diff: Diff | None
    content: Content | None

    @property
    def spent_nano(self) -> int:
        """What the copy has cost."""
        return 0 if self.candidate is None else self.candidate.cost_nano or 0

"""What a quote is made of: the rows as tokens, a short measurement on the machine, and prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.data.encode import Encoded
from trainer.data.findings import Finding
from trainer.data.sets import Sets
from trainer.methods.rows import Row

PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class RowFacts:
    """Training rows, in tokens where nothing else is said. `lengths` are of prompt and answer together, ascending.

    Of a pair, whose prompt is read twice, both answers count, and its length is that of the longer one. `cut` rows were
    truncated, `copies` are exact copies of earlier rows, `seen` held-out rows ask what training rows ask;
    `heldout_tokens` are those of the rows that the training is measured on meanwhile.
    """

    lengths: tuple[int, ...]
    prompt_tokens: int
    answer_tokens: int
    cut: int
    copies: int
    heldout: int
    seen: int
    heldout_tokens: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def tokens(self) -> int:
        """Of one pass over the rows."""
        return self.prompt_tokens + self.answer_tokens

    @property
    def longest(self) -> int:
        """Of one row."""
        return self.lengths[-1]

    def percentile(self, percent: int) -> int:
        """Length that so many percent of the rows do not exceed."""
        return self.lengths[-(-len(self.lengths) * percent // 100) - 1]


def row_facts(train: Sequence[Row], measured_on: Sequence[Row], sets: Sets) -> RowFacts:
    """Of encoded rows, at least one. An example is a row: a conversation with several answers is several."""
    return RowFacts(
        lengths=tuple(sorted(map(_length, train))),
        prompt_tokens=sum(len(half.prompt_ids) for row in train for half in _halves(row)),
        answer_tokens=sum(len(half.completion_ids) for row in train for half in _halves(row)),
        cut=sum(any(half.cut for half in _halves(row)) for row in train),
        copies=sets.overlap.copies,
        heldout=sets.overlap.heldout_rows,
        seen=sets.overlap.seen,
        heldout_tokens=sum(map(row_tokens, measured_on)),
        findings=sets.findings,
    )


def row_tokens(row: Row) -> int:
    """Tokens that a pass over the row computes."""
    return sum(len(half.prompt_ids) + len(half.completion_ids) for half in _halves(row))


def _length(row: Row) -> int:
    return max(len(half.prompt_ids) + len(half.completion_ids) for half in _halves(row))


def _halves(row: Row) -> tuple[Encoded, ...]:
    return (row,) if isinstance(row, Encoded) else (row.chosen, row.rejected)


@dataclass(frozen=True, slots=True)
class Bench:
    """A few steps of the training itself, measured on the machine that would run it.

    `step_seconds` and `step_tokens` are of each step (tokens without padding); the first step, which warms up, is not
    among them. `memory_bytes` is what the device has, `peak_bytes` what was in use at most; None where unknown.
    """

    device: str
    step_seconds: tuple[float, ...]
    step_tokens: tuple[int, ...]
    memory_bytes: int | None = None
    peak_bytes: int | None = None

    @property
    def tokens_per_second(self) -> float:
        """Over all measured steps."""
        return sum(self.step_tokens) / sum(self.step_seconds)

    @property
    def slowest(self) -> float:
        """Tokens per second of the slowest step."""
        return min(tokens / seconds for tokens, seconds in zip(self.step_tokens, self.step_seconds, strict=True))

    @property
    def fastest(self) -> float:
        """Tokens per second of the fastest step."""
        return max(tokens / seconds for tokens, seconds in zip(self.step_tokens, self.step_seconds, strict=True))


@dataclass(frozen=True, slots=True)
class TokenDollars:
    """Nano-dollars per million tokens read and written."""

    input_nano_per_mtok: int
    output_nano_per_mtok: int


@dataclass(frozen=True, slots=True)
class Prices:
    """What is known of prices; what is None is unpriced, which is never the same as free.

    `hour_nano` is the training machine's hour in nano-dollars; `api` is of a large model asked by prompt alone, which
    reads `prompt_only_tokens` more per request (instructions and examples); `own` is of the tuned model, served here.
    """

    hour_nano: int | None = None
    api: TokenDollars | None = None
    own: TokenDollars | None = None
    prompt_only_tokens: int = 0

"""How long rows are in a base's tokens, and how many of them a limit would cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.data.encode import Encoded, Rules, encode_all
from trainer.data.findings import Finding, finding
from trainer.data.read import Dataset
from trainer.data.report import percentiles

LIMITS = (256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768)
NO_LIMIT = Rules(1 << 30, "truncate", "as_served")
BUCKETS = 12


@dataclass(frozen=True, slots=True)
class TokenStats:
    """Of every answer with its prompt, in tokens. `longer` has, by limit, how many are longer and would be cut."""

    base: str
    prompts: tuple[int, ...]
    answers: tuple[int, ...]
    longer: dict[int, int]

    @property
    def wholes(self) -> list[int]:
        """Prompts and answers together."""
        return [prompt + answer for prompt, answer in zip(self.prompts, self.answers, strict=True)]

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "base": self.base,
            "prompt": percentiles(self.prompts),
            "answer": percentiles(self.answers),
            "whole": percentiles(self.wholes),
            "longer_than": {str(limit): count for limit, count in self.longer.items()},
        }


def token_stats(tokenizer: Any, data: Dataset, base: str = "") -> TokenStats:
    """Encode every row without a limit. Raises DataError for rows that the base cannot be asked."""
    return stats_of(encode_all(tokenizer, data.examples, file=str(data.file), rules=NO_LIMIT), base)


def stats_of(rows: Sequence[Encoded], base: str = "") -> TokenStats:
    """Of rows that have not been cut."""
    prompts = tuple(len(row.prompt_ids) for row in rows)
    answers = tuple(len(row.completion_ids) for row in rows)
    wholes = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    limits = [limit for limit in LIMITS if limit < max(wholes, default=0)]
    return TokenStats(base, prompts, answers, {limit: sum(whole > limit for whole in wholes) for limit in limits})


def too_long(stats: TokenStats, limit: int) -> list[Finding]:
    """What a limit would do to these rows."""
    count = sum(whole > limit for whole in stats.wholes)
    if not count:
        return []
    text = f"{count} of {len(stats.prompts)} rows are longer than {limit} tokens: a training refuses or cuts them"
    return [finding("warn", "too_long", text)]


def histogram(values: Iterable[int], buckets: int = BUCKETS) -> list[tuple[int, int, int]]:
    """Equal ranges of whole numbers: first value, last value, how many."""
    values = list(values)
    if not values:
        return []
    low, high = min(values), max(values)
    width = max(1, -(-(high - low + 1) // buckets))
    counts = [0] * (-(-(high - low + 1) // width))
    for value in values:
        counts[(value - low) // width] += 1
    return [(low + at * width, low + (at + 1) * width - 1, count) for at, count in enumerate(counts)]

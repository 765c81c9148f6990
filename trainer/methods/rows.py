"""What a training reads: encoded rows, and the tables that TRL's trainers take them from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.data.encode import Encoded, Rules, encode_all
from trainer.data.rows import Preference


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """One pair of answers to the same prompt: `chosen` is the better one."""

    chosen: Encoded
    rejected: Encoded

    @property
    def line(self) -> int:
        """The 1-based line of the file."""
        return self.chosen.line


Row = Encoded | EncodedPair


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to learn, and rows to measure itself on meanwhile, which it never learns: all answers, or all pairs."""

    train: Sequence[Row]
    valid: Sequence[Row] = ()


def encode_pairs(tokenizer: Any, preferences: Sequence[Preference], *, file: str, rules: Rules) -> list[EncodedPair]:
    """Both answers of every pair, as answers are encoded. DataError lists every fault of either."""
    encoded = encode_all(
        tokenizer, [example for preference in preferences for example in preference.pair], file=file, rules=rules
    )
    return [EncodedPair(*both) for both in zip(encoded[::2], encoded[1::2], strict=True)]


def dataset(rows: Sequence[Row]) -> Any:
    """A table of token ids, as SFTTrainer's and DPOTrainer's collators know them."""
    from datasets import Dataset

    return Dataset.from_list([_columns(row) for row in rows])


def packed(rows: Sequence[Row], max_length_tokens: int) -> Any:
    """The same rows put together to sequences of up to so many tokens, long ones first; each remembers its rows."""
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled
    from trl import pack_dataset

    bars = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        return pack_dataset(dataset(rows), max_length_tokens, "bfd")
    finally:
        if bars:
            enable_progress_bar()


def _columns(row: Row) -> dict[str, list[int]]:
    if isinstance(row, Encoded):
        return {"input_ids": row.input_ids, "labels": row.labels}
    return {
        "prompt_ids": list(row.chosen.prompt_ids),
        "chosen_ids": list(row.chosen.completion_ids),
        "rejected_ids": list(row.rejected.completion_ids),
    }

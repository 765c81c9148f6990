"""Which texts an adapter is proved on: few, short, different from each other, with what tells them apart in them.

A text is the end of a row's prompt and the beginning of its answer, because rows of one task begin alike (a long system
prompt) and an adapter changes answers most. Rows whose texts are equal all the same are cut where they differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainer.data.encode import Encoded
from trainer.errors import TrainingRefused

PROBES = 6
LEAST_PROBES = 4
MAX_PROBE_TOKENS = 96
ANSWER_TOKENS = 24
Text = tuple[int, ...]
"""Token ids."""


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """A whole row, and the part of it that would be the text if no other row had the same."""

    ids: Text
    part: Text

    @classmethod
    def of(cls, prompt_ids: Text, answer_ids: Text) -> ProbeRow:
        """The last tokens of the prompt and the first ones of the answer."""
        answer = answer_ids[:ANSWER_TOKENS]
        return cls((*prompt_ids, *answer_ids), (*prompt_ids[-(MAX_PROBE_TOKENS - len(answer)) :], *answer))


def probe_texts(heldout: Sequence[Encoded], train: Sequence[Encoded]) -> list[Text]:
    """The texts to prove an adapter on, shortest first; training rows are used when there are few held-out ones.

    Raises TrainingRefused when there are fewer than 4 different rows in all.
    """
    rows = [*_different_answers_first(heldout), *_different_answers_first(train)]
    texts = distinct_texts((ProbeRow.of(row.prompt_ids, row.completion_ids) for row in rows), PROBES)
    if len(texts) < LEAST_PROBES:
        raise TrainingRefused(
            f"the data has {len(texts)} different rows, held out and trained on; the effect proof needs at least "
            f"{LEAST_PROBES}; add rows"
        )
    return texts


def distinct_texts(candidates: Iterable[ProbeRow], most: int) -> list[Text]:
    """Up to `most` different texts of at most 96 tokens, shortest first; equal rows give one."""
    chosen: dict[Text, Text] = {}
    for candidate in candidates:
        text = candidate.part
        if text in chosen:
            text = _around_difference(candidate.ids, chosen[text])
        if len(text) > 1:
            chosen.setdefault(text, candidate.ids)
        if len(chosen) == most:
            break
    return sorted(chosen, key=lambda text: (len(text), text))


def _around_difference(ids: Text, other: Text) -> Text:
    """Of `ids`, the part around the first token that `other` has not; empty when they are equal."""
    first = next((place for place, (a, b) in enumerate(zip(ids, other, strict=False)) if a != b), None)
    if first is None:
        first = min(len(ids), len(other))
        if len(ids) == len(other):
            return ()
    start = max(0, min(first - MAX_PROBE_TOKENS // 2, len(ids) - MAX_PROBE_TOKENS))
    return ids[start : start + MAX_PROBE_TOKENS]


def _different_answers_first(rows: Sequence[Encoded]) -> list[Encoded]:
    by_answer: dict[Text, Encoded] = {}
    for row in rows:
        by_answer.setdefault(row.completion_ids, row)
    return [*by_answer.values(), *rows]

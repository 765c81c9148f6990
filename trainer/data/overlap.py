"""Which rows are the same: copies among training rows, and held-out rows that training sees too.

Prompts and answers are compared apart from case, blanks and the ways Unicode writes one character. A row is a line; a
conversation counts as seen when every answer of it that is scored stands in training after the same turns, so that
conversations which only begin alike do not.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby

from trainer.data.rows import Example
from trainer.data.specials import texts_of

MAX_LINES_NAMED = 10
Key = bytes


@dataclass(frozen=True, slots=True)
class Row:
    """One line: its examples, in order, and a key of what each of them asks."""

    line: int
    examples: tuple[Example, ...]
    prompts: tuple[Key, ...]

    @property
    def asked(self) -> str:
        """What is asked in all its turns, normalised; of other turns, nothing."""
        prompt = self.examples[-1].prompt
        if isinstance(prompt, str):
            return normal(prompt)
        return "\n".join(normal(turn.content) for turn in prompt if turn.role == "user")

    @property
    def whole(self) -> Hashable:
        """All of it, each turn once: earlier prompts are beginnings of the longest one. Only exact copies are equal."""
        last = self.examples[-1]
        answers = tuple((len(example.prompt), example.answer) for example in self.examples)
        return last.prompt, last.tools, answers

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that stands in it, each turn once; earlier answers are turns of the longest prompt."""
        return tuple(texts_of(self.examples[-1]))

    @property
    def pairs(self) -> Iterator[tuple[Key, Key]]:
        """What is asked and what is answered."""
        for prompt, example in zip(self.prompts, self.examples, strict=True):
            yield prompt, _digest(normal(example.answer.text))


@dataclass(frozen=True, slots=True)
class Overlap:
    """Rows that are there twice. `copies` are exact copies of earlier training rows.

    `seen` held-out rows ask what training rows ask, `seen_answers` of them with the same answer; `lines` are the first
    few of them, 1-based.
    """

    train_rows: int
    copies: int
    heldout_rows: int
    seen: int
    seen_answers: int
    lines: tuple[int, ...]

    @property
    def seen_share(self) -> float:
        """Share of the held-out rows that training sees."""
        return self.seen / self.heldout_rows


def rows_of(examples: Iterable[Example]) -> list[Row]:
    """Examples by line."""
    groups = (tuple(group) for _, group in groupby(examples, key=lambda example: example.line))
    return [Row(group[0].line, group, tuple(_prompt_keys(group))) for group in groups]


def find_overlap(train: Iterable[Example], heldout: Iterable[Example]) -> Overlap:
    """Compare both sides."""
    trained, held = rows_of(train), rows_of(heldout)
    copies = len(trained) - len({row.whole for row in trained})
    seen = seen_rows(trained, held)
    pairs = {pair for row in trained for pair in row.pairs}
    return Overlap(
        len(trained),
        copies,
        len(held),
        len(seen),
        sum(all(pair in pairs for pair in row.pairs) for row in seen),
        tuple(row.line for row in seen[:MAX_LINES_NAMED]),
    )


def seen_rows(train: Iterable[Row], heldout: Iterable[Row]) -> list[Row]:
    """The held-out rows all of whose prompts are training prompts."""
    prompts = {prompt for row in train for prompt in row.prompts}
    return [row for row in heldout if all(prompt in prompts for prompt in row.prompts)]


def _prompt_keys(examples: tuple[Example, ...]) -> Iterator[Key]:
    """Of one line; the prompts of a conversation are beginnings of its longest one, so each turn is read once."""
    longest = examples[-1].prompt
    if isinstance(longest, str):
        yield _digest(normal(longest))
        return
    ends = {len(example.prompt) for example in examples}
    running = blake2b(examples[-1].tools.encode(), digest_size=16)
    for place, turn in enumerate(longest, start=1):
        running.update(_digest(turn.role) + _digest(normal(turn.text)))
        if place in ends:
            yield running.digest()


@lru_cache(4_096)
def normal(text: str) -> str:
    """A text apart from case, blanks, and the ways Unicode writes one character."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _digest(text: str) -> Key:
    return blake2b(text.encode(), digest_size=16).digest()
